import { CairnError } from "@cairn/core";

/**
 * A fee rate in sat/vB as people type it, up to three decimals, as whole satoshi per 1,000 vbytes.
 * @throws CairnError `amount-invalid` unless 1 ≤ rate ≤ 10,000 sat/vB, the bounds of a spend request
 */
export function parseFeeRate(text: string): number {
  const match = /^([0-9]{1,5})(?:\.([0-9]{1,3}))?$/.exec(text.trim());
  const [, whole = "", fraction = ""] = match ?? [];
  const perKvb = Number(whole + fraction.padEnd(3, "0"));
  if (match !== null && perKvb >= 1_000 && perKvb <= 10_000_000) return perKvb;
  throw new CairnError(
    "amount-invalid",
    `the fee rate ${JSON.stringify(text.slice(0, 40))} must lie between 1 and 10000 sat/vB, with at most three decimals`,
  );
}
