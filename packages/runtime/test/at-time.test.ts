import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock, UnixMs } from "@cairn/core";
import { atTime } from "../src/at-time.ts";

/** A clock whose timers fire when the test says so. */
function manualClock(start: number) {
  const waits: { delayMs: number; run: () => void }[] = [];
  const state = { now: start };
  const clock: Clock = {
    now: () => state.now as UnixMs,
    monotonic: () => state.now,
    after: (delayMs, run) => {
      waits.push({ delayMs, run });
      return { cancel: () => void waits.splice(0) };
    },
  };
  return { clock, state, waits, fire: () => waits.shift()?.run() };
}

test("a timer that fires a moment early waits for the rest", () => {
  const { clock, state, waits, fire } = manualClock(1_000);
  let ran = 0;
  atTime(clock, 2_000 as UnixMs, () => ran++);
  assert.equal(waits[0]?.delayMs, 1_000);
  state.now = 1_999;
  fire();
  assert.equal(ran, 0);
  assert.equal(waits[0]?.delayMs, 1);
  state.now = 2_000;
  fire();
  assert.equal(ran, 1);
  assert.equal(waits.length, 0);
});

test("a clock that was set back, and a wait longer than a timer holds, are waited out", () => {
  const { clock, state, waits, fire } = manualClock(10_000);
  let ran = 0;
  atTime(clock, (2 ** 40) as UnixMs, () => ran++);
  assert.equal(waits[0]?.delayMs, 2 ** 31 - 1);
  state.now = 5_000;
  fire();
  assert.equal(ran, 0);
  state.now = 2 ** 40;
  fire();
  assert.equal(ran, 1);
});

test("cancelling also ends what was armed again", () => {
  const { clock, state, fire, waits } = manualClock(0);
  const timer = atTime(clock, 10 as UnixMs, () => assert.fail("cancelled"));
  state.now = 9;
  fire();
  timer.cancel();
  assert.equal(waits.length, 0);
});
