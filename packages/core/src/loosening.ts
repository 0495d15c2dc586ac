import { type Manifest, modeQuorum } from "./manifest.ts";
import { type Policy, policyHash } from "./policy-document.ts";

/** The documents that two manifests pin, for those who hold both. */
export interface PolicyChange {
  readonly current: Policy;
  readonly next: Policy;
}

/**
 * Whether `next` allows anything that `current` forbids, so that people must have time to notice it. Whatever is not known to tighten
 * loosens: keys may go, quorums, delays and limits may tighten, names and addresses may change; the rest waits.
 * @param policies null where the documents are not at hand: any change of policy loosens then
 */
export function loosens(current: Manifest, next: Manifest, policies: PolicyChange | null): boolean {
  const total = current.members.length;
  const quorum = (of: Manifest, operation: keyof Manifest["modes"]) =>
    modeQuorum(of.modes[operation], of.members.length);
  const operations = ["spend", "keygen", "refresh", "manifest", "policy"] as const;
  const lists = [
    "requesters",
    "approvers",
    "coordinators",
    "policyEngines",
    "transactionServices",
    "protocolVersions",
  ] as const;
  const tightens =
    next.network === current.network &&
    next.threshold === current.threshold &&
    next.members.length === total &&
    current.members.every((member, at) => {
      const same = next.members[at];
      return (
        same?.identity === member.identity &&
        same.sealing === member.sealing &&
        same.operator === member.operator
      );
    }) &&
    lists.every((list) => isSubset<unknown>(next[list], current[list])) &&
    (next.authorisation === current.authorisation || next.authorisation === "hybrid") &&
    operations.every((operation) => quorum(next, operation) >= quorum(current, operation)) &&
    next.policyDelayMs >= current.policyDelayMs &&
    next.changeDelayMs >= current.changeDelayMs &&
    next.caFingerprint === current.caFingerprint &&
    (current.unsignedRequests || !next.unsignedRequests) &&
    (current.checkpointAnchors || !next.checkpointAnchors) &&
    (next.policy === current.policy || (policies !== null && policyTightens(current, next, policies)));
  return !tightens;
}

function policyTightens(of: Manifest, to: Manifest, { current, next }: PolicyChange): boolean {
  if (policyHash(current) !== of.policy || policyHash(next) !== to.policy) return false;
  const limits = [
    "perTransactionMaxSats",
    "rolling24hMaxSats",
    "perDestination24hMaxSats",
    "feeCeilingSats",
    "feeRateCeilingSatsPerKvb",
  ] as const;
  return (
    limits.every((limit) => atMost(next[limit], current[limit])) &&
    whereSet(next.whitelist, current.whitelist, isSubset) &&
    whereSet(
      next.rateLimit,
      current.rateLimit,
      (now, before) => now.count <= before.count && now.windowMs >= before.windowMs,
    ) &&
    next.delayMs >= current.delayMs &&
    whereSet(
      next.approvals,
      current.approvals,
      (now, before) =>
        now.m >= before.m && isSubset(now.keys, before.keys) && now.aboveSats <= before.aboveSats,
    )
  );
}

/** A rule that was off may come on as it likes; one that was on stays on, and no looser. */
function whereSet<Rule>(
  next: Rule | null,
  current: Rule | null,
  noLooser: (next: Rule, current: Rule) => boolean,
): boolean {
  return current === null || (next !== null && noLooser(next, current));
}

function atMost(next: bigint | number | null, current: bigint | number | null): boolean {
  return whereSet<bigint | number>(next, current, (now, before) => now <= before);
}

function isSubset<Item>(part: readonly Item[], whole: readonly Item[]): boolean {
  return part.every((item) => whole.includes(item));
}
