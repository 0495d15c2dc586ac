import assert from "node:assert/strict";
import { test } from "node:test";
import type { VotingEvent } from "@cairn/consensus";
import type { Clock, IntentHash, NodeIndex, StoreWrite, UnixMs } from "@cairn/core";
import { EarlyEvents } from "../src/early-events.ts";
import { Loop } from "../src/loop.ts";

const from = 2 as NodeIndex;

function intent(count: number): IntentHash {
  return count.toString(16).padStart(64, "0") as IntentHash;
}

function vote(about: number, approve: boolean): VotingEvent {
  const body = { intentHash: intent(about), round: 1, voter: from, approve, reason: null };
  return { kind: "vote", from, vote: { body, signature: "" } } as unknown as VotingEvent;
}

const deferral = { kind: "deferral", from, deferral: {} } as unknown as VotingEvent;

function bench() {
  let now = 0;
  const written: StoreWrite[] = [];
  const loop = new Loop({
    store: { commit: async (writes) => void written.push(...writes) },
    courier: {} as never,
    audit: { entries: () => [], committed: () => {}, discarded: () => {} },
    report: (cause) => assert.fail(String(cause)),
  });
  const early = new EarlyEvents({ now: () => now as UnixMs } as Clock);
  const keep = (about: number, event: VotingEvent, sender = from) =>
    loop.run((batch) => early.keep(batch, intent(about), sender, event));
  const take = (about: number) => loop.run((batch) => early.take(batch, intent(about)));
  const pass = (ms: number) => {
    now += ms;
  };
  return { early, keep, take, written, pass };
}

test("what comes before its intent is handed over once, in order, and votes are stored at once", async () => {
  const { early, keep, take, written } = bench();
  await keep(1, vote(1, true));
  await keep(1, vote(1, true));
  await keep(1, deferral);
  assert.equal(early.votes(intent(1)).length, 1);
  assert.deepEqual(
    (await take(1)).map(({ event }) => event.kind),
    ["vote", "deferral"],
  );
  assert.deepEqual(await take(1), []);
  assert.equal(written.length, 1);
});

test("a second vote that differs is kept as evidence, and does not take the place of the first", async () => {
  const { early, keep, written } = bench();
  await keep(1, vote(1, true));
  await keep(1, vote(1, false));
  assert.equal(early.votes(intent(1)).length, 2);
  assert.equal(written.length, 1);
});

test("one peer can't fill the memory; what found its intent or grew old makes room, and other peers are not held up", async () => {
  const { keep, take, pass } = bench();
  for (let count = 0; count < 256; count += 1) await keep(count, deferral);
  await assert.rejects(keep(256, deferral), { code: "rate-limited" });
  await keep(256, deferral, 3 as NodeIndex);
  await take(0);
  await keep(257, deferral);
  await assert.rejects(keep(258, deferral), { code: "rate-limited" });
  pass(10 * 60_000);
  await keep(258, deferral);
});
