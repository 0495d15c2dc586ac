import assert from "node:assert/strict";
import { test } from "node:test";
import type { Sats } from "@cairn/core";
import { behaviourNames } from "../src/behaviours/index.ts";
import { noLimits } from "../src/cluster-plan.ts";
import type { Operation } from "../src/scenario.ts";
import { simulate } from "../src/simulate-seed.ts";
import { node, payment, quietScenario } from "./quiet-scenario.ts";

for (const behaviour of behaviourNames) {
  test(`${behaviour}: the node lies, the others pay, and no invariant breaks`, async () => {
    let lies = 0;
    // Who signs with whom follows from the cluster's id: not every node has its turn at everything.
    for (let seed = 1; seed <= 5 && lies === 0; seed += 1) {
      const liar = node(((seed + 3) % 5) + 1);
      const scenario = quietScenario(
        [
          { at: 0, op: "lie", behaviour },
          payment(3_000, 1),
          payment(4_000, 2, { node: liar, recipient: 1 }),
          payment(26_000, 3, { wallet: 1, node: node(2) }),
          payment(27_000, 4, { wallet: 1, node: liar, recipient: 2 }),
          { at: 28_000, op: "mine", blocks: 1 },
          payment(36_000, 5, { wallet: 1, node: node(3), recipient: 2 }),
          payment(37_000, 6, { wallet: 1, node: node(4), recipient: 1 }),
        ],
        { seed, hostile: liar, healAt: 40_000 },
      );
      const outcome = await simulate(scenario);
      assert.equal(outcome.complaint, null);
      assert.ok(outcome.signed >= 3, "payments are signed");
      lies += outcome.lies;
    }
    assert.ok(lies > 0, "it had its chance to lie");
  });
}

test("a hostile receiver spreads payments over quorums, and no honest node passes its own limit", async () => {
  const coins = [0, 1].map((index): Operation => ({ at: 0, op: "deposit", wallet: 0, index, sats: 500_000 }));
  // Each counts 120,000 sat: three fit.
  const payments = [0, 1, 2, 3].map((id) => payment(2_000 + id, id, { node: node(5) }));
  const outcome = await simulate(
    quietScenario([{ at: 0, op: "lie", behaviour: "spreadOverLimits" }, ...coins, ...payments], {
      hostile: node(5),
      healAt: 30_000,
      limits: { ...noLimits, rolling24hMaxSats: 360_000n as Sats },
    }),
  );
  assert.equal(outcome.complaint, null);
  assert.ok(outcome.signed >= 1, "some are signed");
  assert.ok(outcome.lies > 0, "the receiver lied");
});
