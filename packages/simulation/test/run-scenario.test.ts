import assert from "node:assert/strict";
import { test } from "node:test";
import type { Sats } from "@cairn/core";
import { approvers, noLimits } from "../src/cluster-plan.ts";
import { runSeeds } from "../src/run-seeds.ts";
import { type Operation, scenarioOf } from "../src/scenario.ts";
import { simulate, simulateSeed } from "../src/simulate-seed.ts";
import { node, payment, quietScenario } from "./quiet-scenario.ts";

test("five honest nodes confirm payments of both protocols under virtual time", async () => {
  const started = performance.now();
  const outcome = await simulate(
    quietScenario([payment(1_000, 1), payment(2_000, 2, { wallet: 1 })], { healAt: 3_600_000 }),
  );
  assert.equal(outcome.complaint, null);
  assert.ok(outcome.confirmed >= 2, "both are confirmed");
  assert.ok(outcome.virtualMs > 3_600_000, "an hour went by");
  assert.ok(performance.now() - started < 1_800_000, "and nobody waited for it");
});

test("a payment that needs approvals is made once two people have approved, and not with one", async () => {
  const keys = approvers.map(({ publicKey }) => publicKey);
  const limits = { ...noLimits, approvals: { m: 2, keys, aboveSats: 60_000n as Sats } };
  const approve = (at: number, id: number, approver: number, to: number): Operation => ({
    at,
    op: "approve",
    id,
    approver,
    node: node(to),
  });
  const outcome = await simulate(
    quietScenario(
      [
        payment(1_000, 1, { sats: 61_000 }),
        approve(1_000, 1, 0, 5),
        approve(2_000, 1, 0, 4),
        approve(3_000, 1, 2, 3),
        payment(4_000, 2, { sats: 61_000, wallet: 1 }),
        approve(5_000, 2, 1, 2),
        approve(6_000, 2, 1, 1),
      ],
      { limits, healAt: 50_000 },
    ),
  );
  assert.equal(outcome.complaint, null);
  // The two of the end need nobody's approval.
  assert.deepEqual([outcome.signed, outcome.confirmed], [3, 3]);
});

test("the same seed gives the same trace, byte for byte, and another seed another", async () => {
  const hostile = [11, 12, 13, 14, 15, 16, 17, 18].find((seed) => scenarioOf(seed).hostile !== null);
  assert.ok(hostile !== undefined);
  const [first, again] = [await simulateSeed(hostile), await simulateSeed(hostile)];
  assert.ok(first.trace.lines.length > 300, "the trace tells what happened");
  assert.equal(first.trace.lines.join("\n"), again.trace.lines.join("\n"));
  assert.notEqual(first.trace.digest(), (await simulateSeed(hostile + 1)).trace.digest());
});

test("a seed gives the same trace on a thread of its own, which made its keys itself", async () => {
  const here = await simulateSeed(4);
  const there: string[] = [];
  await runSeeds([4], 1, ({ digest }) => void there.push(digest));
  assert.deepEqual(there, [here.trace.digest()]);
});
