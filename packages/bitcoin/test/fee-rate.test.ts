import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { feeFor, feeRate, feeRatePerKvb, pickFeeRate, satsPerVbyte } from "../src/index.ts";
import { throwsReason } from "./assert-reason.ts";

test("a rate keeps three decimals exactly and rounds up beyond", () => {
  assert.equal(feeRate(1.001), 1001n);
  assert.equal(feeRate(87.882), 87882n);
  assert.equal(feeRate(1.0001), 1001n);
  assert.equal(satsPerVbyte(feeRate(2.5)), 2.5);
});

test("rates outside the possible are refused", () => {
  for (const rate of [-1, Number.NaN, Number.POSITIVE_INFINITY, 100_001]) {
    throwsReason(() => feeRate(rate), "fee-rate-out-of-range");
  }
  throwsReason(() => feeRatePerKvb(-1n), "fee-rate-out-of-range");
});

test("a fee is the least whole amount that pays the rate", () => {
  fc.assert(
    fc.property(fc.nat(100_000), fc.bigInt({ min: 0n, max: 1_000_000n }), (vsize, perKvb) => {
      const fee = feeFor(vsize, feeRatePerKvb(perKvb));
      assert.ok(fee * 1000n >= BigInt(vsize) * perKvb);
      assert.ok(fee === 0n || (fee - 1n) * 1000n < BigInt(vsize) * perKvb);
    }),
  );
});

const limits = { fallback: feeRate(3), ceiling: feeRate(200) };
const estimates = [
  { targetBlocks: 1, rate: feeRate(500) },
  { targetBlocks: 6, rate: feeRate(20) },
  { targetBlocks: 144, rate: feeRate(0.2) },
];

test("the longest target that is short enough decides", () => {
  assert.equal(pickFeeRate(estimates, 10, limits), feeRate(20));
  assert.equal(pickFeeRate(estimates, 6, limits), feeRate(20));
});

test("an estimate is held between 1 sat/vB and the ceiling", () => {
  assert.equal(pickFeeRate(estimates, 1, limits), limits.ceiling);
  assert.equal(pickFeeRate(estimates, 1000, limits), feeRate(1));
});

test("without estimates the fallback serves", () => {
  assert.equal(pickFeeRate([], 6, limits), limits.fallback);
});
