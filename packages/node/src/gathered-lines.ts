import type { Clock, Timer } from "@cairn/core";
import type { DestinationStream } from "pino";

/** Where gathered lines go, such as pino's destination. */
export interface LineSink extends DestinationStream {
  /** All that was written, before it returns. */
  flushSync(): void;
}

/** How long a line waits for others. */
const GATHER_MS = 20;
/** Characters that do not wait for more. */
const GATHERED_LENGTH = 16_384;

/** Writes the lines of a short while at once: a payment logs dozens of them, and a write costs more than the making of its line. */
export class GatheredLines implements DestinationStream {
  readonly #sink: LineSink;
  readonly #clock: Pick<Clock, "after">;
  #text = "";
  #timer: Timer | null = null;

  constructor(modules: { readonly sink: LineSink; readonly clock: Pick<Clock, "after"> }) {
    this.#sink = modules.sink;
    this.#clock = modules.clock;
  }

  write(line: string): void {
    this.#text += line;
    if (this.#text.length >= GATHERED_LENGTH) this.#pass();
    else this.#timer ??= this.#clock.after(GATHER_MS, () => this.#pass());
  }

  /** For the end of the process. */
  flushSync(): void {
    this.#pass();
    this.#sink.flushSync();
  }

  #pass(): void {
    this.#timer?.cancel();
    this.#timer = null;
    const text = this.#text;
    this.#text = "";
    if (text !== "") this.#sink.write(text);
  }
}
