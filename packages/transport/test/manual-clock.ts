import type { Clock, Timer, UnixMs } from "@cairn/core";

/** A clock that stands still until told to go on. */
export class ManualClock implements Clock {
  #now: number;
  #timers: { at: number; run: () => void }[] = [];

  constructor(now = 1_700_000_000_000) {
    this.#now = now;
  }

  now(): UnixMs {
    return this.#now as UnixMs;
  }

  monotonic(): number {
    return this.#now;
  }

  after(delayMs: number, run: () => void): Timer {
    const timer = { at: this.#now + delayMs, run };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  /** Runs what is due within `ms`, in order of time, and lets promises settle after each. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await settle();
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = end;
    await settle();
  }

  /** Sets the wall clock without running anything. */
  jump(ms: number): void {
    this.#now += ms;
  }
}

/** Gives promises, and the threads on which sealing runs, time for a few messages. */
export async function settle(): Promise<void> {
  const end = performance.now() + 25;
  while (performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
}
