import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { gitCommit, reportFailure } from "./report.ts";
import { runSeeds } from "./run-seeds.ts";
import { scenarioOf } from "./scenario.ts";
import { keepOperations } from "./shrink.ts";
import { simulate } from "./simulate-seed.ts";

const usage = `npm run simulate -- [--seeds N] [--from K] [--jobs J]
       npm run simulate -- --seed S [--keep 0,3,7|none] [--trace]

  --seeds N   how many seeds to run (100)
  --from K    the first of them (0)
  --jobs J    threads (as many as the machine has cores)
  --seed S    run this one
  --keep …    with only these of its operations
  --trace     print what happened, line by line`;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "100" },
    from: { type: "string", default: "0" },
    jobs: { type: "string", default: String(availableParallelism()) },
    seed: { type: "string" },
    keep: { type: "string" },
    trace: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

async function one(seed: number): Promise<boolean> {
  const whole = scenarioOf(seed);
  const kept = values.keep === "none" ? [] : values.keep?.split(",").map(Number);
  const scenario = kept === undefined ? whole : keepOperations(whole, kept);
  const outcome = await simulate(scenario);
  if (values.trace) for (const line of outcome.trace.lines) console.log(line);
  const { complaint, steps, virtualMs, signed, requests } = outcome;
  console.log(
    `seed ${seed}: ${steps} steps, ${virtualMs} ms of virtual time, ${requests} requests, ${signed} transactions signed, trace ${outcome.trace.digest()}`,
  );
  if (complaint === null) return true;
  if (kept !== undefined) console.log(`${complaint.invariant}: ${complaint.message}`);
  else console.log((await reportFailure(scenario, complaint)).text);
  return false;
}

async function many(from: number, count: number, jobs: number): Promise<boolean> {
  const started = performance.now();
  const failed: number[] = [];
  const sums = { steps: 0, virtualMs: 0, requests: 0, signed: 0, lies: 0, crashes: 0 };
  let done = 0;
  const seeds = Array.from({ length: count }, (_, at) => from + at);
  await runSeeds(seeds, jobs, (result) => {
    done += 1;
    for (const key of ["steps", "virtualMs", "requests", "signed", "lies", "crashes"] as const)
      sums[key] += result[key];
    if (result.complaint !== null) {
      failed.push(result.seed);
      console.log(`seed ${result.seed} breaks ${result.complaint.invariant}: ${result.complaint.message}`);
    }
    if (done % 50 === 0) console.log(`${done} of ${count} seeds, ${rate(done, started)} seeds/s`);
  });
  for (const seed of failed.slice(0, 3)) {
    const scenario = scenarioOf(seed);
    const { complaint } = await simulate(scenario);
    if (complaint !== null) console.log((await reportFailure(scenario, complaint)).text);
  }
  const hours = (sums.virtualMs / 3_600_000).toFixed(1);
  console.log(
    `${count} seeds from ${from}, ${failed.length} failed; ${rate(count, started)} seeds/s; ${hours} h of virtual time, ${sums.steps} steps, ${sums.requests} requests, ${sums.signed} transactions signed, ${sums.crashes} stops, ${sums.lies} lies; commit ${gitCommit()}`,
  );
  return failed.length === 0;
}

function rate(count: number, started: number): string {
  return ((1000 * count) / (performance.now() - started)).toFixed(2);
}

if (values.help) console.log(usage);
else {
  const good =
    values.seed === undefined
      ? await many(Number(values.from), Number(values.seeds), Number(values.jobs))
      : await one(Number(values.seed));
  process.exitCode = good ? 0 : 1;
}
