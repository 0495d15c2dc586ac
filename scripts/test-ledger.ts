import { inspect } from "node:util";
import { field, textField } from "./field.ts";

/** Sums over a run. `failed` includes skipped and todo tests and files without tests: the house has none of these. */
export type Counts = { passed: number; failed: number };

type FileEntry = { passed: number; problems: string[]; output: string[]; closed: boolean };

/**
 * Turns the event stream of `node:test`'s `run()` into one line a file, with failures in full, and sums.
 * What a file printed is shown only if something in it failed.
 */
export class TestLedger {
  readonly #files = new Map<string, FileEntry>();
  readonly #shorten: (file: string) => string;
  readonly #print: (line: string) => void;

  constructor(options: { shorten: (file: string) => string; print: (line: string) => void }) {
    this.#shorten = options.shorten;
    this.#print = options.print;
  }

  record(event: { type: string; data: unknown }): void {
    const { type, data } = event;
    const file = textField(data, "entryFile") ?? textField(data, "file");
    if (file === undefined) return;
    switch (type) {
      case "test:stdout":
      case "test:stderr":
        this.#entry(file).output.push(textField(data, "message") ?? "");
        return;
      case "test:pass":
      case "test:fail":
        this.#result(file, type === "test:pass", data);
        return;
      case "test:summary":
        this.#close(file, field(data, "duration_ms"));
        return;
      default:
    }
  }

  /** Sums of everything recorded so far. */
  counts(): Counts {
    let passed = 0;
    let failed = 0;
    for (const entry of this.#files.values()) {
      passed += entry.passed;
      failed += entry.problems.length;
    }
    return { passed, failed };
  }

  #entry(file: string): FileEntry {
    let entry = this.#files.get(file);
    if (entry === undefined) {
      entry = { passed: 0, problems: [], output: [], closed: false };
      this.#files.set(file, entry);
    }
    return entry;
  }

  #result(file: string, passed: boolean, data: unknown): void {
    const entry = this.#entry(file);
    const name = textField(data, "name") ?? "?";
    const error = field(data, "details", "error");
    // The file itself is reported as a test only if it had none, or if its process failed.
    if (name === file) {
      if (!passed) this.#fail(file, entry, "the file itself failed", error);
      else if (entry.passed + entry.problems.length === 0) this.#fail(file, entry, "holds no test");
      this.#close(file, field(data, "details", "duration_ms"));
      return;
    }
    const isSuite = textField(data, "details", "type") === "suite";
    const skipped = field(data, "skip");
    const todo = field(data, "todo");
    if (skipped !== undefined && skipped !== false) this.#fail(file, entry, `${name}: skipped`);
    else if (todo !== undefined && todo !== false) this.#fail(file, entry, `${name}: marked todo`);
    else if (!passed) {
      // A parent that failed only through its children adds nothing to their reports.
      if (textField(error, "failureType") !== "subtestsFailed") this.#fail(file, entry, name, error);
    } else if (!isSuite) entry.passed += 1;
  }

  #fail(file: string, entry: FileEntry, name: string, error?: unknown): void {
    const cause = field(error, "cause") ?? error;
    const detail = cause === undefined ? "" : `\n${indent(describe(cause))}`;
    entry.problems.push(name);
    this.#print(`FAIL ${this.#shorten(file)} > ${name}${detail}`);
  }

  #close(file: string, milliseconds: unknown): void {
    const entry = this.#entry(file);
    if (entry.closed) return;
    entry.closed = true;
    const seconds = typeof milliseconds === "number" ? (milliseconds / 1000).toFixed(1) : "?";
    const failed = entry.problems.length;
    if (failed > 0 && entry.output.length > 0) {
      this.#print(`--- output of ${this.#shorten(file)}\n${indent(entry.output.join("").trimEnd())}\n---`);
    }
    const mark = failed === 0 ? "ok  " : "FAIL";
    this.#print(
      `${mark} ${this.#shorten(file)}  ${entry.passed} passed${failed ? `, ${failed} failed` : ""}  ${seconds} s`,
    );
  }
}

function describe(cause: unknown): string {
  if (typeof cause === "string") return cause;
  return textField(cause, "stack") ?? inspect(cause, { depth: 6 });
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, "    ");
}
