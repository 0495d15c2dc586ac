import { Worker } from "node:worker_threads";
import type { SeedResult } from "./seed-result.ts";

type Answer = { readonly result: SeedResult } | { readonly seed: number; readonly failed: string };

/**
 * Runs seeds on `jobs` threads and hands each result on as it comes.
 * @throws Error when the simulator itself fails
 */
export async function runSeeds(
  seeds: readonly number[],
  jobs: number,
  done: (result: SeedResult) => void,
): Promise<void> {
  const left = [...seeds];
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL("./seed-worker.ts", import.meta.url));
      const next = (): void => {
        const seed = left.shift();
        if (seed === undefined) void worker.terminate().then(() => resolve());
        else worker.postMessage(seed);
      };
      worker.on("error", reject);
      worker.on("message", (answer: Answer) => {
        if ("failed" in answer) {
          void worker.terminate();
          reject(new Error(`the simulator failed at seed ${answer.seed}: ${answer.failed}`));
          return;
        }
        done(answer.result);
        next();
      });
      next();
    });
  await Promise.all(Array.from({ length: Math.max(1, Math.min(jobs, seeds.length)) }, work));
}
