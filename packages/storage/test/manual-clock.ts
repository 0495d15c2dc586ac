import type { Clock, Timer } from "@cairn/core";
import { at } from "./rows.ts";

/** A clock that stands still until it is told to go on. */
export class ManualClock implements Clock {
  readonly #timers = new Set<{ readonly due: number; readonly run: () => void }>();
  #now = 1_000;

  now(): ReturnType<Clock["now"]> {
    return at(this.#now);
  }

  monotonic(): number {
    return this.#now;
  }

  after(delayMs: number, run: () => void): Timer {
    const timer = { due: this.#now + delayMs, run };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  pass(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const [next] = [...this.#timers].filter((timer) => timer.due <= until).sort((a, b) => a.due - b.due);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#now = next.due;
      next.run();
    }
    this.#now = until;
  }
}
