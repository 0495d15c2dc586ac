import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { temporaryRepository } from "./temporary-repository.ts";

const script = join(import.meta.dirname, "../run-tests.ts");
const good = 'import { test } from "node:test"; test("works", () => {});';

function run(root: string, ...args: string[]): { status: number | null; output: string; last: string } {
  const { status, stdout } = spawnSync(process.execPath, [script, "--root", root, "--no-native", ...args], {
    encoding: "utf8",
  });
  return { status, output: stdout, last: stdout.trimEnd().split("\n").at(-1) ?? "" };
}

test("passes when every test of every package passes, and says how many", (t) => {
  const root = temporaryRepository(t, {
    "packages/a/test/one.test.ts": good,
    "packages/b/test/deep/two.test.ts": `${good} test("also", () => {});`,
    "packages/b/test/slow.long.test.ts": "throw new Error('the long tier');",
  });
  const { status, output, last } = run(root);
  assert.equal(last, "3 passed, 0 failed");
  assert.equal(status, 0);
  assert.match(output, /^ok {3}packages\/b\/test\/deep\/two\.test\.ts {2}2 passed {2}[\d.]+ s$/m);
});

const failures: [string, string, RegExp][] = [
  [
    "a failing test",
    'import { test } from "node:test"; test("bad", () => { throw new Error("why"); });',
    /> bad\n +Error: why/,
  ],
  ["a skipped test", 'import { test } from "node:test"; test.skip("later", () => {});', /later: skipped/],
  ["a todo test", 'import { test } from "node:test"; test.todo("later");', /later: marked todo/],
  ["a file without tests", "export {};", /holds no test/],
  ["a file that does not load", 'import "./missing.ts";', /the file itself failed/],
  ["a file whose process dies", `${good} setTimeout(() => process.exit(3), 0);`, /FAIL/],
  [
    "a failing test in a suite, counted once",
    'import { describe, test } from "node:test"; describe("s", () => test("in", () => { throw new Error("x"); }));',
    /> in\n/,
  ],
];
for (const [name, source, expected] of failures) {
  test(`fails on ${name}`, (t) => {
    const root = temporaryRepository(t, {
      "packages/a/test/a.test.ts": source,
      "packages/a/test/b.test.ts": good,
    });
    const { status, output, last } = run(root);
    assert.equal(status, 1);
    assert.match(output, expected);
    assert.match(last, /^[12] passed, 1 failed$/);
  });
}

test("fails when nothing ran", (t) => {
  const { status, last } = run(temporaryRepository(t, { "packages/a/src/a.ts": "" }));
  assert.equal(status, 1);
  assert.equal(last, "0 passed, 0 failed");
});

test("ends a file that never ends, counts it as failed, and runs the others", (t) => {
  const root = temporaryRepository(t, {
    "packages/a/test/a.test.ts": `${good} setInterval(() => {}, 1000);`,
    "packages/a/test/b.test.ts": good,
  });
  const { status, output, last } = run(root, "--file-limit", "2");
  assert.equal(status, 1);
  assert.match(output, /packages\/a\/test\/a\.test\.ts was ended after 2 s/);
  assert.equal(last, "2 passed, 1 failed");
});

test("shows what a file printed only if it failed", (t) => {
  const root = temporaryRepository(t, {
    "packages/a/test/a.test.ts": `${good} console.log("quiet words");`,
    "packages/a/test/b.test.ts":
      'import { test } from "node:test"; console.log("loud words"); test("bad", () => { throw new Error(); });',
  });
  const { output } = run(root);
  assert.match(output, /loud words/);
  assert.doesNotMatch(output, /quiet words/);
});

function committed(t: TestContext, files: Record<string, string>): string {
  const root = temporaryRepository(t, { ".gitignore": ".cache/\n", ...files });
  const git = (...args: string[]): void => {
    execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@example.org", ...args], { cwd: root });
  };
  git("init", "-q");
  git("add", "-A");
  git("commit", "-q", "-m", "x");
  return root;
}

test("the long tier runs only long files, and not again what passed on this commit", (t) => {
  const root = committed(t, {
    "packages/engine/test/a.long.test.ts": good,
    "packages/engine/test/b.test.ts": good,
  });
  const first = run(root, "--long");
  assert.equal(first.last, "1 passed, 0 failed");
  assert.match(first.output, /a\.long\.test\.ts/);
  assert.doesNotMatch(first.output, /b\.test\.ts/);
  const second = run(root, "--long");
  assert.match(second.output, /shard engine: passed before/);
  assert.equal(second.last, "1 passed, 0 failed");
  assert.match(run(root, "--long", "--fresh").output, /ok {3}packages\/engine\/test\/a\.long\.test\.ts/);
});

test("a change that is not committed makes every shard run again", (t) => {
  const root = committed(t, { "packages/engine/test/a.long.test.ts": good });
  run(root, "--long");
  appendFileSync(join(root, "packages/engine/test/a.long.test.ts"), "\n");
  assert.doesNotMatch(run(root, "--long").output, /passed before/);
});

test("runs one shard by name and refuses an unknown one", (t) => {
  const root = committed(t, {
    "packages/engine/test/a.long.test.ts": good,
    "packages/devnet/test/b.long.test.ts": "throw new Error();",
  });
  assert.equal(run(root, "--long", "--shard", "engine").status, 0);
  assert.equal(run(root, "--long", "--shard", "cluster").status, 1);
  const unknown = run(root, "--long", "--shard", "nope");
  assert.equal(unknown.status, 1);
  assert.match(unknown.output, /no shard "nope"/);
});

test("fails on a long test that no shard runs", (t) => {
  const root = committed(t, { "packages/stray/test/fuzz/decoders.long.test.ts": good });
  const { status, output } = run(root, "--long");
  assert.equal(status, 1);
  assert.match(output, /stray\/test\/fuzz\/decoders\.long\.test\.ts must belong to exactly one shard/);
});
