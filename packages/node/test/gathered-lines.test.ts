import assert from "node:assert/strict";
import { test } from "node:test";
import { GatheredLines } from "../src/gathered-lines.ts";

function gathered() {
  const written: string[] = [];
  const timers: (() => void)[] = [];
  let flushed = 0;
  const lines = new GatheredLines({
    sink: { write: (text) => written.push(text), flushSync: () => void flushed++ },
    clock: {
      after: (_, run) => {
        timers.push(run);
        return { cancel: () => timers.splice(timers.indexOf(run), 1) };
      },
    },
  });
  return { lines, written, timers, flushed: () => flushed };
}

test("lines of a short while are written at once, in their order", () => {
  const { lines, written, timers } = gathered();
  lines.write("one\n");
  lines.write("two\n");
  assert.deepEqual(written, []);
  assert.equal(timers.length, 1);
  timers[0]?.();
  assert.deepEqual(written, ["one\ntwo\n"]);
  lines.write("three\n");
  assert.equal(timers.length, 1);
  timers[0]?.();
  assert.deepEqual(written, ["one\ntwo\n", "three\n"]);
});

test("many lines do not wait", () => {
  const { lines, written, timers } = gathered();
  lines.write("short\n");
  lines.write(`${"x".repeat(20_000)}\n`);
  assert.equal(written.length, 1);
  assert.equal(timers.length, 0);
});

test("what waits is written before the process ends", () => {
  const { lines, written, timers, flushed } = gathered();
  lines.write("last words\n");
  lines.flushSync();
  assert.deepEqual(written, ["last words\n"]);
  assert.equal(flushed(), 1);
  assert.equal(timers.length, 0);
});
