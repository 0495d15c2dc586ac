import {
  CairnError,
  type LineageId,
  type RequestHash,
  type SpendRequest,
  spendRequestHash,
} from "@cairn/core";

/** Longest chain of replacements that is followed. */
export const MAX_LINEAGE_DEPTH = 64;

/** The lineage of a request, or the request that must be learnt first. */
export type Lineage =
  | { readonly kind: "known"; readonly lineage: LineageId; readonly depth: number }
  | { readonly kind: "unknown"; readonly missing: RequestHash };

/**
 * The lineage of `request`: the hash of the first request that the chain of `replaces` leads to (architecture §5.3).
 * @param known the request of a hash, as this node has checked and stored it
 * @throws CairnError `wrong-wallet` when a replacement is for another wallet than what it replaces, `too-large` when the chain is
 * longer than {@link MAX_LINEAGE_DEPTH}
 */
export function lineageOf(
  request: SpendRequest,
  known: (hash: RequestHash) => SpendRequest | undefined,
): Lineage {
  let first = request;
  for (let depth = 0; depth <= MAX_LINEAGE_DEPTH; depth += 1) {
    if (first.replaces === null) {
      return { kind: "known", lineage: spendRequestHash(first) as string as LineageId, depth };
    }
    const before = known(first.replaces);
    if (before === undefined) return { kind: "unknown", missing: first.replaces };
    if (before.wallet !== request.wallet) {
      throw new CairnError("wrong-wallet", "the request replaces one that spends from another wallet", {
        wallet: request.wallet,
      });
    }
    first = before;
  }
  throw new CairnError(
    "too-large",
    "the request stands at the end of too many replacements; sign a fresh one",
    {
      limit: MAX_LINEAGE_DEPTH,
    },
  );
}
