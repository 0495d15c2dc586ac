import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "@cairn/core";
import { EventHub } from "../src/event-hub.ts";
import { type PrimesState, watchPrimes } from "../src/watch-primes.ts";

test("the stock of primes is told as it is at first, and then at every change alone", async () => {
  const stock: PrimesState[] = [
    { ready: 0, target: 4, generating: true },
    { ready: 0, target: 4, generating: true },
    { ready: 1, target: 4, generating: true },
    { ready: 1, target: 4, generating: false },
  ];
  const told: PrimesState[] = [];
  let looks = 0;
  const failures: unknown[] = [];
  let stop = () => {};
  await new Promise<void>((resolve) => {
    stop = watchPrimes(1, {
      primes: async () => {
        looks += 1;
        if (looks === 2) throw new Error("passing");
        if (looks > 8) resolve();
        return stock[Math.min(looks - 1, 3)] as PrimesState;
      },
      clock: systemClock,
      changed: (state) => told.push(state),
      report: (cause) => failures.push(cause),
    });
  });
  stop();
  assert.deepEqual(told, [stock[0], stock[2], stock[3]]);
  assert.equal(failures.length, 1);
});

test("events of several sources have one count, and a listener that fails keeps none from the others", () => {
  const failures: unknown[] = [];
  const hub = new EventHub({ clock: systemClock, report: (cause) => failures.push(cause) });
  const seen: string[] = [];
  hub.subscribe(() => {
    throw new Error("deaf");
  });
  const unsubscribe = hub.subscribe(({ id, type }) => seen.push(`${id} ${type}`));
  hub.emit({ type: "primes", subject: "1", state: "idle", data: {} });
  hub.emit({ type: "peer", subject: "2", state: "up", data: {} });
  unsubscribe();
  hub.emit({ type: "peer", subject: "2", state: "down", data: {} });
  assert.deepEqual(seen, ["1 primes", "2 peer"]);
  assert.equal(failures.length, 3);
});
