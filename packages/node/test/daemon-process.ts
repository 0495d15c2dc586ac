import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const line = z.looseObject({ level: z.string(), message: z.string() });
type Line = z.output<typeof line>;

/** A daemon process and what it has logged. */
export class Daemon {
  readonly process: ChildProcess;
  readonly lines: Line[] = [];
  readonly exit: Promise<number | null>;
  #errors = "";
  #wake: () => void = () => {};

  /** @param limits shell commands that limit the process, such as `ulimit -f 100` */
  constructor(entry: string, words: readonly string[], limits?: string) {
    const path = fileURLToPath(new URL(`../src/${entry}.ts`, import.meta.url));
    const [command, ...parts] =
      limits === undefined
        ? [process.execPath, path, ...words]
        : ["sh", "-c", `${limits}; exec "$0" "$@"`, process.execPath, path, ...words];
    this.process = spawn(command ?? "", parts, { stdio: ["ignore", "pipe", "pipe"] });
    this.exit = once(this.process, "exit").then(([code]) => {
      this.#wake();
      return code;
    });
    if (this.process.stdout === null || this.process.stderr === null)
      throw new Error("the daemon has no output");
    createInterface(this.process.stdout).on("line", (text) => {
      this.lines.push(line.parse(JSON.parse(text)));
      this.#wake();
    });
    this.process.stderr.on("data", (chunk) => {
      this.#errors += String(chunk);
    });
  }

  get errors(): string {
    return this.#errors;
  }

  async logged(message: string): Promise<Line> {
    for (;;) {
      const found = this.lines.find((entry) => entry.message === message);
      if (found !== undefined) return found;
      if (this.process.exitCode !== null)
        assert.fail(`the daemon ended without "${message}": ${this.#errors}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async stop(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill("SIGKILL");
    await this.exit;
  }
}
