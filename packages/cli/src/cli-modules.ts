import type { Clock, Random } from "@cairn/core";
import type { Questions } from "./questions.ts";

/** Where text goes. */
export interface TextSink {
  write(text: string): void;
  readonly isTTY: boolean;
}

/** The outside world, as the command needs it. */
export interface CliModules {
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Pick<Clock, "now">;
  readonly random: Random;
  /** Resolves after `ms`, or when `signal` aborts; keeps the process alive meanwhile. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Aborts when the person interrupts. */
  readonly signal: AbortSignal;
  /** Time between two looks at what is waited for while no event comes, in milliseconds. */
  readonly pollMs: number;
  /** Asks a yes-or-no question; null where nobody can answer. */
  readonly confirm: ((question: string) => Promise<boolean>) | null;
  /** Asks a person for what a command needs; null where nobody can answer. */
  readonly questions: Questions | null;
  /** Runs `file` with Node until it ends, passing signals on; resolves to its exit code. */
  runDaemon(file: string, args: readonly string[]): Promise<number>;
}
