import { type Clock, unixMsSchema } from "@cairn/core";

/** A clock that moves when a test says so. */
export class ManualClock implements Clock {
  #time = 0;
  readonly #timers = new Set<{ readonly at: number; readonly run: () => void }>();

  now() {
    return unixMsSchema.parse(this.#time);
  }

  monotonic() {
    return this.#time;
  }

  after(delayMs: number, run: () => void) {
    const timer = { at: this.#time + delayMs, run };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  advance(ms: number): void {
    this.#time += ms;
    for (const timer of [...this.#timers].sort((a, b) => a.at - b.at)) {
      if (timer.at > this.#time) continue;
      this.#timers.delete(timer);
      timer.run();
    }
  }
}
