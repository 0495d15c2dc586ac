import type { UnixMs } from "./ids.ts";
import type { Clock } from "./ports/clock.ts";

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now() as UnixMs,
  monotonic: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};
