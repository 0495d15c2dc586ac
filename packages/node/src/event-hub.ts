import type { Clock } from "@cairn/core";
import type { NodeEvent } from "@cairn/runtime";

/** Events of the runtime and of what the daemon runs beside it, in one order and under one count. */
export class EventHub {
  readonly #clock: Pick<Clock, "now">;
  readonly #report: (cause: unknown) => void;
  readonly #listeners = new Set<(event: NodeEvent) => void>();
  #last = 0;

  constructor(modules: { readonly clock: Pick<Clock, "now">; readonly report: (cause: unknown) => void }) {
    this.#clock = modules.clock;
    this.#report = modules.report;
  }

  emit(event: Pick<NodeEvent, "type" | "subject" | "state" | "data">): void {
    this.#last += 1;
    const { type, subject, state, data } = event;
    const numbered: NodeEvent = { id: this.#last, at: this.#clock.now(), type, subject, state, data };
    for (const listener of this.#listeners) {
      try {
        listener(numbered);
      } catch (cause) {
        this.#report(cause);
      }
    }
  }

  readonly subscribe = (listener: (event: NodeEvent) => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
}
