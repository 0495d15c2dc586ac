import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";

const BIN = fileURLToPath(new URL("../bin/cairn.js", import.meta.url));
/** Keys as a terminal sends them. */
export const keys = { enter: "\r", down: "\x1b[B", up: "\x1b[A", clear: "\x15", interrupt: "\x03" } as const;

const PATIENCE_MS = 60_000;

/**
 * The real `cairn` on a pseudo-terminal, as `script` makes one (Debian: bsdutils, which no Debian is without). Where it is missing, the
 * test that wants it fails.
 */
export class Terminal {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #exit: Promise<number>;
  #shown = "";
  /** Where the text begins that nobody has waited for yet. */
  #read = 0;

  constructor(words: readonly string[], home: string) {
    const command = [process.execPath, BIN, ...words].map(quoted).join(" ");
    // Prompts need a size, which this terminal has no window to take from.
    const line = `stty cols 120 rows 40; exec ${command}`;
    const bsd = ["-q", "/dev/null", "/bin/sh", "-c", line];
    this.#child = spawn("script", process.platform === "linux" ? ["-qefc", line, "/dev/null"] : bsd, {
      env: { PATH: process.env.PATH, HOME: home, TERM: "xterm-256color", SHELL: "/bin/sh", LANG: "C.UTF-8" },
    });
    this.#child.stdout.on("data", (chunk) => {
      this.#shown += String(chunk);
    });
    this.#exit = once(this.#child, "exit").then(([code, signal]) => Number(code ?? signal));
    // Whoever waits for it hears of a failure.
    this.#exit.catch(() => undefined);
  }

  /** Everything that the person has seen, without colours and movements. */
  get screen(): string {
    return stripVTControlCharacters(this.#shown);
  }

  /** Waits until `text` is shown anew. @throws Error with the whole screen when it does not come */
  async shows(text: RegExp): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      const found = text.exec(this.screen.slice(this.#read));
      if (found !== null) {
        this.#read += found.index + found[0].length;
        return;
      }
      if (this.#child.exitCode !== null || performance.now() > end) {
        throw new Error(`${text} was not shown:\n${this.screen}`);
      }
      await Promise.race([once(this.#child.stdout, "data"), this.#exit]);
    }
  }

  type(text: string): void {
    this.#child.stdin.write(text);
  }

  /** The command's exit code. */
  async exit(): Promise<number> {
    return this.#exit;
  }

  /** Ends it, where it still runs. */
  async close(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exit;
  }
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
