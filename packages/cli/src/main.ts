import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { CairnError, daemonLaunch, systemClock, systemRandom } from "@cairn/core";
import { confirm, isCancel, select, text } from "@clack/prompts";
import type { TextSink } from "./cli-modules.ts";
import type { Questions } from "./questions.ts";
import { runCli } from "./run-cli.ts";

/** Time between two looks at what is waited for. */
const POLL_MS = 2_000;
/** Shells report a process that a signal ended as 128 plus its number. */
const SIGNAL_EXIT = 128;
const signalNumbers = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

/** What a command gets to put its terminal in order after an interrupt, in milliseconds. */
const GRACE_MS = 300;

const interrupted = new AbortController();

function interrupt(): void {
  interrupted.abort();
  setTimeout(() => process.exit(SIGNAL_EXIT + signalNumbers.SIGINT), GRACE_MS).unref();
}

function sink(stream: NodeJS.WriteStream): TextSink {
  return { write: (text) => void stream.write(text), isTTY: stream.isTTY === true };
}

async function ask(question: string): Promise<boolean> {
  const answer = await confirm({ message: question, initialValue: false, output: process.stderr });
  return !isCancel(answer) && answer;
}

const questions: Questions = {
  async text(message, initial, problem) {
    const answer = await text({
      message,
      initialValue: initial,
      validate: (value) => problem(value ?? ""),
      output: process.stderr,
    });
    return given(answer);
  },
  async choose(message, choices) {
    const options = choices.map(({ value, hint }) => ({ value: String(value), label: value, hint }));
    const answer = given(await select({ message, options, output: process.stderr }));
    const chosen = choices.find(({ value }) => value === answer);
    if (chosen === undefined) throw new CairnError("internal", "an answer that was not offered");
    return chosen.value;
  },
};

function given(answer: string | symbol): string {
  if (typeof answer === "string") return answer;
  throw new CairnError("closed", "nothing was made; run the command again to begin anew");
}

async function runDaemon(file: string, args: readonly string[]): Promise<number> {
  const { nodeOptions, environment } = daemonLaunch(process.env);
  const child = spawn(process.execPath, [...nodeOptions, file, ...args], {
    stdio: "inherit",
    env: { ...process.env, ...environment },
  });
  const pass = (signal: NodeJS.Signals) => child.kill(signal);
  // The daemon ends in its own order and time; this process lives as long as it does.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, interrupt);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, pass);
  const [code, signal]: unknown[] = await once(child, "exit");
  if (typeof code === "number") return code;
  return (
    SIGNAL_EXIT +
    (signal === "SIGINT" || signal === "SIGTERM" || signal === "SIGHUP" ? signalNumbers[signal] : 0)
  );
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, interrupt);
// A reader that has seen enough, such as head, closes the pipe: that is no fault.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

process.exitCode = await runCli(process.argv.slice(2), {
  stdout: sink(process.stdout),
  stderr: sink(process.stderr),
  environment: process.env,
  clock: systemClock,
  random: systemRandom,
  // It ends early, rather than fails, when the signal aborts.
  sleep: (ms, signal) => delay(ms, undefined, { signal }).catch(() => undefined),
  signal: interrupted.signal,
  pollMs: POLL_MS,
  confirm: process.stdin.isTTY && process.stderr.isTTY ? ask : null,
  questions: process.stdin.isTTY && process.stderr.isTTY ? questions : null,
  runDaemon,
});
