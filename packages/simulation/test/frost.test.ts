import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { noLimits, planCluster } from "../src/cluster-plan.ts";
import { NativeEngines } from "../src/native-engines.ts";
import type { Provision } from "../src/provision.ts";
import { type Outcome, runScenario } from "../src/run-scenario.ts";
import { type Operation, scenarioOf } from "../src/scenario.ts";
import { node, payment, quietScenario } from "./quiet-scenario.ts";

let engines: NativeEngines;
let ready: Provision;
before(async () => {
  engines = await NativeEngines.open(planCluster(noLimits));
  ready = await engines.provision();
});
after(() => engines.close());

function play(scenario: ReturnType<typeof quietScenario>): Promise<Outcome> {
  const { plan, busy, make } = engines;
  return runScenario({ ...scenario, limits: noLimits }, { plan, provision: ready, makeEngine: make, busy });
}

test("real FROST signs under virtual time, through a crash and with the same trace each time", async () => {
  const operations: Operation[] = [
    payment(1_000, 1),
    { at: 1_150, op: "crash", node: node(3), restartMs: 500 },
    payment(3_000, 2, { node: node(2) }),
  ];
  const [first, again] = [await play(quietScenario(operations)), await play(quietScenario(operations))];
  assert.equal(first.complaint, null);
  assert.ok(first.signed >= 2);
  assert.equal(first.trace.lines.join("\n"), again.trace.lines.join("\n"));
});

test("real FROST signs beside a node whose rounds are false", async () => {
  let lies = 0;
  for (const seed of [1, 2, 3]) {
    const operations: Operation[] = [
      { at: 0, op: "lie", behaviour: "badRound" },
      payment(1_000, 1),
      payment(3_000, 2, { node: node(2) }),
    ];
    const outcome = await play(quietScenario(operations, { seed, hostile: node(5), healAt: 20_000 }));
    assert.equal(outcome.complaint, null);
    assert.ok(outcome.signed >= 2);
    lies += outcome.lies;
  }
  assert.ok(lies > 0, "it had its chance to lie");
});

const seeds = Array.from({ length: 60 }, (_, at) => 500 + at)
  .filter((seed) => scenarioOf(seed).keys)
  .slice(0, 12);

test(`${seeds.length} seeds of faults and lies break no invariant with real FROST`, async () => {
  const broken: string[] = [];
  for (const seed of seeds) {
    const { complaint } = await play(scenarioOf(seed));
    if (complaint !== null) broken.push(`${seed}: ${complaint.invariant}: ${complaint.message}`);
  }
  assert.deepEqual(broken, []);
});
