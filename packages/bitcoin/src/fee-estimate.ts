import type { FeeEstimate } from "./chain-source.ts";
import { type FeeRate, feeRatePerKvb } from "./fee-rate.ts";

/** Bitcoin Core's classic relay minimum, and the least that a request may ask for. */
const least = feeRatePerKvb(1000n);

/**
 * The rate at which a transaction should confirm within `targetBlocks`: that of the longest target which is not longer,
 * or of the shortest there is; never below 1 sat/vB, never above `ceiling`. Without estimates, `fallback`.
 */
export function pickFeeRate(
  estimates: readonly FeeEstimate[],
  targetBlocks: number,
  limits: { readonly fallback: FeeRate; readonly ceiling: FeeRate },
): FeeRate {
  const sorted = [...estimates].sort((a, b) => a.targetBlocks - b.targetBlocks);
  const fitting = sorted.filter((estimate) => estimate.targetBlocks <= targetBlocks).at(-1) ?? sorted[0];
  const rate = fitting?.rate ?? limits.fallback;
  if (rate > limits.ceiling) return limits.ceiling;
  return rate < least ? least : rate;
}
