import { bitcoinError } from "./bitcoin-error.ts";

declare const brand: unique symbol;
/** A fee rate in satoshi for 1000 virtual bytes (sat/kvB), the unit in which Bitcoin Core counts exactly. */
export type FeeRate = bigint & { readonly [brand]: "FeeRate" };

/** 100,000 sat/vB: above it, a rate is a mistake of units rather than a wish for haste. */
const highest = 100_000_000n;

/**
 * A rate from satoshi for one virtual byte, as people write it; up to three decimals count, the rest rounds up.
 * @throws CairnError `fee-rate-out-of-range` unless 0 ≤ rate ≤ 100,000.
 */
export function feeRate(satsPerVbyte: number): FeeRate {
  if (!Number.isFinite(satsPerVbyte) || satsPerVbyte < 0 || satsPerVbyte > 100_000) {
    throw bitcoinError(
      "fee-rate-out-of-range",
      "A fee rate lies between 0 and 100,000 sat/vB. Check its unit: sat/vB, not BTC/kvB.",
      { satsPerVbyte: String(satsPerVbyte) },
    );
  }
  // The decimal text, not the binary product, decides: 1.001 × 1000 is 1000.9999999999999 as a double.
  const milli = Math.round(satsPerVbyte * 1e6) / 1e3;
  return brandRate(BigInt(Math.ceil(milli)));
}

/**
 * A rate from satoshi for 1000 virtual bytes.
 * @throws CairnError `fee-rate-out-of-range` unless 0 ≤ rate ≤ 100,000,000.
 */
export function feeRatePerKvb(satsPerKvb: bigint): FeeRate {
  if (satsPerKvb < 0n || satsPerKvb > highest) {
    throw bitcoinError("fee-rate-out-of-range", "A fee rate lies between 0 and 100,000,000 sat/kvB.", {
      satsPerKvb: satsPerKvb.toString(),
    });
  }
  return brandRate(satsPerKvb);
}

function brandRate(rate: bigint): FeeRate {
  return rate as FeeRate;
}

/** The least whole fee, in satoshi, that pays `rate` for `vsize` virtual bytes. */
export function feeFor(vsize: number, rate: FeeRate): bigint {
  return (BigInt(vsize) * rate + 999n) / 1000n;
}

/** `rate` in sat/vB, for people. */
export function satsPerVbyte(rate: FeeRate): number {
  return Number(rate) / 1000;
}
