import assert from "node:assert/strict";
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { clusterIdSchema, nodeIndexSchema, systemClock, systemRandom } from "@cairn/core";
import { openSqliteStore } from "@cairn/storage";
import { createProgram } from "../../packages/cli/src/run-cli.ts";
import { presignatureRow } from "../../packages/storage/test/rows.ts";
import { temporaryRepository } from "./temporary-repository.ts";

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

test("the statement for a restored database ends its presignatures and leaves no secret half", async (t) => {
  const [, statement = ""] = /```sql\n([\s\S]*?)```/.exec(operations) ?? [];
  assert.match(statement, /update presignatures/);
  const folder = temporaryRepository(t, {});
  chmodSync(folder, 0o700);
  const options = {
    path: join(folder, "cairn.db"),
    cluster: clusterIdSchema.parse("11".repeat(32)),
    node: nodeIndexSchema.parse(1),
  };
  const before = await openSqliteStore(options, { clock: systemClock });
  await before.commit([
    { write: "presignature", row: presignatureRow("ready") },
    { write: "presignature", row: presignatureRow("pending", { state: "pending" }) },
  ]);
  await before.close();

  const database = new DatabaseSync(options.path);
  database.exec(statement);
  database.close();

  const after = await openSqliteStore(options, { clock: systemClock });
  const rows = await after.presignatures({});
  await after.close();
  assert.deepEqual(
    rows.map(({ state, sealed }) => [state, sealed.length]),
    [
      ["discarded", 0],
      ["discarded", 0],
    ],
  );
});
