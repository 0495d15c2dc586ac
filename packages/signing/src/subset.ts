import { bodyHash, CairnError, type HashHex, type NodeIndex } from "@cairn/core";
import { isAscending } from "./ascending.ts";

/** Largest number of subsets that are listed: C(12, 6) and far above C(10, 7). Clusters are small. */
export const MAX_SUBSETS = 10_000;

/**
 * All `threshold`-subsets of `members`, each ascending, ordered by H(subject ‖ subset): the default order in which attempts try
 * them. Every one of them is valid to propose.
 * @throws CairnError `limit-exceeded` when there are more than {@link MAX_SUBSETS}
 */
export function subsetsInOrder(
  subject: HashHex,
  members: readonly NodeIndex[],
  threshold: number,
): readonly (readonly NodeIndex[])[] {
  const sorted = [...members].sort((a, b) => a - b);
  const subsets = combinations(sorted, threshold);
  return subsets
    .map((subset) => ({ subset, key: bodyHash<HashHex>("cairn/subset/v1", { subject, subset }) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ subset }) => subset);
}

/** The subset that attempt `attempt` tries first; the list begins anew when it is through. */
export function subsetOfAttempt(
  subsets: readonly (readonly NodeIndex[])[],
  attempt: number,
): readonly NodeIndex[] {
  return subsets[attempt % subsets.length] ?? [];
}

/** Whether `signers` are exactly `threshold` of `members`, ascending and each once. Stock and health never decide validity. */
export function isValidSubset(
  signers: readonly NodeIndex[],
  members: readonly NodeIndex[],
  threshold: number,
): boolean {
  return (
    signers.length === threshold &&
    isAscending(signers) &&
    signers.every((signer) => members.includes(signer))
  );
}

function combinations(members: readonly NodeIndex[], size: number): NodeIndex[][] {
  const found: NodeIndex[][] = [];
  const extend = (chosen: NodeIndex[], from: number) => {
    if (chosen.length === size) {
      if (found.length >= MAX_SUBSETS) {
        throw new CairnError("limit-exceeded", "the cluster has too many subsets of signers to list", {
          members: members.length,
          threshold: size,
        });
      }
      found.push(chosen);
      return;
    }
    for (let at = from; at <= members.length - (size - chosen.length); at += 1) {
      const member = members[at];
      if (member !== undefined) extend([...chosen, member], at + 1);
    }
  };
  extend([], 0);
  return found;
}
