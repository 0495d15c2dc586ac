import { ManualClock } from "@cairn/core/test-support";

/** A manual clock for code that works in promises: lets them settle before each timer. */
export class SettlingClock extends ManualClock {
  override async advance(ms: number): Promise<void> {
    const until = this.monotonic() + ms;
    do await settle();
    while (this.runNext(until));
    this.jump(until - this.monotonic());
    await settle();
  }
}

/** Gives promises, and the threads on which sealing runs, time for a few messages. */
export async function settle(): Promise<void> {
  const end = performance.now() + 25;
  while (performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
}
