import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock, NodeIndex, SessionId, UnixMs } from "@cairn/core";
import {
  type AttemptPlan,
  emptyStanding,
  initiatorDriver,
  type Proposal,
  restoreLedger,
  type SessionSubject,
} from "@cairn/signing";
import { AttemptLoop } from "../src/attempt-loop.ts";
import { Loop } from "../src/loop.ts";
import type { SessionEnd } from "../src/session-owner.ts";

const members = [1, 2, 3] as NodeIndex[];
const settings = { slotMs: 1_000, patienceMs: 1_000, downPatienceMs: 100, backoffMs: 50, maxBackoffMs: 400 };
const timeouts = { ackMs: 500, startMs: 500, roundMs: 5_000, sessionMs: 5_000 };
const subject = {
  subject: "aa".repeat(32),
  orderBy: "aa".repeat(32),
  nonce: "bb".repeat(32),
  members,
  threshold: 2,
  purpose: "sign",
  stage: null,
  notBefore: 0,
  expiry: 60_000,
} as unknown as SessionSubject;

function proposalOf(attempt: number): Proposal {
  const sessionId = String(attempt).padStart(64, "0") as SessionId;
  return { attempt, sessionId, signers: [1, 2] } as unknown as Proposal;
}

/** A loop of node 1, whose turns are recorded, over a clock that jumps from timer to timer. */
function bench() {
  let now = 0;
  let timers: { readonly at: number; readonly run: () => void }[] = [];
  let open = true;
  let stale = 0;
  const clock: Clock = {
    now: () => now as UnixMs,
    monotonic: () => now,
    after: (delayMs, run) => {
      const timer = { at: now + delayMs, run };
      timers.push(timer);
      return {
        cancel: () => {
          if (!timers.includes(timer)) stale += 1;
          timers = timers.filter((other) => other !== timer);
        },
      };
    },
  };
  const report = (cause: unknown) => assert.fail(String(cause));
  const loop = new Loop({
    store: { commit: async () => {} },
    courier: {} as never,
    audit: { entries: () => [], committed: () => {}, discarded: () => {} },
    report,
  });
  const turns: { readonly at: number; readonly attempt: number; readonly plan: AttemptPlan }[] = [];
  const live = new Set<SessionId>();
  const cancelled: SessionId[] = [];
  const attempts = new AttemptLoop<string, string>(
    { me: 1 as NodeIndex, attempts: settings, timeouts },
    {
      clock,
      driver: initiatorDriver,
      ledger: { value: restoreLedger([]) },
      standing: { value: emptyStanding },
      up: () => new Set(members),
      report,
      sessions: {
        has: (session) => live.has(session),
        cancel: async (session) => void cancelled.push(session),
      },
      isOpen: async () => open,
      propose: async (_key, _attempts, plan, attempt) => void turns.push({ at: now, attempt, plan }),
    },
  );
  /** Runs timers in their order until `holds`, or until none is left. */
  const runUntil = async (holds: () => boolean) => {
    for (let count = 0; count < 200 && !holds(); count += 1) {
      const next = timers.toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined) return;
      timers = timers.filter((other) => other !== next);
      now = Math.max(now, next.at);
      next.run();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const shut = () => {
    open = false;
  };
  return {
    attempts,
    loop,
    turns,
    live,
    cancelled,
    runUntil,
    shut,
    pending: () => timers.length,
    stale: () => stale,
  };
}

test("after a failed attempt the next one follows, at a later turn", async () => {
  const { attempts, loop, turns, runUntil } = bench();
  await loop.run((batch) => attempts.add(batch, "k", subject, "job"));
  attempts.wake("k");
  await runUntil(() => turns.length === 1);
  const [first] = turns;
  assert.ok(first);
  const failed: string[] = [];
  const owner = attempts.owner("k", proposalOf(first.attempt), {
    finished: () => assert.fail("it failed"),
    failed: (_, { code }) => void failed.push(code),
  });
  await loop.run((batch) => attempts.began(batch, "k", proposalOf(first.attempt), first.plan));
  assert.equal(attempts.get("k")?.session, proposalOf(first.attempt).sessionId);
  const end = { code: "timeout", excluded: [2] } as unknown as SessionEnd;
  await loop.run((batch) => owner.ended(batch, end));
  assert.deepEqual(failed, ["timeout"]);
  assert.equal(attempts.get("k")?.session, null);
  assert.equal(attempts.get("k")?.plan.failures.get(2 as NodeIndex), 1);
  await runUntil(() => turns.length === 2);
  assert.ok(turns[1] !== undefined && turns[1].attempt > first.attempt && turns[1].at >= first.at + 50);
});

test("no turn comes before the time that is asked for, nor once the subject is closed", async () => {
  const { attempts, loop, turns, runUntil, shut } = bench();
  await loop.run((batch) => attempts.add(batch, "k", subject, "job", 7_000 as UnixMs));
  attempts.wake("k");
  await runUntil(() => turns.length === 1);
  assert.ok((turns[0]?.at ?? 0) >= 7_000);
  shut();
  attempts.wake("k");
  await runUntil(() => false);
  assert.equal(turns.length, 1);
});

test("what is removed takes no more turns, and its session that still lives here ends", async () => {
  const { attempts, loop, turns, live, cancelled, runUntil, pending } = bench();
  const { sessionId } = proposalOf(0);
  await loop.run((batch) => {
    attempts.add(batch, "k", subject, "job");
    attempts.began(batch, "k", proposalOf(0));
  });
  live.add(sessionId);
  attempts.wake("k");
  await loop.run((batch) => attempts.remove(batch, "k"));
  assert.deepEqual(cancelled, [sessionId]);
  assert.equal(pending(), 0);
  await runUntil(() => false);
  assert.deepEqual(turns, []);
});

test("a look asked for at what is gone leaves nothing behind", async () => {
  const { attempts, runUntil, pending, stale } = bench();
  attempts.wake("gone");
  attempts.retry("not there yet", 10, () => {});
  await runUntil(() => false);
  assert.equal(pending(), 0);
  attempts.close();
  assert.equal(stale(), 0, "timers that ran are still kept");
});
