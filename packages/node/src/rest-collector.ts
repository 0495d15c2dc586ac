import type { Clock, Timer } from "@cairn/core";

export interface RestCollectorModules {
  readonly clock: Pick<Clock, "after" | "monotonic">;
  /** Processor time that the process has used, in milliseconds. */
  readonly processorMs: () => number;
  /** What the heap takes of memory, in bytes. */
  readonly heapBytes: () => number;
  /** Collects all garbage and gives memory back. It takes about a tenth of a second, in which nothing else runs. */
  readonly collect: () => void;
}

const LOOK_MS = 10_000;
/** Share of a core below which a daemon rests. One that has nothing to do uses a quarter of it, one payment in a second four times as much. */
const REST = 0.02;
/** Growth since the last collection for which another is worth its time. */
const WORTH_BYTES = 16 * 1024 * 1024;

/**
 * Collects garbage when a daemon comes to rest. While there is work the heap may grow, which spares a fifth of the processor time; afterwards
 * V8 itself would leave it as large as it has become.
 */
export class RestCollector {
  readonly #modules: RestCollectorModules;
  #timer: Timer;
  #heapBytes = 0;

  constructor(modules: RestCollectorModules) {
    this.#modules = modules;
    this.#timer = this.#later();
  }

  close(): void {
    this.#timer.cancel();
  }

  #later(): Timer {
    const { clock, processorMs } = this.#modules;
    const [used, at] = [processorMs(), clock.monotonic()];
    return clock.after(LOOK_MS, () => {
      if (processorMs() - used < REST * (clock.monotonic() - at)) this.#rest();
      this.#timer = this.#later();
    });
  }

  #rest(): void {
    const { heapBytes, collect } = this.#modules;
    if (heapBytes() - this.#heapBytes < WORTH_BYTES) return;
    collect();
    this.#heapBytes = heapBytes();
  }
}
