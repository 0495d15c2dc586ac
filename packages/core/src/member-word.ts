import type { DomainTag } from "./domain.ts";
import { CairnError } from "./error.ts";
import type { ClusterId, ManifestHash, NodeIndex } from "./ids.ts";
import { type Manifest, memberOf } from "./manifest.ts";
import { type Signed, verifySigned } from "./signed.ts";

/**
 * Checks that `signed` is the word of member `from` of this cluster, under its identity key.
 * @throws CairnError `wrong-cluster`, `not-member`, `signature-invalid`
 */
export function verifyMemberWord(
  domain: DomainTag,
  signed: Signed<{ readonly cluster: ClusterId }>,
  from: NodeIndex,
  manifest: Manifest,
): void {
  if (signed.body.cluster !== manifest.cluster)
    throw new CairnError("wrong-cluster", `the ${nameOf(domain)} is for another cluster`, { node: from });
  if (!verifySigned(domain, signed, memberOf(manifest, from).identity)) {
    throw new CairnError("signature-invalid", `the ${nameOf(domain)}'s signature is not its node's`, {
      node: from,
    });
  }
}

/**
 * {@link verifyMemberWord} for words that hold under one manifest only.
 * @throws CairnError `wrong-cluster`, `wrong-manifest`, `not-member`, `signature-invalid`
 */
export function verifyManifestWord(
  domain: DomainTag,
  signed: Signed<{ readonly cluster: ClusterId; readonly manifestHash: ManifestHash }>,
  from: NodeIndex,
  manifest: Manifest,
  manifestHash: ManifestHash,
): void {
  const { body } = signed;
  if (body.cluster === manifest.cluster && body.manifestHash !== manifestHash) {
    throw new CairnError("wrong-manifest", `the ${nameOf(domain)} was signed under another manifest`, {
      node: from,
    });
  }
  verifyMemberWord(domain, signed, from, manifest);
}

/** `cairn/change-vote/v1` → `change vote`. */
function nameOf(domain: DomainTag): string {
  return domain.split("/")[1]?.replaceAll("-", " ") ?? domain;
}
