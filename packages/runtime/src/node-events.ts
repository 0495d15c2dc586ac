import type { Clock } from "@cairn/core";
import type { NodeEvent } from "./node-event.ts";

/** Tells whoever wants to hear what happens at this node, as it happens. */
export class NodeEvents {
  readonly #clock: Clock;
  readonly #report: (cause: unknown) => void;
  readonly #listeners = new Set<(event: NodeEvent) => void>();
  #lastId = 0;

  constructor(modules: { readonly clock: Clock; readonly report: (cause: unknown) => void }) {
    this.#clock = modules.clock;
    this.#report = modules.report;
  }

  /** Calls `listener` with every event from now on; the answer ends that. */
  subscribe(listener: (event: NodeEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What one listener throws is reported, and keeps no other from hearing. */
  emit(type: NodeEvent["type"], subject: string, state: string, data: NodeEvent["data"]): void {
    this.#lastId += 1;
    const event: NodeEvent = { id: this.#lastId, at: this.#clock.now(), type, subject, state, data };
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (cause) {
        this.#report(cause);
      }
    }
  }
}
