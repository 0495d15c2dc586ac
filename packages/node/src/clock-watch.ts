import type { Clock } from "@cairn/core";
import type { TransportMetrics } from "@cairn/transport";

/** How long one message with another time counts as a sign that clocks disagree. */
const DISAGREEMENT_MS = 60_000;

/** Whether peers' messages come with times that this node's clock can believe: where not, votes and signatures stop without a word. */
export class ClockWatch {
  readonly #clock: Pick<Clock, "monotonic">;
  readonly #began: () => void;
  #last: number | null = null;

  /** @param began told when a disagreement begins */
  constructor(modules: { readonly clock: Pick<Clock, "monotonic">; readonly began: () => void }) {
    this.#clock = modules.clock;
    this.#began = modules.began;
  }

  /** `metrics` that also tell this of each message that was refused. */
  watched(metrics: TransportMetrics): TransportMetrics {
    return {
      ...metrics,
      messagesRefused: {
        inc: (labels, value) => {
          metrics.messagesRefused.inc(labels, value);
          this.refused(labels.code ?? "");
        },
      },
    };
  }

  refused(code: string): void {
    if (code !== "clock-skew") return;
    const begins = this.agrees();
    this.#last = this.#clock.monotonic();
    if (begins) this.#began();
  }

  /** False for a minute after the last such message. */
  readonly agrees = (): boolean =>
    this.#last === null || this.#clock.monotonic() - this.#last >= DISAGREEMENT_MS;
}
