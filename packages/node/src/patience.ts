import type { Clock } from "@cairn/core";
import type { NodeEvent } from "@cairn/runtime";
import type { EventHub } from "./event-hub.ts";

/** Requests of the API that wait for something to happen. */
export class Patience {
  readonly #events: Pick<EventHub, "subscribe">;
  readonly #clock: Pick<Clock, "after">;
  readonly #waits = new Set<() => void>();
  #closed = false;

  constructor(modules: {
    readonly events: Pick<EventHub, "subscribe">;
    readonly clock: Pick<Clock, "after">;
  }) {
    this.#events = modules.events;
    this.#clock = modules.clock;
  }

  /**
   * What `look` finds: at once, or after an event that `concerns` it; null when `waitMs` are over, or the node stops.
   * @throws what `look` throws
   */
  async until<T>(
    look: () => Promise<T | null>,
    concerns: (event: NodeEvent) => boolean,
    waitMs: number,
  ): Promise<T | null> {
    let news = false;
    let over = waitMs === 0;
    let wake = (): void => {};
    const end = (): void => {
      over = true;
      wake();
    };
    // Listens before the first look, so that nothing falls between the two.
    const unsubscribe = this.#events.subscribe((event) => {
      if (!concerns(event)) return;
      news = true;
      wake();
    });
    const timer = this.#clock.after(waitMs, end);
    this.#waits.add(end);
    try {
      for (;;) {
        news = false;
        const found = await look();
        if (found !== null || over || this.#closed) return found;
        if (!news) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      unsubscribe();
      timer.cancel();
      this.#waits.delete(end);
    }
  }

  /** Ends all waits: their requests are answered with what is there. */
  close(): void {
    this.#closed = true;
    for (const end of this.#waits) end();
  }
}
