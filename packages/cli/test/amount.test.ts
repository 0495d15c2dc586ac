import assert from "node:assert/strict";
import { test } from "node:test";
import { isCairnError, MAX_MONEY } from "@cairn/core";
import fc from "fast-check";
import { btcText, parseAmount, satsText } from "../src/amount.ts";

const sats = fc.bigInt({ min: 1n, max: MAX_MONEY });
const refuses = (text: string) =>
  assert.throws(
    () => parseAmount(text),
    (error) => isCairnError(error, "amount-invalid"),
    text,
  );

test("every amount comes back from its satoshi and from its bitcoin form, to the last satoshi", () => {
  fc.assert(
    fc.property(sats, (amount) => {
      assert.equal(parseAmount(amount.toString()), amount);
      assert.equal(parseAmount(`${amount}sat`), amount);
      assert.equal(parseAmount(`${amount} SATS`), amount);
      assert.equal(parseAmount(btcText(amount)), amount);
      assert.equal(parseAmount(btcText(amount).replace(" BTC", "")), amount);
      assert.equal(parseAmount(satsText(amount).replaceAll(",", "")), amount);
    }),
  );
});

test("what floating point would round is exact", () => {
  assert.equal(parseAmount("0.1btc"), 10_000_000n);
  assert.equal(parseAmount("20999999.99999999"), 2_099_999_999_999_999n);
  assert.equal(parseAmount("0.00000001"), 1n);
  assert.equal(parseAmount("1.10"), 110_000_000n);
  assert.equal(parseAmount("1btc"), 100_000_000n);
  assert.equal(parseAmount("0.1000000000"), 10_000_000n);
});

test("nothing negative, zero, fractional, above 21,000,000 BTC or otherwise unclear is an amount", () => {
  for (const text of ["-1", "-0.1", "0", "0.0", "0btc", "0.000000001", "1.5sat", "21000000.00000001"])
    refuses(text);
  for (const text of [
    "2100000000000001",
    "1e5",
    "0x10",
    "1,000",
    "1_000",
    ".5",
    "5.",
    "",
    " ",
    "NaN",
    "1 eur",
  ])
    refuses(text);
  for (const text of ["١٢٣", "1\u00a0000", "9".repeat(40), "+5", "1.2.3", "Infinity"]) refuses(text);
});

test("text that is no number with an optional unit is always refused", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      fc.pre(!/^\s*[0-9]+(\.[0-9]+)?\s*(btc|sats?)?\s*$/i.test(text));
      refuses(text);
    }),
  );
});
