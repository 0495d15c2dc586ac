import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeStore, StoreWrite } from "@cairn/core";
import { Checker } from "../src/checker.ts";
import { approvers, noLimits, planCluster } from "../src/cluster-plan.ts";
import type { Invariant } from "../src/invariant.ts";
import type { Observation } from "../src/observation.ts";
import { reportFailure } from "../src/report.ts";
import { groundOf, simulate } from "../src/simulate-seed.ts";
import type { Sabotage } from "../src/simulated-cluster.ts";
import { World } from "../src/world.ts";
import { node, payment, quietScenario } from "./quiet-scenario.ts";

/** A store in whose place `change` answers now and then. */
function storeTwin(change: (store: NodeStore) => Partial<NodeStore>): Sabotage {
  return { store: (store) => Object.assign(store, change(store)) };
}

async function complaintOf(
  sabotage: Sabotage,
  operations = [payment(2_000, 1), payment(15_000, 2, { wallet: 1 })],
) {
  const { complaint } = await simulate(quietScenario(operations, { healAt: 30_000 }), { sabotage });
  return complaint;
}

test("votes that leave a node before they are durable are found: signatures come without a certificate of durable votes", async () => {
  const complaint = await complaintOf(
    storeTwin((store) => {
      const commit = store.commit.bind(store);
      const lost = (write: StoreWrite): boolean => write.write === "vote" && write.row.approve;
      return { commit: (writes) => commit(writes.filter((write) => !lost(write))) };
    }),
  );
  assert.equal(complaint?.invariant, "certificate-before-signature");
});

test("a store that forgets its burns is found: a partial is issued from what was never burned", async () => {
  let counter = 0;
  const complaint = await complaintOf(
    storeTwin(() => ({
      burn: async () => {
        counter += 1;
        return counter;
      },
    })),
  );
  assert.equal(complaint?.invariant, "single-use");
});

test("a store that forgets votes over a restart is found", async () => {
  const complaint = await complaintOf(
    storeTwin((store) => {
      const rows = store.votes.bind(store);
      return { votes: async (intent) => (await rows(intent)).filter(({ voter }) => voter !== 1) };
    }),
    [payment(2_000, 1), { at: 10_000, op: "crash", node: node(1), restartMs: 100 }],
  );
  assert.equal(complaint?.invariant, "nothing-forgotten");
});

test("a cluster that does not sign any more is found: what is asked of a whole network is not paid", async () => {
  const silent: Sabotage = {
    engine: (engine) => ({ ...engine, start: () => ({ receive() {}, cancel() {} }) }),
  };
  const complaint = await complaintOf(silent, [payment(2_000, 1)]);
  assert.equal(complaint?.invariant, "every-request-ends");
});

test("an error that nobody foresaw is found", async () => {
  const complaint = await complaintOf(
    storeTwin(() => ({
      outbox: async () => {
        throw new TypeError("a fault of the code");
      },
    })),
  );
  assert.equal(complaint?.invariant, "nothing-breaks");
});

/** What was seen of two payments that were made well. */
async function goodHistory(): Promise<readonly Observation[]> {
  const seen: Observation[] = [];
  const recorder: Invariant = {
    name: "recorder",
    see(_, event) {
      seen.push(event);
      return null;
    },
  };
  const scenario = quietScenario([payment(2_000, 1), payment(15_000, 2, { recipient: 1 })], {
    healAt: 30_000,
  });
  await simulate(scenario, { invariants: [recorder] });
  return seen;
}

function judge(history: readonly Observation[], plan = planCluster(noLimits)): string | null {
  const checker = new Checker(new World(plan, null));
  history.forEach((event, at) => {
    checker.see(event, at);
  });
  return checker.complaint?.invariant ?? null;
}

function altered(
  history: readonly Observation[],
  change: (write: StoreWrite) => StoreWrite | readonly StoreWrite[],
): readonly Observation[] {
  return history.map((event) =>
    event.kind === "committed" ? { ...event, writes: event.writes.flatMap((write) => change(write)) } : event,
  );
}

test("histories that were altered to break an invariant are found, and the one that was not is fine", async (t) => {
  const history = await goodHistory();
  await t.test("unaltered", () => assert.equal(judge(history), null));
  await t.test("two payments of one request over different coins", () => {
    const rows = history.flatMap((event) =>
      event.kind === "committed"
        ? event.writes.flatMap((write) => (write.write === "transaction" ? [write.row] : []))
        : [],
    );
    const [first] = rows;
    assert.ok(first);
    const coin = (row: (typeof rows)[number]): string => row.outpoints.map(({ txid }) => txid).join();
    assert.ok(
      rows.some((row) => coin(row) !== coin(first)),
      "the two payments spend different coins",
    );
    const one = altered(history, (write) =>
      write.write === "transaction"
        ? { ...write, row: { ...write.row, request: first.request, lineage: first.lineage } }
        : write,
    );
    assert.equal(judge(one), "one-payment");
  });
  await t.test("more approved than the policy allows", () => {
    const strict = planCluster({ ...noLimits, rolling24hMaxSats: 150_000n as never });
    assert.equal(judge(history, strict), "limits-hold");
    const rare = planCluster({ ...noLimits, rateLimit: { count: 1, windowMs: 60_000 } });
    assert.equal(judge(history, rare), "limits-hold");
  });
  await t.test("voted for without the approvals that policy asks for", () => {
    const asked = { m: 1, keys: approvers.map(({ publicKey }) => publicKey), aboveSats: 99_999n as never };
    assert.equal(judge(history, planCluster({ ...noLimits, approvals: asked })), "approvals-before-vote");
  });
  await t.test("an honest node banned", () => {
    const row = {
      node: node(3),
      violation: "ab".repeat(32),
      from: 0,
      until: null,
      scope: "cluster",
      count: 1,
      liftedAt: null,
    };
    const banned = altered(history, (write) => [write, { write: "ban", row } as unknown as StoreWrite]);
    assert.equal(judge(banned), "honest-unbanned");
  });
  await t.test("one execution, joined twice", async () => {
    const twice = history.flatMap((event): Observation[] =>
      event.kind === "engine-started" ? [event, event] : [event],
    );
    assert.equal(judge(twice), "single-use");
  });
});

test("a failure is shrunk to the operations that it needs, and printed with seed and commit", async () => {
  await groundOf(noLimits);
  const sabotage = storeTwin((store) => {
    const rows = store.votes.bind(store);
    return { votes: async (intent) => (await rows(intent)).filter(({ voter }) => voter !== 1) };
  });
  const scenario = quietScenario(
    [
      { at: 500, op: "mine", blocks: 1 },
      { at: 600, op: "sever", a: node(3), b: node(4) },
      payment(2_000, 1),
      { at: 3_000, op: "skew", node: node(5), skewMs: 500 },
      { at: 4_000, op: "crash", node: node(1), restartMs: 100 },
      { at: 4_500, op: "mine", blocks: 2 },
    ],
    { seed: 77 },
  );
  const play = async (one: typeof scenario) => (await simulate(one, { sabotage })).complaint;
  const complaint = await play(scenario);
  assert.equal(complaint?.invariant, "nothing-forgotten");
  const { text, shrunk } = await reportFailure(scenario, complaint ?? assert.fail(), play);
  const left = shrunk.scenario.operations.map(({ op }) => op);
  assert.ok(left.includes("crash") && left.includes("pay"), "what it takes is left");
  assert.ok(!left.includes("sever") && !left.includes("skew"), "what it does not take is gone");
  assert.match(text, /seed 77/);
  assert.match(text, /commit ([0-9a-f]{40}|unknown)/);
  assert.match(text, /--keep/);
});
