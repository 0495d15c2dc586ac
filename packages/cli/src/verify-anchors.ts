import {
  anchoredIn,
  type ChainSource,
  checkInclusion,
  meetsTarget,
  parseBlockHeader,
  parseTransaction,
} from "@cairn/bitcoin";
import {
  type AuditAnchor,
  CairnError,
  checkpointHash,
  fromHex,
  type HashHex,
  isCairnError,
  type Network,
} from "@cairn/core";

/** An anchor that is what it says. */
export interface VerifiedAnchor {
  readonly sequence: number;
  readonly checkpoint: HashHex;
  readonly txid: string;
  /** Null where the transaction was in no block at the export. */
  readonly block: {
    readonly height: number;
    readonly hash: string;
    /** Seconds since the Unix epoch, by the miner's clock. */
    readonly time: number;
  } | null;
  /** By the chain source; null where none was asked. */
  readonly confirmations: number | null;
}

/**
 * Verifies anchors whose checkpoints are verified: each transaction has the anchor, its id is the hash of its bytes, and the merkle proof
 * leads to a header that took the work it claims. With `chain`, also that this block is in the best chain; without it that remains to be
 * seen, since whoever can do the work can make a block of their own.
 * @throws CairnError `audit-broken` that names the transaction; those of `chain`
 */
export async function verifyAnchors(
  anchors: readonly AuditAnchor[],
  network: Network,
  chain: Pick<ChainSource, "blockHash" | "tip"> | null,
): Promise<readonly VerifiedAnchor[]> {
  const verified: VerifiedAnchor[] = [];
  const tip = chain === null ? null : await chain.tip();
  for (const anchor of anchors) {
    const block = verifyOffline(anchor, network);
    let confirmations: number | null = null;
    if (chain !== null && tip !== null) {
      if (block !== null && (await chain.blockHash(block.height)) !== block.hash)
        throw broken(
          anchor,
          "its block is not in the best chain; export again, the chain may have been reorganised",
        );
      confirmations = block === null ? 0 : Math.max(1, tip.height - block.height + 1);
    }
    const { checkpoint } = anchor.checkpoint;
    verified.push({
      sequence: checkpoint.sequence,
      checkpoint: checkpointHash(checkpoint),
      txid: anchor.txid,
      block,
      confirmations,
    });
  }
  return verified;
}

function verifyOffline(anchor: AuditAnchor, network: Network): VerifiedAnchor["block"] {
  const { txid, inclusion } = anchor;
  try {
    const transaction = parseTransaction(fromHex(anchor.transaction));
    if (transaction.txid !== txid) throw broken(anchor, "its transaction has another id");
    if (!anchoredIn(transaction, anchor.checkpoint.checkpoint))
      throw broken(anchor, "its transaction does not anchor the checkpoint");
    if (inclusion === null) return null;
    checkInclusion(txid, inclusion);
    const header = parseBlockHeader(fromHex(inclusion.header));
    if (!meetsTarget(header, network)) throw broken(anchor, `its block took no work of ${network}`);
    return { height: inclusion.blockHeight, hash: inclusion.blockHash, time: header.time };
  } catch (error) {
    if (!isCairnError(error) || error.code === "audit-broken") throw error;
    throw broken(anchor, error.message);
  }
}

function broken({ txid, checkpoint }: AuditAnchor, why: string): CairnError {
  const { sequence } = checkpoint.checkpoint;
  return new CairnError("audit-broken", `the anchor of checkpoint ${sequence} proves nothing: ${why}`, {
    fault: "anchor",
    txid,
    sequence,
  });
}
