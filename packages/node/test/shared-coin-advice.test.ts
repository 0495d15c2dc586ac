import assert from "node:assert/strict";
import { test } from "node:test";
import { CairnError, requestHashSchema } from "@cairn/core";
import { ManualClock } from "@cairn/core/test-support";
import { CoordinationHub, openMemoryCoordination } from "@cairn/storage";
import { SharedCoinAdvice } from "../src/shared-coin-advice.ts";

const request = (digit: string) => requestHashSchema.parse(digit.repeat(64));
const [one, two] = [request("1"), request("2")];
const coins = ["aa:0", "bb:1"];

function scene() {
  const clock = new ManualClock();
  const hub = new CoordinationHub({ clock });
  const store = openMemoryCoordination(hub);
  const advice = () => new SharedCoinAdvice({ coordination: openMemoryCoordination(hub), clock });
  return { clock, store, advice };
}

const settle = async () => {
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
};

test("the first request has a coin to itself for as long as nodes may not know of it, at whatever node it is asked again", async () => {
  const { clock, advice } = scene();
  assert.deepEqual(await advice().claim(coins, one), new Set());
  // Who was too late hears of all that is claimed, and picks among the rest.
  assert.deepEqual(await advice().claim(["bb:1", "cc:0"], two), new Set(coins));
  assert.deepEqual(await advice().claim(coins, one), new Set());
  clock.advance(15_000);
  assert.deepEqual(await advice().claim(coins, two), new Set());
});

test("what stands there and is no request of this cluster only has other coins picked first", async () => {
  const { store, advice } = scene();
  await store.put("/coins/aa:0", "<html>");
  await store.put("/coins/bb:1", one);
  assert.deepEqual(await advice().claim(coins, two), new Set(coins));
});

test("a store that refuses is left alone for a while, and costs the payments after it nothing", async () => {
  const { clock } = scene();
  let asked = 0;
  const compareAndSwap = async (): Promise<boolean> => {
    asked += 1;
    throw new CairnError("peer-unreachable", "no member of etcd can be asked");
  };
  const advice = new SharedCoinAdvice({ coordination: { compareAndSwap, list: async () => [] }, clock });
  assert.deepEqual(await advice.claim(["aa:0"], one), new Set());
  assert.deepEqual(await advice.claim(["aa:0"], one), new Set());
  assert.equal(asked, 1);
  clock.advance(10_000);
  await advice.claim(["aa:0"], one);
  assert.equal(asked, 2);
});

test("a store that freezes holds a payment up for a quarter of a second, once", async () => {
  const { clock } = scene();
  let asked = 0;
  const compareAndSwap = (): Promise<boolean> => {
    asked += 1;
    return new Promise(() => {});
  };
  const advice = new SharedCoinAdvice({ coordination: { compareAndSwap, list: async () => [] }, clock });
  let answer: ReadonlySet<string> | null = null;
  const claimed = advice.claim(coins, one).then((lost) => {
    answer = lost;
  });
  clock.advance(249);
  await settle();
  assert.equal(answer, null);
  clock.advance(1);
  await claimed;
  assert.deepEqual(answer, new Set());
  assert.deepEqual(await advice.claim(coins, two), new Set());
  assert.equal(asked, coins.length);
});
