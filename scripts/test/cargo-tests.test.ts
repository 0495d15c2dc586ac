import assert from "node:assert/strict";
import { test } from "node:test";
import { readCargoTests } from "../cargo-tests.ts";

test("sums Rust tests over all crates and names the failed", () => {
  const output = [
    "running 2 tests",
    "test vault::seals ... ok",
    "test vault::opens ... FAILED",
    "test result: FAILED. 1 passed; 1 failed; 0 ignored",
    "running 1 test",
    "test keygen - should panic ... ok",
  ].join("\n");
  assert.deepEqual(readCargoTests(output), { passed: 2, failed: 1, problems: ["vault::opens: FAILED"] });
});

test("a test left to the long tier is no failure; any other ignored test is", () => {
  const output = ["test a ... ignored, long", "test b ... ignored", "test c ... ignored, flaky"].join("\n");
  assert.deepEqual(readCargoTests(output).problems, ["b: ignored", "c: ignored, flaky"]);
});
