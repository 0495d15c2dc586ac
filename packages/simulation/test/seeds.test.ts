import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { reportFailure } from "../src/report.ts";
import { runSeeds } from "../src/run-seeds.ts";
import { scenarioOf } from "../src/scenario.ts";
import type { SeedResult } from "../src/seed-result.ts";

const SEEDS = 200;

test(`${SEEDS} seeds of faults and lies break no invariant`, async (t) => {
  const results: SeedResult[] = [];
  const seeds = Array.from({ length: SEEDS }, (_, seed) => seed);
  const started = performance.now();
  await runSeeds(seeds, Math.min(2, availableParallelism()), (result) => void results.push(result));
  const failed = results.filter(({ complaint }) => complaint !== null);
  for (const { seed, complaint } of failed.slice(0, 1)) {
    if (complaint !== null) t.diagnostic((await reportFailure(scenarioOf(seed), complaint)).text);
  }
  assert.deepEqual(
    failed.map(({ seed, complaint }) => `${seed}: ${complaint?.invariant}: ${complaint?.message}`),
    [],
  );
  // What was simulated is what was meant: payments were made, nodes stopped and lied.
  const sum = (of: (result: SeedResult) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  assert.ok(sum(({ signed }) => signed) > 2 * SEEDS, "payments are signed");
  assert.ok(sum(({ crashes }) => crashes) > SEEDS / 4, "nodes stop");
  assert.ok(sum(({ lies }) => lies) > 10 * SEEDS, "hostile nodes lie");
  t.diagnostic(`${((1000 * SEEDS) / (performance.now() - started)).toFixed(2)} seeds a second`);
});
