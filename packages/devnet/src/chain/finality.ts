import type { Coin } from "./coins.ts";
import type { Transaction } from "./transaction.ts";

const locktimeThreshold = 500_000_000;
const sequenceFinal = 0xffffffff;
const sequenceDisabled = 1 << 31;
const sequenceIsTime = 1 << 22;
const sequenceMask = 0xffff;
const sequenceTimeGranularity = 9;

/** What the locks of a transaction are measured against. */
export interface LockContext {
  /** Height of the block that would hold the transaction. */
  readonly height: number;
  /** Median time past of that block's parent, in seconds (BIP-113). */
  readonly medianTimePast: number;
  /** Median time past of the block at `height` on this chain, for relative time locks. */
  medianTimePastAt(height: number): number;
}

/** Whether the lock time of `transaction` has passed (BIP-113). */
export function isFinal(transaction: Transaction, context: LockContext): boolean {
  const { lockTime } = transaction;
  if (lockTime === 0) return true;
  if (lockTime < (lockTime < locktimeThreshold ? context.height : context.medianTimePast)) return true;
  return transaction.inputs.every((input) => input.sequence === sequenceFinal);
}

/**
 * Whether the relative locks in the inputs' sequence numbers have passed (BIP-68).
 * @param coins the coins that the inputs spend, in order; one without a height counts as part of the next block
 */
export function relativeLocksPassed(
  transaction: Transaction,
  coins: readonly Pick<Coin, "height">[],
  context: LockContext,
): boolean {
  if (transaction.version >>> 0 < 2) return true;
  return transaction.inputs.every(({ sequence }, index) => {
    if ((sequence & sequenceDisabled) !== 0) return true;
    const coinHeight = coins[index]?.height ?? context.height;
    const amount = sequence & sequenceMask;
    if ((sequence & sequenceIsTime) === 0) return coinHeight + amount <= context.height;
    const since = context.medianTimePastAt(Math.max(coinHeight - 1, 0));
    return since + (amount << sequenceTimeGranularity) <= context.medianTimePast;
  });
}
