import type { Clock, Timer, UnixMs } from "../src/index.ts";

/** A clock that stands still until a test tells it to go on. */
export class ManualClock implements Clock {
  readonly #timers = new Set<{ readonly due: number; readonly run: () => void }>();
  #now: number;

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
    const timer = { due: this.#now + delayMs, run };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  /** Lets `ms` pass: runs what falls due meanwhile, in order of time, each at its own time. */
  advance(ms: number): void {
    const until = this.#now + ms;
    while (this.runNext(until)) {}
    this.#now = until;
  }

  /** Runs the timer that falls due next, if that is not after `until`; false when there is none. */
  runNext(until: number): boolean {
    const [next] = [...this.#timers].filter(({ due }) => due <= until).sort((a, b) => a.due - b.due);
    if (next === undefined) return false;
    this.#timers.delete(next);
    this.#now = Math.max(this.#now, next.due);
    next.run();
    return true;
  }

  /** Moves the clock and runs nothing. */
  jump(ms: number): void {
    this.#now += ms;
  }
}
