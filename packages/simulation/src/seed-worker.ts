import { parentPort } from "node:worker_threads";
import { seedResult } from "./seed-result.ts";
import { simulateSeed } from "./simulate-seed.ts";

/** Runs the seeds that it is sent, one after another, and answers each with its result. */
parentPort?.on("message", (seed: number) => {
  simulateSeed(seed).then(
    (outcome) => parentPort?.postMessage({ result: seedResult(seed, outcome) }),
    (error: unknown) =>
      parentPort?.postMessage({
        seed,
        failed: error instanceof Error ? (error.stack ?? error.message) : String(error),
      }),
  );
});
