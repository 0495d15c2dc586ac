import assert from "node:assert/strict";
import { test } from "node:test";
import { RestCollector } from "../src/rest-collector.ts";

const MIB = 1024 * 1024;

function resting() {
  const state = { now: 0, processorMs: 0, heapBytes: 60 * MIB, collections: 0, timers: [] as (() => void)[] };
  const collector = new RestCollector({
    clock: {
      monotonic: () => state.now,
      after: (_, run) => {
        state.timers.push(run);
        return { cancel: () => void state.timers.splice(state.timers.indexOf(run), 1) };
      },
    },
    processorMs: () => state.processorMs,
    heapBytes: () => state.heapBytes,
    collect: () => {
      state.collections += 1;
      state.processorMs += 150;
      state.heapBytes = 50 * MIB;
    },
  });
  const look = (usedMs: number) => {
    state.now += 10_000;
    state.processorMs += usedMs;
    state.timers.shift()?.();
    return state.collections;
  };
  return { collector, state, look };
}

test("garbage is collected when a daemon comes to rest, not while it works", () => {
  const { look } = resting();
  assert.equal(look(4_000), 0);
  assert.equal(look(300), 0);
  assert.equal(look(20), 1);
});

test("a daemon that stays at rest collects only what is worth it", () => {
  const { look, state } = resting();
  assert.equal(look(20), 1);
  assert.equal(look(20), 1);
  state.heapBytes += 15 * MIB;
  assert.equal(look(20), 1);
  state.heapBytes += MIB;
  assert.equal(look(20), 2);
});

test("nothing is looked at after the end", () => {
  const { collector, state } = resting();
  collector.close();
  assert.equal(state.timers.length, 0);
});
