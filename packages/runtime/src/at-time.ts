import type { Clock, Timer, UnixMs } from "@cairn/core";

/** Timers hold no more than 2³¹ − 1 ms. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Calls `run` once the clock says `at` or later. A timer may fire a moment early, the wall clock may be set back meanwhile, and
 * a wait may be longer than a timer holds: each time the rest is waited for again.
 */
export function atTime(clock: Clock, at: UnixMs, run: () => void): Timer {
  let timer = clock.after(wait(), check);
  function wait(): number {
    return Math.min(Math.max(0, at - clock.now()), LONGEST_TIMER_MS);
  }
  function check(): void {
    if (clock.now() >= at) run();
    else timer = clock.after(Math.max(1, wait()), check);
  }
  return { cancel: () => timer.cancel() };
}
