import assert from "node:assert/strict";
import { test } from "node:test";
import { isCairnError } from "@cairn/core";
import fc from "fast-check";
import { parseDuration } from "../src/duration.ts";
import { parseFeeRate } from "../src/fee-rate-text.ts";

test("a fee rate becomes whole satoshi per 1,000 vbytes, exactly", () => {
  assert.equal(parseFeeRate("1"), 1_000);
  assert.equal(parseFeeRate("12.5"), 12_500);
  assert.equal(parseFeeRate("1.001"), 1_001);
  assert.equal(parseFeeRate("10000"), 10_000_000);
  fc.assert(
    fc.property(fc.integer({ min: 1_000, max: 10_000_000 }), (rate) => {
      const text = `${Math.floor(rate / 1000)}.${String(rate % 1000).padStart(3, "0")}`;
      assert.equal(parseFeeRate(text), rate);
    }),
  );
  for (const text of ["0", "0.999", "10000.001", "1.0001", "-1", "1e2", "", "5 sat"]) {
    assert.throws(
      () => parseFeeRate(text),
      (error) => isCairnError(error, "amount-invalid"),
      text,
    );
  }
});

test("a length of time needs a number above zero and its unit", () => {
  assert.equal(parseDuration("90s"), 90_000);
  assert.equal(parseDuration("30m"), 1_800_000);
  assert.equal(parseDuration("2h"), 7_200_000);
  assert.equal(parseDuration("7d"), 604_800_000);
  for (const text of ["", "5", "0s", "-1h", "1.5h", "1w", "h", "1h30m"]) {
    assert.throws(
      () => parseDuration(text),
      (error) => isCairnError(error, "malformed"),
      text,
    );
  }
});
