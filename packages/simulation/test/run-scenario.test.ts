import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeIndexSchema } from "@cairn/core";
import { noLimits } from "../src/cluster-plan.ts";
import type { Scenario } from "../src/scenario.ts";

import { simulate, simulateSeed } from "../src/simulate-seed.ts";

/** One payment that nothing hinders. */
const quiet: Scenario = {
  seed: 1,
  limits: noLimits,
  hostile: null,
  keys: true,
  operations: [
    { at: 0, op: "deposit", wallet: 0, index: 0, sats: 500_000 },
    { at: 0, op: "mine", blocks: 1 },
    {
      at: 1_000,
      op: "pay",
      id: 1,
      node: nodeIndexSchema.parse(1),
      wallet: 0,
      recipient: 0,
      sats: 100_000,
      lifeMs: 60_000,
      replaces: null,
    },
  ],
  healAt: 5_000,
};

test("five honest nodes confirm a payment under virtual time", async () => {
  const outcome = await simulate(quiet);
  assert.equal(outcome.complaint, null);
  assert.ok(outcome.confirmed >= 1, "the payment is confirmed");
  assert.ok(outcome.virtualMs >= 5_000, "by the virtual clock");
});

test("the same seed gives the same trace, byte for byte, and another seed another", async () => {
  const [first, again, other] = [await simulateSeed(7), await simulateSeed(7), await simulateSeed(8)];
  assert.equal(first.trace.lines.join("\n"), again.trace.lines.join("\n"));
  assert.notEqual(first.trace.digest(), other.trace.digest());
});
