import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { temporaryRepository } from "./temporary-repository.ts";

const good = {
  check: "echo 8 passed, 0 failed",
  test: "echo 100 passed, 0 failed",
  demo: ":",
  build: ":",
  setup: ":",
};

/** Runs .ci/run over a Makefile of these stages. */
function runCi(t: TestContext, stages: Record<string, string>, demoExists = true) {
  const recipes = Object.entries({ ...good, ...stages }).map(([name, recipe]) => `${name}:\n\t@${recipe}\n`);
  const root = temporaryRepository(t, {
    Makefile: recipes.join("\n"),
    ...(demoExists ? { "packages/devnet/src/main.ts": "" } : {}),
  });
  mkdirSync(join(root, ".ci"));
  copyFileSync(join(import.meta.dirname, "../../.ci/run"), join(root, ".ci/run"));
  chmodSync(join(root, ".ci/run"), 0o755);
  const { status, stdout } = spawnSync(join(root, ".ci/run"), [], { encoding: "utf8" });
  return { status, output: stdout, last: stdout.trimEnd().split("\n").at(-1) };
}

test("sums checks, tests, the build and the demo", (t) => {
  const { status, output, last } = runCi(t, {});
  assert.equal(last, "110 passed, 0 failed");
  assert.equal(status, 0);
  for (const stage of ["setup", "check", "build", "test", "demo", "total"])
    assert.match(output, new RegExp(`^${stage} +\\d+ s`, "m"));
});

const failures: [string, Record<string, string>, string][] = [
  ["a check fails", { check: "echo 7 passed, 1 failed; exit 1" }, "109 passed, 1 failed"],
  ["a test fails", { test: "echo 98 passed, 2 failed; exit 1" }, "108 passed, 2 failed"],
  ["the tests end without a sum", { test: "echo killed; exit 137" }, "10 passed, 1 failed"],
  [
    "the tests claim success but exit with an error",
    { test: "echo 100 passed, 0 failed; exit 1" },
    "110 passed, 1 failed",
  ],
  ["the demo fails", { demo: "exit 1" }, "109 passed, 1 failed"],
  ["the native build fails: nothing after it runs", { build: "exit 1" }, "8 passed, 1 failed"],
  ["setup fails: nothing after it runs", { setup: "exit 1" }, "0 passed, 1 failed"],
];
for (const [name, stages, expected] of failures) {
  test(`fails when ${name}`, (t) => {
    const { status, last } = runCi(t, stages);
    assert.equal(last, expected);
    assert.equal(status, 1);
  });
}

test("fails when there is no demo", (t) => {
  const { status, output, last } = runCi(t, {}, false);
  assert.match(output, /there is no demo to run/);
  assert.equal(last, "109 passed, 1 failed");
  assert.equal(status, 1);
});

test("stages see CI=true and an empty standard input", (t) => {
  const { status, output } = runCi(t, { demo: 'cat; test "$$CI" = true' });
  assert.equal(status, 0, output);
});
