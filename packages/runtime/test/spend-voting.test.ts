import assert from "node:assert/strict";
import { test } from "node:test";
import { initial, type VotingEvent } from "@cairn/consensus";
import {
  type Clock,
  Ed25519Signer,
  type IntentHash,
  type NodeIndex,
  type StoreWrite,
  type TransactionRow,
  type UnixMs,
} from "@cairn/core";
import { type LiveSpend, LiveSpends } from "../src/live-spends.ts";
import { Loop } from "../src/loop.ts";
import { SpendClaims } from "../src/spend-claims.ts";
import { SpendVoting } from "../src/spend-voting.ts";
import { KeptReservations } from "./kept-reservations.ts";

const hash = "ab".repeat(32) as IntentHash;
const winner = "01".repeat(32) as IntentHash;
const expiry = 3_600_000 as UnixMs;

/** Voting of node 1 of five on one spend, whose own check never comes to an end. */
async function bench() {
  const rows: TransactionRow[] = [];
  let now = 0;
  const clock: Clock = {
    now: () => now as UnixMs,
    monotonic: () => now,
    after: () => ({ cancel: () => {} }),
  };
  const loop = new Loop({
    store: {
      commit: async (writes: readonly StoreWrite[]) => {
        for (const write of writes) if (write.write === "transaction") rows.push(write.row);
      },
    },
    courier: {
      posting: () => ({ write: "meta", key: "posting", value: Uint8Array.of(0) }),
      kick: () => {},
      send: () => {},
    } as never,
    audit: { entries: () => [], committed: () => {}, discarded: () => {} },
    report: (cause) => assert.fail(String(cause)),
  });
  const members = [1, 2, 3, 4, 5].map((index) => ({ index }));
  const constitution = {
    manifest: { members, threshold: 4, cluster: "c1".repeat(32) },
    manifestHash: "00".repeat(32),
    policy: { policyVersion: 1 },
  };
  const live = new LiveSpends({ clock, changed: () => {} });
  const voting = new SpendVoting(
    {
      me: 1 as NodeIndex,
      book: { ...constitution, under: () => constitution },
      protocolVersions: [1],
      clockSkewMs: 0,
      roundMs: 3_600_000,
      recheckMs: 3_600_000,
    } as never,
    {
      loop,
      live,
      admitted: async () => {},
      clock,
      claims: new SpendClaims({ store: new KeptReservations(), live, clock }),
      signer: Ed25519Signer.generate(),
      store: { sessions: async () => [] },
      judge: { check: () => new Promise(() => {}) },
      faulty: {},
      forgot: async () => false,
      certified: () => {},
      signing: () => true,
      violation: () => {},
      report: (cause: unknown) => assert.fail(String(cause)),
    } as never,
  );
  const step = (event: VotingEvent) => loop.run((batch) => voting.step(batch, hash, event));
  await loop.run((batch) =>
    live.add(batch, {
      intent: {},
      row: { intent: hash, state: "pending", reason: null, metadata: "", intentBody: Uint8Array.of(0) },
      voting: initial({ intent: hash, expiry }),
      voiding: false,
    } as unknown as LiveSpend),
  );
  await step({ kind: "open" });
  const at = (time: number) => {
    now = time;
  };
  return { step, live, at, last: () => rows.at(-1) };
}

test("a spend whose coin another payment took for good fails as conflicted, and not a block earlier", async () => {
  const { step, live, last } = await bench();
  await step({ kind: "conflicted", depth: 5 });
  assert.equal(live.has(hash), true);
  await step({ kind: "conflicted", depth: 6 });
  assert.equal(live.has(hash), false);
  assert.deepEqual([last()?.state, last()?.reason], ["failed", "conflicted"]);
});

test("a spend that gives way to another fails as displaced, whatever it waited for before", async () => {
  const { step, live, last } = await bench();
  const verdict = { kind: "defer", code: "coin-reserved", blocking: [] } as const;
  await step({ kind: "verdict", round: 1, verdict });
  assert.equal(last()?.reason, "coin-reserved");
  await step({ kind: "displaced", by: winner });
  assert.deepEqual([last()?.state, last()?.reason], ["failed", "displaced"]);
  assert.equal(live.get(hash)?.voiding, true);
});

test("an expired spend keeps that as its end when its coins are taken later", async () => {
  const { step, live, at, last } = await bench();
  at(expiry);
  await step({ kind: "tick" });
  assert.equal(last()?.state, "expired");
  await step({ kind: "conflicted", depth: 6 });
  assert.equal(live.has(hash), false);
  assert.equal(last()?.state, "expired");
});
