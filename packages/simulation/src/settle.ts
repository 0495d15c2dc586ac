import { setImmediate as turn } from "node:timers/promises";

/** Lets all that follows from the last event happen: promises settle before the event loop's next turn. */
export async function settle(busy: () => Promise<unknown> | null = () => null): Promise<void> {
  for (;;) {
    await turn();
    const work = busy();
    if (work === null) return;
    await work;
  }
}
