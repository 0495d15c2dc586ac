import assert from "node:assert/strict";
import { test } from "node:test";
import { bitcoinError } from "../src/bitcoin-error.ts";
import type { ScriptActivity } from "../src/index.ts";
import {
  emptyScanMemory,
  restingIndexes,
  type ScanMemory,
  scanMemoryAfter,
  standingMemory,
} from "../src/scan-memory.ts";
import { rejectsReason } from "./assert-reason.ts";

const tipAt = (height: number, fork = "a") => ({ height, hash: `${fork}${height}` });
const chain = { blockHash: async (height: number) => tipAt(height).hash };
const unused = { seen: new Map<number, ScriptActivity>(), next: 0, turn: 0 };

/** Looks at the receive address 0 at each height, which has so many settled transactions then. */
async function look(
  memory: ScanMemory,
  heights: readonly number[],
  settled: number | undefined,
  next = 1,
): Promise<ScanMemory> {
  let latest = memory;
  for (const height of heights) {
    const tip = tipAt(height);
    const answer = { used: settled !== 0, utxos: [], ...(settled === undefined ? {} : { settled }) };
    const seen = new Map([[0, answer]]);
    latest = scanMemoryAfter(
      await standingMemory(latest, tip, chain),
      [{ seen, next, turn: 0 }, unused],
      tip,
    );
  }
  return latest;
}

const rests = (memory: ScanMemory, everUsed = new Set([0])) =>
  restingIndexes(memory.branches[0], everUsed, 0).resting.has(0);

test("an address rests once its transactions lie six blocks below a tip at which it was asked for", async () => {
  // What was answered at 100 may be of a block that came meanwhile; it is in 101 or below.
  const shallow = await look(emptyScanMemory, [100, 101, 106], 2);
  assert.equal(rests(shallow), false);
  assert.equal(rests(await look(shallow, [107], 2)), true);
});

test("an address never rests while a transaction that touches it waits", async () => {
  assert.equal(rests(await look(emptyScanMemory, [100, 101, 9000, 9001], undefined)), false);
  const settled = await look(emptyScanMemory, [100, 101, 107], 2);
  assert.equal(rests(await look(settled, [108], undefined)), false);
});

test("two looks at one height, or one look alone, lay nobody to rest", async () => {
  assert.equal(rests(await look(emptyScanMemory, [100, 100, 100], 2)), false);
  assert.equal(rests(await look(emptyScanMemory, [900], 2)), false);
});

test("a transaction between two looks, of which no coin is left, starts the count of blocks again", async () => {
  const settled = await look(emptyScanMemory, [100, 101, 106], 2);
  const touched = await look(settled, [120], 4);
  assert.equal(rests(touched), false);
  assert.equal(rests(await look(touched, [121, 126], 4)), false);
  assert.equal(rests(await look(touched, [121, 127], 4)), true);
});

test("an address that nobody paid to rests after two weeks only, one beyond the next index never", async () => {
  const unpaid = await look(emptyScanMemory, [100, 101, 2116], 0);
  assert.equal(rests(unpaid, new Set()), false);
  assert.equal(rests(await look(unpaid, [2117], 0), new Set()), true);
  assert.equal(rests(await look(emptyScanMemory, [100, 101, 9000], 0, 0), new Set()), false);
});

test("a reorganisation wakes addresses whose transactions may be above the fork, and no others", async () => {
  const memory = await look(emptyScanMemory, [100, 101, 107, 108], 2);
  const forkedAbove = (fork: number) => ({
    blockHash: async (height: number) => tipAt(height, height > fork ? "b" : "a").hash,
  });
  for (const [fork, resting] of [
    [107, true],
    [101, true],
    [100, false],
    [50, false],
  ] as const) {
    assert.equal(rests(await standingMemory(memory, tipAt(110, "b"), forkedAbove(fork))), resting, `${fork}`);
  }
});

test("a look that a reorganisation may have fallen into counts for nothing", async () => {
  const memory = await look(emptyScanMemory, [90, 100], 2);
  const fresh = await look(memory, [100], 4);
  const now = tipAt(101, "b");
  const forked = { blockHash: async (height: number) => tipAt(height, height > 99 ? "b" : "a").hash };
  const standing = await standingMemory(fresh, now, forked);
  assert.equal(standing.branches[0].quiet.size, 0);
});

test("a tip on which sources disagree counts as gone; a source that is down fails the scan", async () => {
  const memory = await look(emptyScanMemory, [100, 101, 107, 108], 2);
  const failing = (reason: "chain-sources-disagree" | "chain-unavailable") => ({
    blockHash: () => Promise.reject(bitcoinError(reason, "no")),
  });
  const standing = await standingMemory(memory, tipAt(110), failing("chain-sources-disagree"));
  assert.equal(rests(standing), false);
  await rejectsReason(standingMemory(memory, tipAt(110), failing("chain-unavailable")), "chain-unavailable");
});

test("what is remembered of tips stays bounded", async () => {
  const memory = await look(
    emptyScanMemory,
    Array.from({ length: 50 }, (_, i) => 100 + i),
    2,
  );
  assert.ok(memory.tips.length <= 8);
});
