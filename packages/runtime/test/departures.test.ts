import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock, NodeIndex, PeerStatus } from "@cairn/core";
import { Departures } from "../src/departures.ts";

/** A clock that a test moves by hand. */
function bench() {
  let now = 0;
  let timers: { readonly at: number; readonly run: () => void }[] = [];
  const up = new Set<NodeIndex>([1, 2, 3] as NodeIndex[]);
  const gone: number[] = [];
  const clock: Pick<Clock, "after"> = {
    after: (delayMs, run) => {
      const timer = { at: now + delayMs, run };
      timers.push(timer);
      return {
        cancel: () => {
          timers = timers.filter((other) => other !== timer);
        },
      };
    },
  };
  const departures = new Departures({
    clock: clock as Clock,
    up: () => up,
    departed: (node) => void gone.push(node),
  });
  const tell = (node: number, isUp: boolean) => {
    if (isUp) up.add(node as NodeIndex);
    else up.delete(node as NodeIndex);
    departures.peer({ node: node as NodeIndex, up: isUp } as PeerStatus);
  };
  const pass = (ms: number) => {
    now += ms;
    const due = timers.filter(({ at }) => at <= now);
    timers = timers.filter(({ at }) => at > now);
    for (const { run } of due) run();
  };
  return { departures, up, gone, tell, pass };
}

test("a peer that stays away has departed, once an absence", () => {
  const { gone, tell, pass } = bench();
  tell(2, false);
  pass(4_999);
  assert.deepEqual(gone, []);
  // Failed attempts to connect again are told as well: they are the same absence.
  tell(2, false);
  pass(1);
  assert.deepEqual(gone, [2]);
  tell(2, false);
  pass(60_000);
  assert.deepEqual(gone, [2]);
  tell(2, true);
  tell(2, false);
  pass(5_000);
  assert.deepEqual(gone, [2, 2]);
});

test("a connection that another takes over from is no departure", () => {
  const { gone, tell, pass, up } = bench();
  for (let turn = 0; turn < 5; turn += 1) {
    tell(3, false);
    pass(4_000);
    tell(3, true);
  }
  pass(60_000);
  // Back though nobody said so: the transport is asked before anything is given up.
  tell(2, false);
  up.add(2 as NodeIndex);
  pass(60_000);
  assert.deepEqual(gone, []);
});

test("nothing is told after the node stopped", () => {
  const { departures, gone, tell, pass } = bench();
  tell(2, false);
  departures.close();
  tell(3, false);
  pass(60_000);
  assert.deepEqual(gone, []);
});
