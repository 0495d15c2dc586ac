import { CairnError, MAX_MONEY, type Sats, satsSchema } from "@cairn/core";

const SATS_IN_BTC_DIGITS = 8;

/**
 * An amount as people type it: `150000` and `150000sat` are satoshi; `0.0015` and `0.0015btc` are bitcoin, `1btc` too. A number with
 * a point is bitcoin, one without is satoshi unless it says `btc`. Exact: no floating point is involved.
 * @throws CairnError `amount-invalid` for anything negative, zero, finer than a satoshi or above 21,000,000 BTC
 */
export function parseAmount(text: string): Sats {
  const match = /^([0-9]{1,16})(?:\.([0-9]{1,16}))?\s*(btc|sats?)?$/i.exec(text.trim());
  if (match === null) {
    throw refuse(
      text,
      /^\s*-/.test(text)
        ? "is negative; an amount is above zero"
        : "is no amount; write satoshi (150000) or bitcoin with a point (0.0015 or 0.0015btc)",
    );
  }
  const [, whole = "", fraction, unit] = match;
  const inBtc = unit === undefined ? fraction !== undefined : unit.toLowerCase() === "btc";
  if (!inBtc && fraction !== undefined) {
    throw refuse(text, "has a part of a satoshi, which does not exist; write a whole number of satoshi");
  }
  const digits = (fraction ?? "").replace(/0+$/, "");
  if (digits.length > SATS_IN_BTC_DIGITS) {
    throw refuse(text, "is finer than a satoshi (0.00000001 BTC); round it to eight decimals");
  }
  const sats = inBtc ? BigInt(whole + digits.padEnd(SATS_IN_BTC_DIGITS, "0")) : BigInt(whole);
  if (sats === 0n) throw refuse(text, "is zero; an amount is above zero");
  if (sats > MAX_MONEY) {
    throw refuse(text, "is more than the 21,000,000 BTC that will ever exist; check the unit");
  }
  return satsSchema.parse(sats);
}

function refuse(text: string, why: string): CairnError {
  return new CairnError("amount-invalid", `the amount ${JSON.stringify(text.slice(0, 40))} ${why}`);
}

/** `150000` as `0.00150000 BTC`. */
export function btcText(sats: bigint): string {
  const digits = sats.toString().padStart(SATS_IN_BTC_DIGITS + 1, "0");
  return `${digits.slice(0, -SATS_IN_BTC_DIGITS)}.${digits.slice(-SATS_IN_BTC_DIGITS)} BTC`;
}

/** `150000` as `150,000 sat`. */
export function satsText(sats: bigint): string {
  return `${sats.toString().replace(/\B(?=(\d{3})+$)/g, ",")} sat`;
}
