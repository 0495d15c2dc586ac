import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { daemonLaunch } from "@cairn/core";
import { z } from "zod";

/** Strength of the threshold engine: `reduced` is fast, protects nothing and is for tests. */
export type EngineLevel = "full" | "reduced";

/** One line of a daemon's log. */
export type LogLine = { readonly level: string; readonly message: string } & Readonly<
  Record<string, unknown>
>;

/** A program that behaves as a node's daemon towards who starts it. */
export interface NodeProgram {
  readonly url: URL;
  readonly words: readonly string[];
}

export interface NodeProcessOptions {
  readonly level: EngineLevel;
  /** Its `cairn.toml`. */
  readonly config: string;
  /** Another program than the daemon, which is given the same words and these after them. */
  readonly program?: NodeProgram;
  /** Called for every line that it logs. */
  readonly log: (line: LogLine) => void;
}

const lineSchema = z.looseObject({ level: z.string(), message: z.string() });

const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 40_000;
const ERRORS_KEPT = 16_384;

/** One node's daemon as an operating system process. It ends when its parent does, however that happens. */
export class NodeProcess {
  readonly #child: ChildProcess;
  readonly #exit: Promise<void>;
  readonly #ready: Promise<void>;
  #errors = "";

  constructor(options: NodeProcessOptions) {
    const program =
      options.program?.url ??
      new URL(options.level === "full" ? "main.ts" : "main-reduced.ts", import.meta.resolve("@cairn/node"));
    const words = ["--config", options.config, ...(options.program?.words ?? [])];
    const guard = new URL("end-with-parent.ts", import.meta.url);
    const { nodeOptions, environment } = daemonLaunch(process.env);
    const child = spawn(
      process.execPath,
      [...nodeOptions, "--import", guard.href, fileURLToPath(program), ...words],
      { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...environment } },
    );
    this.#child = child;
    this.#exit = once(child, "exit").then(() => undefined);
    child.stderr.on("data", (chunk) => {
      this.#errors = (this.#errors + String(chunk)).slice(-ERRORS_KEPT);
    });
    this.#ready = new Promise((resolve, reject) => {
      const overdue = setTimeout(
        () => reject(new Error(`the node did not start in ${START_LIMIT_MS} ms: ${this.#errors}`)),
        START_LIMIT_MS,
      );
      createInterface(child.stdout).on("line", (text) => {
        const line = readLine(text);
        options.log(line);
        if (line.message !== "node ready") return;
        clearTimeout(overdue);
        resolve();
      });
      child.on("exit", (code, signal) => {
        clearTimeout(overdue);
        reject(new Error(`the node ended (${signal ?? code}) before it was ready: ${this.#errors}`));
      });
    });
    // Whoever waits for it hears of a failure; one that nobody waits for is in the log.
    this.#ready.catch(() => {});
  }

  /** Resolves once the node serves its API. @throws Error with what the daemon said when it ends or hangs before */
  get ready(): Promise<void> {
    return this.#ready;
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error("the process could not be started");
    return pid;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What it wrote to standard error, the newest part. */
  get errors(): string {
    return this.#errors;
  }

  /** Resident memory in bytes, as the operating system counts it. */
  async rssBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.pid}/status`, "utf8");
    const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? [];
    return Number(kilobytes ?? 0) * 1024;
  }

  /** Ends it in order (SIGTERM); with force when it takes too long. */
  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    const overdue = setTimeout(() => this.#child.kill("SIGKILL"), STOP_LIMIT_MS);
    await this.#exit;
    clearTimeout(overdue);
  }

  /** Ends it as a power cut does (SIGKILL). */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exit;
  }
}

/** What is no log line, such as a warning of the platform, is shown as one. */
function readLine(text: string): LogLine {
  try {
    return lineSchema.parse(JSON.parse(text));
  } catch {
    return { level: "info", message: text };
  }
}
