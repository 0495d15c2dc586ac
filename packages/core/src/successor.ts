import { CairnError } from "./error.ts";
import { loosens, type PolicyChange } from "./loosening.ts";
import { type Manifest, manifestHash, requireOperators, type SignedManifest } from "./manifest.ts";

/**
 * Checks that `next` follows `current`: chained by hash, same cluster and network, signed by a quorum of `current`'s operators, and in
 * force no sooner than it may be.
 * @param policies the documents that both pin; null where they are not at hand, and then a policy that tightens must wait as well
 * @throws CairnError `wrong-manifest`, `not-yet-valid`, `operator-signature-missing`
 */
export function verifySuccessor(
  current: Manifest,
  next: SignedManifest,
  policies: PolicyChange | null = null,
): void {
  const { manifest, signatures } = next;
  checkSuccessor(current, manifest, loosens(current, manifest, policies));
  const mode = current.modes[successorMode(current, manifest)];
  requireOperators(current, mode, "cairn/manifest/v1", manifest, signatures);
}

/**
 * The checks of a successor that need no signature.
 * @param loosening whether it must wait the delay ({@link loosens})
 * @throws CairnError `wrong-manifest`, `not-yet-valid`
 */
export function checkSuccessor(current: Manifest, next: Manifest, loosening: boolean): void {
  if (
    next.cluster !== current.cluster ||
    next.network !== current.network ||
    next.sequence !== current.sequence + 1 ||
    next.previous !== manifestHash(current)
  ) {
    throw new CairnError(
      "wrong-manifest",
      "the manifest does not follow the one in force; ask for the missing ones first",
      { sequence: next.sequence, expected: current.sequence + 1 },
    );
  }
  const earliest = next.createdAt + (loosening ? current.changeDelayMs : 0);
  if (next.effectiveAt < earliest) {
    throw new CairnError(
      "not-yet-valid",
      "the manifest loosens something and takes effect before its predecessor's delay is over",
      { effectiveAt: next.effectiveAt, earliest },
    );
  }
}

/** Whether a successor changes the policy alone, which has a mode of its own. */
export function successorMode(current: Manifest, next: Manifest): "policy" | "manifest" {
  const { policy, policyVersion, policyDelayMs } = next;
  const { sequence, previous, createdAt, effectiveAt } = next;
  const rest = {
    ...current,
    sequence,
    previous,
    createdAt,
    effectiveAt,
    policy,
    policyVersion,
    policyDelayMs,
  };
  return manifestHash(rest) === manifestHash(next) ? "policy" : "manifest";
}
