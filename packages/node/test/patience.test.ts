import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "@cairn/core/test-support";
import type { NodeEvent } from "@cairn/runtime";
import { Patience } from "../src/patience.ts";
import { eventOf } from "./fake-node.ts";

function patienceOf() {
  const listeners = new Set<(event: NodeEvent) => void>();
  const clock = new ManualClock();
  const subscribe = (listener: (event: NodeEvent) => void) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  return {
    patience: new Patience({ events: { subscribe }, clock }),
    clock,
    listeners,
    tell: () => {
      for (const listener of listeners) listener(eventOf(1));
    },
  };
}

test("what happens while one looks is looked for again, and not slept through", async () => {
  const { patience, listeners, tell } = patienceOf();
  let there = false;
  const found = await patience.until(
    async () => {
      if (there) return "found";
      // It comes after this look has read, and before the look is over.
      there = true;
      tell();
      return null;
    },
    () => true,
    1_000,
  );
  assert.equal(found, "found");
  assert.equal(listeners.size, 0);
});

test("a wait ends with its time, with nothing found, and events of others do not wake it", async () => {
  const { patience, clock, listeners, tell } = patienceOf();
  let looks = 0;
  const look = async () => {
    looks += 1;
    return null;
  };
  const waiting = patience.until(look, () => false, 1_000);
  await new Promise(setImmediate);
  tell();
  await new Promise(setImmediate);
  assert.equal(looks, 1);
  clock.advance(1_000);
  assert.equal(await waiting, null);
  assert.equal(listeners.size, 0);
  assert.equal(await patience.until(look, () => true, 0), null);
});
