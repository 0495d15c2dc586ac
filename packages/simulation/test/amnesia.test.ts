import assert from "node:assert/strict";
import { test } from "node:test";
import { AMNESIA_KEY, type NodeStore, type Sats } from "@cairn/core";
import { noLimits } from "../src/cluster-plan.ts";
import type { Operation } from "../src/scenario.ts";
import { simulate } from "../src/simulate-seed.ts";
import type { Sabotage } from "../src/simulated-cluster.ts";
import { node, payment, quietScenario } from "./quiet-scenario.ts";

/** Two payments fit the limit of a day; node 5 loses its database after the first two, and then a third is asked for. */
const operations: Operation[] = [
  payment(2_000, 1, { sats: 250_000 }),
  payment(8_000, 2, { sats: 250_000, wallet: 1 }),
  { at: 20_000, op: "lose", node: node(5), restartMs: 200 },
  payment(21_000, 3, { sats: 250_000, wallet: 1 }),
];
const limits = { ...noLimits, rolling24hMaxSats: 600_000n as Sats };

async function complaintOf(sabotage?: Sabotage) {
  const scenario = { ...quietScenario(operations, { healAt: 40_000 }), limits };
  const { complaint, signed } = await simulate(scenario, sabotage === undefined ? {} : { sabotage });
  return { complaint, signed };
}

function storeTwin(change: (store: NodeStore) => Partial<NodeStore>): Sabotage {
  return { store: (store) => Object.assign(store, change(store)) };
}

/** Peers that hand over nothing at all. */
const silent = { transactionMarks: async () => [] };

test("a node that lost its database approves no more than its policy allows, counting what it approved before", async () => {
  const { complaint, signed } = await complaintOf();
  assert.equal(complaint, null);
  assert.equal(signed, 2);
});

test("it does not even where its peers keep from it what it approved", async () => {
  const { complaint } = await complaintOf(storeTwin(() => silent));
  // What it was never told of it can't know; but it approved nothing.
  assert.notEqual(complaint?.invariant, "limits-hold");
});

test("one that went on as if nothing had happened would be found out", async () => {
  const { complaint } = await complaintOf(
    storeTwin((store) => {
      const meta = store.meta.bind(store);
      return { ...silent, meta: async (key) => (key === AMNESIA_KEY ? null : meta(key)) };
    }),
  );
  assert.equal(complaint?.invariant, "limits-hold");
});
