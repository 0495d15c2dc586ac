import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { reportFailure } from "../src/report.ts";
import { runSeeds } from "../src/run-seeds.ts";
import { scenarioOf } from "../src/scenario.ts";
import type { SeedResult } from "../src/seed-result.ts";

const FROM = 10_000;
const SEEDS = 1_000;

test(`${SEEDS} more seeds break no invariant`, async (t) => {
  const failed: SeedResult[] = [];
  const seeds = Array.from({ length: SEEDS }, (_, at) => FROM + at);
  await runSeeds(seeds, Math.min(2, availableParallelism()), (result) => {
    if (result.complaint !== null) failed.push(result);
  });
  for (const { seed, complaint } of failed.slice(0, 3)) {
    if (complaint !== null) t.diagnostic((await reportFailure(scenarioOf(seed), complaint)).text);
  }
  assert.deepEqual(
    failed.map(({ seed, complaint }) => `${seed}: ${complaint?.invariant}: ${complaint?.message}`),
    [],
  );
});
