import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock, systemRandom } from "@cairn/core";
import { createProgram } from "../../packages/cli/src/run-cli.ts";

const root = join(import.meta.dirname, "..", "..");
const operations = readFileSync(join(root, "docs", "operations.md"), "utf8");

/** Every command line of a page that begins with `cairn`, without its comment. */
function commandLines(page: string): string[] {
  const fenced = [...page.matchAll(/^```sh\n([\s\S]*?)^```/gm)].flatMap(([, block = ""]) =>
    block.split("\n"),
  );
  const spans = [...page.matchAll(/`(cairn [^`\n]+)`/g)].map(([, span = ""]) => span);
  return [...fenced, ...spans]
    .map((line) => line.replace(/\s+#.*$/, "").trim())
    .filter((line) => /^cairn [a-z]/.test(line));
}

test("every cairn command that the documents show exists, with each of its options", () => {
  const silent = { write: () => {}, isTTY: false };
  const program = createProgram({
    stdout: silent,
    stderr: silent,
    environment: {},
    clock: systemClock,
    random: systemRandom,
    sleep: async () => {},
    signal: new AbortController().signal,
    pollMs: 1000,
    confirm: null,
    questions: null,
    runDaemon: async () => 0,
  });
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const lines = [...commandLines(readme), ...commandLines(operations)];
  assert.ok(lines.length >= 15);
  for (const line of lines) {
    let command = program;
    const options = new Set(program.options.map((option) => option.long));
    for (const word of line.split(/\s+/).slice(1)) {
      if (word.startsWith("--")) {
        assert.ok(options.has(word), `"${line}": ${command.name()} has no option ${word}`);
        continue;
      }
      const next = command.commands.find((each) => each.name() === word);
      if (next === undefined) continue;
      command = next;
      // By itself, `cairn init` is `cairn init local`.
      const meant =
        command.name() === "init" ? command.commands.filter((each) => each.name() === "local") : [];
      for (const option of [command, ...meant].flatMap((each) => each.options)) options.add(option.long);
    }
    assert.notEqual(command, program, `"${line}" names no command`);
    assert.equal(
      command.commands.length === 0 || command.name() === "init",
      true,
      `"${line}" stops before a command`,
    );
  }
});
