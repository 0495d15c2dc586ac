import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TimedSums } from "../src/timed-sums.ts";

test("sums by key and time are those of the items one by one, in whatever order they come", () => {
  const item = fc.record({
    key: fc.integer({ min: 0, max: 3 }),
    at: fc.integer({ min: 0, max: 50 }),
    amount: fc.bigInt({ min: 0n, max: 21n * 10n ** 14n }),
  });
  fc.assert(
    fc.property(
      fc.array(item, { minLength: 900, maxLength: 1_800 }),
      fc.integer({ min: -1, max: 51 }),
      (items, from) => {
        const sums = new TimedSums();
        for (const { key, at, amount } of items) sums.add(key, at, amount, Number.NEGATIVE_INFINITY);
        for (const key of [0, 1, 2, 3, 4]) {
          const found = items.filter((each) => each.key === key && each.at > from);
          const amount = found.reduce((sum, each) => sum + each.amount, 0n);
          assert.deepEqual(sums.since(key, from), { count: found.length, amount });
        }
      },
    ),
    { numRuns: 30 },
  );
});

test("what need not be kept is forgotten, and nothing younger", () => {
  const sums = new TimedSums();
  for (let at = 0; at < 20_000; at += 1) sums.add(at % 7, at, 1n, at - 1_000);
  assert.ok(sums.size < 3_000, `${sums.size} items are kept`);
  assert.deepEqual(sums.since(3, 18_999), { count: 143, amount: 143n });
  for (let key = 0; key < 7; key += 1) {
    const late = Array.from({ length: 1_000 }, (_, ago) => 19_999 - ago).filter(
      (at) => at % 7 === key,
    ).length;
    assert.equal(sums.since(key, 18_999).amount, BigInt(late));
  }
});
