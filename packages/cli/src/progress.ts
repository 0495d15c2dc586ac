import type { CliModules } from "./cli-modules.ts";
import { printable } from "./printable.ts";

const BAR_WIDTH = 24;
const CLEAR_LINE = "\r\u001b[2K";

/** How far something is, on stderr: one line drawn over and over on a terminal, a line a change elsewhere, nothing for programs. */
export class Progress {
  readonly #stderr: CliModules["stderr"];
  readonly #silent: boolean;
  #last = "";

  constructor(options: { readonly silent: boolean }, modules: Pick<CliModules, "stderr">) {
    this.#silent = options.silent;
    this.#stderr = modules.stderr;
  }

  /** @param done from 0 to 1, or null where nobody knows */
  show(text: string, done: number | null): void {
    const line = `${done === null ? "" : `${bar(done)} `}${printable(text)}`;
    if (this.#silent || line === this.#last) return;
    this.#last = line;
    this.#stderr.write(this.#stderr.isTTY ? `${CLEAR_LINE}${line}` : `${line}\n`);
  }

  /** Removes the line. */
  end(): void {
    if (!this.#silent && this.#stderr.isTTY && this.#last !== "") this.#stderr.write(CLEAR_LINE);
    this.#last = "";
  }
}

function bar(done: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, done)) * BAR_WIDTH);
  const percent = `${Math.floor(done * 100)}%`.padStart(4);
  return `[${"#".repeat(filled)}${"-".repeat(BAR_WIDTH - filled)}]${percent}`;
}
