import { styleText } from "node:util";
import type { CairnError } from "@cairn/core";
import { errorCodes } from "@cairn/core";
import Table from "cli-table3";
import type { CliModules } from "./cli-modules.ts";
import { printable } from "./printable.ts";

type Style = "bold" | "dim" | "green" | "red" | "yellow";

const good = new Set([
  "up",
  "yes",
  "active",
  "confirmed",
  "ready",
  "allow",
  "ok",
  "done",
  "approved",
  "agrees",
]);
const bad = new Set([
  "down",
  "no",
  "failed",
  "rejected",
  "expired",
  "deny",
  "banned",
  "aborted-byzantine",
  "aborted-timeout",
  "discarded",
  "disagrees",
]);

/** What a command says: tables for people, JSON for programs. Text from outside is made printable first. */
export class Output {
  readonly json: boolean;
  readonly #stdout: CliModules["stdout"];
  readonly #stderr: CliModules["stderr"];
  readonly #colour: boolean;
  readonly #errorColour: boolean;

  constructor(
    options: { readonly json: boolean; readonly colour: boolean },
    modules: Pick<CliModules, "stdout" | "stderr" | "environment">,
  ) {
    const { stdout, stderr, environment } = modules;
    // https://no-color.org: present and not empty switches colours off.
    const wanted = options.colour && (environment.NO_COLOR ?? "") === "" && environment.TERM !== "dumb";
    this.json = options.json;
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.#colour = wanted && stdout.isTTY;
    this.#errorColour = wanted && stderr.isTTY;
  }

  /** The answer: one JSON document, or what `render` prints. */
  answer(document: unknown, render: () => void): void {
    if (this.json) this.jsonLine(document);
    else render();
  }

  /** One line of JSON, for streams. */
  jsonLine(value: unknown): void {
    this.#stdout.write(`${JSON.stringify(value)}\n`);
  }

  line(text: string): void {
    this.#stdout.write(`${printable(text)}\n`);
  }

  heading(text: string): void {
    this.#stdout.write(`${this.#paint("bold", printable(text))}\n`);
  }

  /** Something beside the answer, for people alone. */
  note(text: string): void {
    if (!this.json) this.#stderr.write(`${text.split("\n").map(printable).join("\n")}\n`);
  }

  table(head: readonly string[], rows: readonly (readonly string[])[]): void {
    this.#print(
      rows.map((row) => row.map((cell) => this.#cell(cell))),
      head.map((name) => this.#paint("bold", name.toUpperCase())),
    );
  }

  /** Names and values, one a line. */
  facts(pairs: readonly (readonly [string, string])[]): void {
    this.#print(
      pairs.map(([name, value]) => [this.#paint("dim", name), this.#cell(value)]),
      [],
    );
  }

  /** Why a command failed: RFC 9457 JSON, or a sentence with its code. */
  failure(error: CairnError, instance: string): void {
    if (this.json) {
      const problem = {
        type: `urn:cairn:error:${error.code}`,
        title: error.code,
        status: errorCodes[error.code].http,
        detail: error.message,
        instance,
        code: error.code,
        data: error.data,
      };
      this.#stderr.write(`${JSON.stringify(problem)}\n`);
      return;
    }
    const mark = this.#errorColour ? styleText("red", "error", { validateStream: false }) : "error";
    const message = error.message.split("\n").map(printable).join("\n");
    this.#stderr.write(`${mark}: ${message} (${error.code})\n`);
  }

  #cell(text: string): string {
    const clean = printable(text);
    if (good.has(clean)) return this.#paint("green", clean);
    return bad.has(clean) ? this.#paint("red", clean) : clean;
  }

  #paint(style: Style, text: string): string {
    return this.#colour && text !== "" ? styleText(style, text, { validateStream: false }) : text;
  }

  #print(rows: readonly (readonly string[])[], head: readonly string[]): void {
    const none = { top: "", "top-mid": "", "top-left": "", "top-right": "" };
    const table = new Table({
      ...(head.length === 0 ? {} : { head: [...head] }),
      chars: {
        ...none,
        bottom: "",
        "bottom-mid": "",
        "bottom-left": "",
        "bottom-right": "",
        left: "",
        "left-mid": "",
        mid: "",
        "mid-mid": "",
        right: "",
        "right-mid": "",
        middle: "  ",
      },
      style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
    });
    table.push(...rows.map((row) => [...row]));
    const text = table.toString();
    if (text === "") return;
    this.#stdout.write(
      text
        .split("\n")
        .map((line) => `${line.trimEnd()}\n`)
        .join(""),
    );
  }
}
