/**
 * Runs the tests and prints, as its last line, `N passed, N failed`. Exits 1 if anything failed or nothing ran.
 *
 *   node scripts/run-tests.ts [pattern…]              fast tier, or the files that match
 *   node scripts/run-tests.ts --long [--shard name] [--fresh]
 *
 * The long tier is resumable: shards that passed on this commit, with a clean tree, are not run again unless `--fresh`.
 * Options for fixtures: --root <folder>, --no-native, --file-limit <seconds>.
 */
import { execFileSync } from "node:child_process";
import { globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { run } from "node:test";
import { parseArgs } from "node:util";
import { runCargoTests } from "./cargo-tests.ts";
import { entriesField, textField } from "./field.ts";
import { type Shard, shards } from "./shards.ts";
import { type Counts, TestLedger } from "./test-ledger.ts";

const CONCURRENT_FILES = 2;
/** Seconds that one file may take. */
const FAST_FILE_LIMIT = 10 * 60;
const LONG_FILE_LIMIT = 30 * 60;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    long: { type: "boolean", default: false },
    shard: { type: "string" },
    fresh: { type: "boolean", default: false },
    root: { type: "string", default: join(import.meta.dirname, "..") },
    "file-limit": { type: "string" },
    "no-native": { type: "boolean", default: false },
  },
});
const root = resolve(options.root);
const print = (line: string): void => console.log(line);

function find(patterns: string[]): string[] {
  const found = globSync(patterns, { cwd: root, exclude: (path) => path.includes("node_modules") });
  return [...new Set(found.filter((path) => !path.includes("/fixtures/")))].sort();
}

async function runFiles(files: string[], limit: number): Promise<Counts> {
  const ledger = new TestLedger({ shorten: (file) => relative(root, file), print });
  // Set when this script is itself under test; it would make run() do nothing.
  delete process.env.NODE_TEST_CONTEXT;
  const queue = files.map((file) => join(root, file));
  const worker = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift())
      await runFile(ledger, file, limit);
  };
  await Promise.all(Array.from({ length: CONCURRENT_FILES }, worker));
  return ledger.counts();
}

/** Each file has a run of its own: run()'s `timeout` bounds tests, but not a process that never ends after them. */
async function runFile(ledger: TestLedger, file: string, limit: number): Promise<void> {
  const seconds = options["file-limit"] === undefined ? limit : Number(options["file-limit"]);
  const overdue = new AbortController();
  const timer = setTimeout(() => {
    print(
      `${relative(root, file)} was ended after ${seconds} s: a test, or something that it left open, never ends.`,
    );
    overdue.abort();
  }, seconds * 1000);
  for await (const event of run({ files: [file], cwd: root, signal: overdue.signal })) ledger.record(event);
  clearTimeout(timer);
}

function add(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed };
}

async function fastTier(): Promise<Counts> {
  const patterns =
    positionals.length > 0 ? positionals : ["packages/*/test/**/*.test.ts", "scripts/test/**/*.test.ts"];
  const files = find(patterns).filter((file) => positionals.length > 0 || !file.endsWith(".long.test.ts"));
  const native =
    options["no-native"] || positionals.length > 0
      ? { passed: 0, failed: 0 }
      : runCargoTests(root, "fast", print);
  return add(native, await runFiles(files, FAST_FILE_LIMIT));
}

/** The state that a shard's pass is recorded against: the commit, or nothing when the tree differs from it. */
function cleanCommit(): string | undefined {
  const git = (...args: string[]): string =>
    execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim();
  return git("status", "--porcelain") === "" ? git("rev-parse", "HEAD") : undefined;
}

const stateFile = join(root, ".cache", "long-tests.json");

/** Shard name → sums of its pass on `commit`. */
function readPassed(commit: string | undefined): Map<string, Counts> {
  const passed = new Map<string, Counts>();
  if (options.fresh || commit === undefined) return passed;
  let stored: unknown;
  try {
    stored = JSON.parse(readFileSync(stateFile, "utf8"));
  } catch {
    return passed; // absent, or cut off by a crash: nothing is known to have passed
  }
  if (textField(stored, "commit") !== commit) return passed;
  for (const [name, count] of entriesField(stored, "shards")) {
    if (typeof count === "number") passed.set(name, { passed: count, failed: 0 });
  }
  return passed;
}

function writePassed(commit: string | undefined, passed: Map<string, Counts>): void {
  if (commit === undefined) return;
  const counts = Object.fromEntries([...passed].map(([name, { passed: count }]) => [name, count]));
  mkdirSync(join(root, ".cache"), { recursive: true });
  writeFileSync(stateFile, `${JSON.stringify({ commit, shards: counts }, null, 2)}\n`);
}

/** Names the long tests that no shard, or more than one, would run. */
function misplaced(): string[] {
  const owners = new Map<string, string[]>();
  for (const shard of shards) {
    for (const file of find(shard.patterns)) owners.set(file, [...(owners.get(file) ?? []), shard.name]);
  }
  return find(["packages/*/test/**/*.long.test.ts"])
    .filter((file) => owners.get(file)?.length !== 1)
    .map((file) => `${file} must belong to exactly one shard, but belongs to: ${owners.get(file) ?? "none"}`);
}

async function runShard(shard: Shard): Promise<Counts> {
  const started = performance.now();
  print(`== shard ${shard.name}`);
  const native =
    shard.native && !options["no-native"] ? runCargoTests(root, "long", print) : { passed: 0, failed: 0 };
  const counts = add(native, await runFiles(find(shard.patterns), LONG_FILE_LIMIT));
  const minutes = ((performance.now() - started) / 60_000).toFixed(1);
  print(`== shard ${shard.name}: ${counts.passed} passed, ${counts.failed} failed, ${minutes} min`);
  return counts;
}

async function longTier(): Promise<Counts> {
  const wrong = misplaced();
  for (const problem of wrong) print(`FAIL ${problem}`);
  let total: Counts = { passed: 0, failed: wrong.length };
  const chosen =
    options.shard === undefined ? shards : shards.filter((shard) => shard.name === options.shard);
  if (chosen.length === 0) {
    print(`There is no shard "${options.shard}": one of ${shards.map((shard) => shard.name).join(", ")}.`);
    return { passed: 0, failed: 1 };
  }
  const commit = cleanCommit();
  const passed = readPassed(commit);
  for (const shard of chosen) {
    const before = passed.get(shard.name);
    if (before !== undefined) {
      print(`== shard ${shard.name}: passed before on this commit (${before.passed} tests)`);
      total = add(total, before);
      continue;
    }
    const counts = await runShard(shard);
    total = add(total, counts);
    if (counts.failed === 0) {
      passed.set(shard.name, counts);
      writePassed(commit, passed);
    }
  }
  return total;
}

const total = options.long ? await longTier() : await fastTier();
if (total.passed + total.failed === 0) print("No test ran.");
print(`${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
