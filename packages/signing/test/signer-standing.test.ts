import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { reactionTo } from "@cairn/consensus";
import { type HashHex, type NodeIndex, type Nonce, toHex, type UnixMs } from "@cairn/core";
import fc from "fast-check";
import {
  type AttemptPlan,
  attemptBegan,
  attemptEnded,
  defaultAttemptSettings,
  emptyStanding,
  initiatorOfAttempt,
  initiatorOrder,
  newAttemptPlan,
  preferredSubsets,
  QUARANTINE_POINTS,
  quarantined,
  type SessionSubject,
  type SignerStanding,
  STANDING_HALF_LIFE_MS,
  standingAfterFailure,
  standingAfterSuccess,
} from "../src/index.ts";
import { nodesOf } from "./bench/session-bench.ts";

const members = nodesOf(1, 2, 3, 4, 5);
const [one, two] = members as [NodeIndex, NodeIndex];
const at = (ms: number): UnixMs => (1_000_000 + ms) as UnixMs;

describe("the standing of signers", () => {
  test("a node is quarantined after as many failures as the rule says, and no sooner", () => {
    let standing = emptyStanding;
    for (let failed = 1; failed <= QUARANTINE_POINTS; failed += 1) {
      standing = standingAfterFailure(standing, [two], at(failed * 10_000));
      assert.equal(quarantined(standing, at(failed * 10_000)).has(two), failed === QUARANTINE_POINTS);
    }
    assert.deepEqual([...quarantined(standing, at(40_000))], [two]);
  });

  test("a success forgets half of what is held against all its signers, and time forgets it too", () => {
    let standing: SignerStanding = emptyStanding;
    for (let failed = 0; failed < QUARANTINE_POINTS; failed += 1) {
      standing = standingAfterFailure(standing, [one, two], at(0));
    }
    assert.deepEqual([...quarantined(standingAfterSuccess(standing, [one], at(0)), at(0))], [two]);
    assert.equal(quarantined(standing, at(STANDING_HALF_LIFE_MS)).size, 0);
    let clean = standing;
    for (let success = 0; success < 5; success += 1) clean = standingAfterSuccess(clean, [one, two], at(0));
    assert.equal(clean.size, 0, "what is good is not remembered for ever");
  });

  test("however many sessions a node spoilt, it is tried again within the hour, and a clock set back changes nothing", () => {
    let standing: SignerStanding = emptyStanding;
    for (let failed = 0; failed < 10_000; failed += 1)
      standing = standingAfterFailure(standing, [two], at(0));
    assert.ok(quarantined(standing, at(0)).has(two));
    assert.ok(quarantined(standing, at(-3_600_000)).has(two));
    assert.equal(quarantined(standing, at(3_600_000)).size, 0);
  });

  test("what keeps sessions from their end in time is never a reason to ban", () => {
    for (const code of ["timeout", "closed", "busy"] as const)
      assert.notEqual(reactionTo({ kind: "error", code }).action, "ban", code);
    for (const proven of [true, false])
      assert.equal(reactionTo({ kind: "violation", type: "Timeout", proven }).action, "exclude");
  });
});

/** Five nodes that pay one thing after another; each remembers for itself. */
class Payments {
  readonly standings = new Map<NodeIndex, SignerStanding>(members.map((node) => [node, emptyStanding]));
  now = 0;

  /** Makes attempts at one payment until one succeeds, and gives the sets of signers that were tried. */
  pay(id: Uint8Array, spoils: (node: NodeIndex) => boolean): readonly (readonly NodeIndex[])[] {
    const tried: (readonly NodeIndex[])[] = [];
    const subject = {
      subject: toHex(id) as HashHex,
      orderBy: toHex(id) as HashHex,
      nonce: "0f".repeat(32) as Nonce,
      members,
      threshold: 4,
      purpose: "sign",
      stage: null,
      protocolVersion: 1,
      notBefore: at(this.now),
      expiry: at(this.now + 3_600_000),
    } as const satisfies SessionSubject;
    const order = initiatorOrder(subject.orderBy, subject.nonce, subject.members);
    const plans = new Map(members.map((node) => [node, newAttemptPlan(subject, at(this.now))]));
    for (let attempt = 0; attempt < 25; attempt += 1) {
      const me = initiatorOfAttempt(order, attempt) ?? assert.fail();
      this.now += 2_000;
      const now = at(this.now);
      if (spoils(me)) continue;
      const facts = {
        me,
        attempt,
        up: new Set(members),
        refused: new Set<NodeIndex>(),
        quarantined: quarantined(this.#standing(me), now),
      };
      const signers = preferredSubsets(plans.get(me) as AttemptPlan, subject, facts)[0] ?? assert.fail();
      tried.push(signers);
      const faulty = signers.filter(spoils);
      for (const node of signers) {
        if (spoils(node)) continue;
        const standing = this.#standing(node);
        this.standings.set(
          node,
          faulty.length === 0
            ? standingAfterSuccess(standing, signers, now)
            : standingAfterFailure(standing, faulty, now),
        );
        const plan = attemptBegan(plans.get(node) as AttemptPlan, attempt, now);
        plans.set(node, attemptEnded(plan, attempt, faulty, now, subject, defaultAttemptSettings));
      }
      if (faulty.length === 0) return tried;
    }
    assert.fail("25 attempts and no payment");
  }

  #standing(node: NodeIndex): SignerStanding {
    return this.standings.get(node) ?? emptyStanding;
  }
}

test("over many payments a slow node spoils few attempts, nobody else falls out of favour, and it comes back once it is fast", () => {
  const ids = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(
      fc.constantFrom(...members),
      fc.array(ids, { minLength: 60, maxLength: 60 }),
      fc.array(ids, { minLength: 40, maxLength: 40 }),
      (slow, whileSlow, afterwards) => {
        const payments = new Payments();
        const spoils = (node: NodeIndex) => node === slow;
        let spoilt = 0;
        for (const id of whileSlow) {
          spoilt += payments.pay(id, spoils).filter((signers) => signers.includes(slow)).length;
          for (const standing of payments.standings.values())
            assert.ok(
              [...quarantined(standing, at(payments.now))].every(spoils),
              "only the slow one is preferred last",
            );
        }
        // Without a memory about four of five payments begin with a spoilt attempt: 48 of 60.
        assert.ok(spoilt <= 20, `${spoilt} attempts were spoilt`);
        payments.now += 3 * STANDING_HALF_LIFE_MS;
        const back = afterwards.flatMap((id) => payments.pay(id, () => false));
        assert.equal(back.length, afterwards.length, "nothing is spoilt any more");
        const share = back.filter((signers) => signers.includes(slow)).length / back.length;
        assert.ok(share > 0.5, `it signs ${share} of the payments again`);
      },
    ),
    { numRuns: 60 },
  );
});
