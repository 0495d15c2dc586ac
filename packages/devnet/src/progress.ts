import type { WriteStream } from "node:tty";

/** Where progress is shown. */
export type ProgressStream = Pick<WriteStream, "write"> & {
  readonly isTTY?: boolean;
  readonly columns?: number;
};

const REDRAW_MS = 200;
const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/** Steps of a long work for a person to follow: one live line on a terminal, plain lines elsewhere. */
export class Progress {
  readonly #out: ProgressStream;
  readonly #terminal: boolean;
  readonly #live = new Map<string, { readonly since: number; detail: string; printed: string }>();
  #timer: NodeJS.Timeout | null = null;
  #frame = 0;

  constructor(out: ProgressStream) {
    this.#out = out;
    this.#terminal = out.isTTY === true;
  }

  /** A line that stays. */
  say(text: string): void {
    this.#clear();
    this.#out.write(`${text}\n`);
    this.#draw();
  }

  /**
   * Runs `work` as a step: shown while it runs, and with its time when it is done.
   * `work` may tell how far it is, and gives what to show of its result.
   */
  async step<T>(
    title: string,
    work: (detail: (text: string) => void) => Promise<T>,
    result: (value: T) => string = () => "",
  ): Promise<T> {
    const since = performance.now();
    const entry = { since, detail: "", printed: "" };
    this.#live.set(title, entry);
    if (!this.#terminal) this.#out.write(`${title} …\n`);
    this.#timer ??= this.#terminal ? setInterval(() => this.#redraw(), REDRAW_MS) : null;
    this.#draw();
    const took = () => `${((performance.now() - since) / 1000).toFixed(1)} s`;
    try {
      const value = await work((text) => this.#detail(title, text));
      this.#end(title);
      const shown = result(value);
      this.say(
        `${this.#terminal ? "\x1b[32m✓\x1b[0m" : "ok"} ${title} (${took()})${shown === "" ? "" : `: ${shown}`}`,
      );
      return value;
    } catch (error) {
      this.#end(title);
      this.say(`${this.#terminal ? "\x1b[31m✗\x1b[0m" : "FAILED"} ${title} (${took()})`);
      throw error;
    }
  }

  #detail(title: string, text: string): void {
    const entry = this.#live.get(title);
    if (entry === undefined || entry.detail === text) return;
    entry.detail = text;
    if (!this.#terminal) this.#out.write(`   ${title}: ${text}\n`);
  }

  #end(title: string): void {
    this.#clear();
    this.#live.delete(title);
    if (this.#live.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  #redraw(): void {
    this.#frame += 1;
    this.#clear();
    this.#draw();
  }

  #clear(): void {
    if (this.#terminal && this.#live.size > 0) this.#out.write("\r\x1b[2K");
  }

  #draw(): void {
    if (!this.#terminal || this.#live.size === 0) return;
    const parts = [...this.#live].map(([title, { since, detail }]) => {
      const seconds = Math.floor((performance.now() - since) / 1000);
      return `${title} ${seconds} s${detail === "" ? "" : ` (${detail})`}`;
    });
    const line = `${frames[this.#frame % frames.length]} ${parts.join("  ")}`;
    this.#out.write(line.slice(0, (this.#out.columns ?? 80) - 1));
  }
}
