import { setTimeout as sleep } from "node:timers/promises";

export interface UntilOptions {
  readonly timeoutMs: number;
  /** What is waited for, and how it stands: part of the failure's message. */
  readonly describe: () => string | Promise<string>;
  /** Time between two looks; default 150 ms. */
  readonly everyMs?: number;
}

/**
 * Looks until `probe` gives something other than null, and gives that.
 * @throws Error with what `describe` says after `timeoutMs`
 */
export async function until<T>(
  probe: () => T | null | Promise<T | null>,
  { timeoutMs, describe, everyMs = 150 }: UntilOptions,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const found = await probe();
    if (found !== null) return found;
    if (performance.now() > end)
      throw new Error(`${await describe()} (gave up after ${Math.round(timeoutMs / 1000)} s)`);
    await sleep(everyMs);
  }
}
