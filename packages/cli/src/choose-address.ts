import type { AddressView } from "@cairn/client";
import { CairnError, type KeyPath, type Manifest } from "@cairn/core";
import { failures, type NodeAnswer, successes } from "./node-answer.ts";
import { type TrustedWallet, trustAddress } from "./trusted-wallet.ts";

/** Unused addresses in a row after which wallets stop looking for coins (BIP-44). */
export const GAP_LIMIT = 20;
/** Highest index that is shown on the word of so few nodes that all of them may lie. */
export const MOST_UNPROVEN_INDEX = 1_000;

export interface ChosenAddress {
  readonly address: string;
  readonly path: KeyPath;
  /** What a person should hear beside it. */
  readonly warnings: readonly string[];
}

/**
 * The next receive address on the word of several nodes. A liar can't name a wrong address, since it is derived here; but one at an
 * index far beyond the last used would receive coins that no wallet and no node finds. So the index is the highest that f + 1 nodes
 * reach: one of them is honest. Where fewer answer, it is bounded by {@link MOST_UNPROVEN_INDEX}.
 * @throws CairnError `peer-disagrees` when no node names an address of the wallet within the bound; the first node's error when
 *   none answers
 */
export function chooseAddress(
  answers: readonly NodeAnswer<AddressView>[],
  wallet: TrustedWallet,
  manifest: Pick<Manifest, "members">,
): ChosenAddress {
  const warnings = failures(answers).map(
    ({ endpoint, error }) => `${endpoint} gives no answer: ${error.message}`,
  );
  const named: ReturnType<typeof trustAddress>[] = [];
  let lie: unknown = null;
  for (const { endpoint, value } of successes(answers)) {
    try {
      named.push(trustAddress(value, wallet));
    } catch (error) {
      lie ??= error;
      warnings.push(
        `${endpoint} names an address that does not follow from the wallet's descriptor: it lies or is broken; tell the operators`,
      );
    }
  }
  const faulty = Math.floor((manifest.members.length - 1) / 3);
  const highestFirst = named.toSorted((a, b) => b.path[1] - a.path[1]);
  const proven = highestFirst[faulty];
  if (proven !== undefined) {
    const ahead = highestFirst.filter(({ path }) => path[1] > proven.path[1] + GAP_LIMIT).length;
    if (ahead > 0) {
      warnings.push(
        `${ahead} node(s) name an address more than ${GAP_LIMIT} beyond the one shown, which is as far as ${faulty + 1} nodes vouch for`,
      );
    }
    return { ...proven, warnings };
  }
  const [first] = named;
  if (first === undefined) throw lie;
  if (first.path[1] > MOST_UNPROVEN_INDEX) {
    throw new CairnError(
      "peer-disagrees",
      `the node names the address at index ${first.path[1]}, and coins sent so far ahead may not be found again; name ${faulty + 1} nodes with --endpoint URL or \`cairn config set-endpoint\`, so that one honest one is among them, or an address of your own choice with --index`,
      { index: first.path[1], most: MOST_UNPROVEN_INDEX, answers: named.length, needed: faulty + 1 },
    );
  }
  return { ...first, warnings };
}
