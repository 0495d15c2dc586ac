import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  type HashHex,
  type KeyId,
  type NodeIndex,
  type Nonce,
  type SessionId,
  toHex,
  type UnixMs,
} from "@cairn/core";
import fc from "fast-check";
import {
  type AttemptLedger,
  type AttemptPlan,
  type AttemptSettings,
  attemptBegan,
  attemptBound,
  attemptEnded,
  decideAttempt,
  defaultAttemptSettings,
  emptyLedger,
  endAttempt,
  executionIdOf,
  grantSubject,
  initiatorOfAttempt,
  initiatorOrder,
  isValidSubset,
  judgeProposal,
  newAttemptPlan,
  type Proposal,
  type ProposalFacts,
  preferredSubsets,
  proposalSchema,
  pruneLedger,
  restoreLedger,
  type SigningGrant,
  sessionIdOf,
  subjectKey,
  subsetOfAttempt,
  subsetsInOrder,
} from "../src/index.ts";
import { cluster, nodesOf, SessionBench } from "./bench/session-bench.ts";
import { grantId, signProposal } from "./bench/stocked-bench.ts";

const members = nodesOf(1, 2, 3, 4, 5);
const hash = (text: string) => text.repeat(32) as HashHex;
const grant: SigningGrant = {
  grantId,
  keyId: "4e".repeat(32) as KeyId,
  participants: members,
  threshold: 4,
  notBefore: 1_000_000 as UnixMs,
  expiry: 2_000_000 as UnixMs,
  nonce: "0f".repeat(32) as Nonce,
  protocolVersion: 1,
  inputs: [],
};
const subject = grantSubject(grant);
const order = initiatorOrder(subject.orderBy, subject.nonce, members);

describe("subsets", () => {
  test("all t-subsets come once each, ascending, in an order that the subject alone decides", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 8 }),
        fc.nat(),
        fc.constantFrom("aa", "bb"),
        (total, choice, text) => {
          const threshold = 2 + (choice % (total - 1));
          const nodes = nodesOf(...Array.from({ length: total }, (_, at) => at + 1));
          const subsets = subsetsInOrder(hash(text), nodes, threshold);
          assert.equal(new Set(subsets.map((subset) => subset.join())).size, binomial(total, threshold));
          assert.equal(subsets.length, binomial(total, threshold));
          for (const subset of subsets) assert.ok(isValidSubset(subset, nodes, threshold));
          assert.deepEqual(subsetsInOrder(hash(text), [...nodes].reverse(), threshold), subsets);
          assert.deepEqual(subsetOfAttempt(subsets, subsets.length), subsets[0]);
        },
      ),
      { numRuns: 50 },
    );
    assert.notDeepEqual(subsetsInOrder(hash("aa"), members, 4), subsetsInOrder(hash("bb"), members, 4));
  });

  test("keep the order that was agreed on", () => {
    assert.deepEqual(
      subsetsInOrder(hash("aa"), members, 4).map((subset) => subset.join("")),
      GOLDEN_SUBSETS,
    );
    assert.deepEqual([...initiatorOrder(hash("aa"), "bb".repeat(32) as Nonce, members)], GOLDEN_INITIATORS);
  });

  test("wrong size, order, repetition and strangers are invalid", () => {
    for (const signers of [
      [1, 2, 3],
      [1, 2, 3, 4, 5],
      [2, 1, 3, 4],
      [1, 1, 2, 3],
      [1, 2, 3, 6],
    ]) {
      assert.equal(isValidSubset(nodesOf(...signers), members, 4), false);
    }
  });
});

test("every member initiates once in n attempts, and nonce and subject both move the order", () => {
  assert.deepEqual([...order].sort(), members);
  assert.equal(initiatorOfAttempt(order, 7), order[2]);
  const orders = new Set(
    ["aa", "bb", "cc", "dd"].flatMap((text) => [
      initiatorOrder(hash(text), subject.nonce, members).join(),
      initiatorOrder(subject.orderBy, text.repeat(32) as Nonce, members).join(),
    ]),
  );
  assert.ok(orders.size > 4);
});

test("attempts are n at once and one more with every slot", () => {
  const bound = (now: number) => attemptBound({ members: 5, notBefore: 1_000, now, slotMs: 100 });
  assert.deepEqual([bound(500), bound(1_000), bound(1_099), bound(1_100), bound(1_950)], [5, 5, 5, 6, 14]);
});

describe("a proposal", () => {
  test("that does not hold together does not parse", () => {
    const proposal = signProposal({ signers: nodesOf(1, 2, 3, 4) });
    assert.ok(proposalSchema.safeParse(proposal).success);
    const wrong: Partial<Record<keyof Proposal, unknown>>[] = [
      { attempt: 1 },
      { signers: [4, 3, 2, 1] },
      { signers: [1, 2, 3, 3] },
      { subject: "bc".repeat(32) },
      { protocolVersion: 2 },
      { purpose: "keygen" },
      { stage: { step: "aux", part: 0 } },
      { items: ["aa".repeat(32), "aa".repeat(32)] },
      { cluster: "00".repeat(32) },
    ];
    for (const change of wrong) {
      assert.equal(
        proposalSchema.safeParse({ ...proposal, ...change }).success,
        false,
        JSON.stringify(change),
      );
    }
  });

  test("has a session id that follows from subject, stage, attempt, signers and version alone", () => {
    const proposal = signProposal({ signers: nodesOf(1, 2, 3, 4) });
    assert.equal(sessionIdOf({ ...proposal }), proposal.sessionId);
    const changed = [
      { ...proposal, attempt: 1 },
      { ...proposal, signers: nodesOf(1, 2, 3, 5) },
      { ...proposal, subject: hash("ab") },
      { ...proposal, protocolVersion: 2 },
      { ...proposal, stage: { step: "aux" as const, part: 0 } },
      { ...proposal, purpose: "presign" as const },
    ];
    assert.equal(new Set(changed.map((each) => sessionIdOf(each))).size, changed.length);
    assert.equal(proposal.sessionId, GOLDEN_SESSION);
  });
});

test("an execution id follows from the session and every nonce, in order", () => {
  const session = "aa".repeat(32) as SessionId;
  const acks = nodesOf(1, 2).map((node) => ({ node, nonce: `0${node}`.repeat(32) as Nonce }));
  assert.equal(executionIdOf(session, acks), GOLDEN_EXECUTION);
  const swapped = acks.map(({ node }, at) => ({ node, nonce: acks[1 - at]?.nonce ?? ("" as Nonce) }));
  assert.notEqual(executionIdOf(session, swapped), GOLDEN_EXECUTION);
});

describe("the ledger", () => {
  const bench = new SessionBench(5);
  const signers = members.filter((node) => node !== 5);

  function facts(from: NodeIndex, change: Partial<ProposalFacts> = {}): ProposalFacts {
    return {
      cluster,
      me: 2 as NodeIndex,
      now: 1_000_000 as UnixMs,
      from,
      fromKey: bench.node(from).signer.publicKey,
      subject,
      protocolVersions: [1],
      slotMs: 10_000,
      ...change,
    };
  }

  function proposalOf(
    attempt: number,
    change: { readonly signers?: readonly NodeIndex[]; readonly initiator?: NodeIndex } = {},
  ) {
    const initiator = change.initiator ?? initiatorOfAttempt(order, attempt) ?? (1 as NodeIndex);
    const all = [...new Set([...signers.slice(0, 3), initiator, ...signers])].slice(0, 4);
    return signProposal({ signers: change.signers ?? all.sort((a, b) => a - b), attempt, initiator });
  }

  function judge(ledger: AttemptLedger, proposal: Proposal, change: Partial<ProposalFacts> = {}) {
    return judgeProposal(ledger, bench.signed(proposal), facts(proposal.initiator, change));
  }

  function code(ledger: AttemptLedger, proposal: Proposal, change: Partial<ProposalFacts> = {}): string {
    const verdict = judge(ledger, proposal, change);
    return verdict.verdict === "refuse" ? verdict.code : verdict.verdict;
  }

  test("accepts at signers and is observed by the others", () => {
    const withMe = proposalOf(0, {
      signers: [...new Set([2 as NodeIndex, order[0] ?? 1, 1, 3, 4])]
        .slice(0, 4)
        .sort((a, b) => a - b) as NodeIndex[],
    });
    assert.equal(code(emptyLedger, withMe), "accept");
    const outsider = members.find((node) => !withMe.signers.includes(node));
    assert.equal(code(emptyLedger, withMe, { me: outsider as NodeIndex }), "observe");
  });

  test("refuses each fault with its own code", () => {
    const first = proposalOf(0);
    const wrongInitiator = members.find((node) => node !== order[0] && first.signers.includes(node));
    assert.equal(code(emptyLedger, first, { cluster: hash("00") as never }), "wrong-cluster");
    assert.equal(code(emptyLedger, first, { from: wrongInitiator as NodeIndex }), "not-initiator");
    assert.equal(
      code(emptyLedger, first, { fromKey: bench.node(wrongInitiator ?? 1).signer.publicKey }),
      "not-initiator",
    );
    assert.equal(
      code(emptyLedger, proposalOf(0, { initiator: wrongInitiator as NodeIndex })),
      "not-initiator",
    );
    assert.equal(code(emptyLedger, first, { subject: null }), "not-found");
    assert.equal(code(emptyLedger, first, { subject: { ...subject, purpose: "keygen" } }), "not-found");
    assert.equal(code(emptyLedger, first, { protocolVersions: [2] }), "unsupported-version");
    assert.equal(
      code(emptyLedger, first, { subject: { ...subject, protocolVersion: 2 } }),
      "unsupported-version",
    );
    assert.equal(code(emptyLedger, first, { now: subject.expiry as UnixMs }), "grant-expired");
    assert.equal(code(emptyLedger, first, { now: (subject.notBefore - 1) as UnixMs }), "not-yet-valid");
    assert.equal(code(emptyLedger, proposalOf(0, { signers: first.signers.slice(0, 3) })), "subset-invalid");
    const without = members.filter((node) => node !== order[0]);
    assert.equal(code(emptyLedger, proposalOf(0, { signers: without })), "subset-invalid");
    assert.equal(code(emptyLedger, proposalOf(5)), "limit-exceeded");
    assert.notEqual(
      code(emptyLedger, proposalOf(5), { now: (subject.notBefore + 10_000) as UnixMs }),
      "limit-exceeded",
    );
  });

  test("has one live attempt a subject, takes a higher one after it, and never one again, also after a restart", () => {
    const me = (order[0] ?? 1) as NodeIndex;
    const first = judge(emptyLedger, proposalOf(0), { me });
    assert.ok(first.verdict === "accept");
    const second = proposalOf(1, { signers: ascending([me, order[1] ?? 1]) });
    assert.equal(code(first.ledger, second, { me }), "session-conflict");
    const ended = endAttempt(first.ledger, proposalOf(0).sessionId);
    assert.equal(code(ended, proposalOf(0), { me }), "replayed");
    const next = judge(ended, second, { me });
    assert.ok(next.verdict === "accept");
    assert.equal(code(endAttempt(next.ledger, second.sessionId), proposalOf(0), { me }), "replayed");
    const restored = restoreLedger([
      { key: first.ledger.subjects.keys().next().value ?? "", attempt: 1, expiry: subject.expiry },
      { key: first.ledger.subjects.keys().next().value ?? "", attempt: 0, expiry: subject.expiry },
    ]);
    assert.equal(code(restored, second, { me }), "replayed");
    const third = proposalOf(2, { signers: ascending([me, order[2] ?? 1]) });
    assert.equal(code(restored, third, { me }), "accept");
    assert.equal(pruneLedger(ended, (subject.expiry + 10) as UnixMs, 5).subjects.size, 0);
    assert.equal(pruneLedger(first.ledger, (subject.expiry + 10) as UnixMs, 5).subjects.size, 1);
  });

  function ascending(wanted: readonly number[]): NodeIndex[] {
    return nodesOf(...[...new Set([...wanted, ...members])].slice(0, 4)).sort((a, b) => a - b);
  }
});

describe("the schedule", () => {
  const settings: AttemptSettings = defaultAttemptSettings;
  const up = new Set(members);

  function at(plan: AttemptPlan, me: NodeIndex, now: number, nodes: ReadonlySet<NodeIndex> = up) {
    return decideAttempt(plan, subject, { me, now: now as UnixMs, up: nodes, settings });
  }

  test("lets exactly the initiator of attempt 0 propose at once", () => {
    const proposing = members.filter(
      (me) =>
        at(newAttemptPlan(subject, subject.notBefore as UnixMs), me, subject.notBefore).decision ===
        "propose",
    );
    assert.deepEqual(proposing, [order[0]]);
    const early = at(
      newAttemptPlan(subject, 0 as UnixMs),
      (order[0] ?? 1) as NodeIndex,
      subject.notBefore - 1,
    );
    assert.deepEqual([early.decision, early.decision === "wait" && early.until], ["wait", subject.notBefore]);
  });

  test("begins after what the ledger has seen, as after a restart, so that a node does not wait for itself", () => {
    const [first] = order;
    assert.ok(first !== undefined);
    const ledger = restoreLedger([
      { key: subjectKey(subject), attempt: 0, expiry: subject.expiry },
      { key: "another", attempt: 7, expiry: subject.expiry },
    ]);
    const now = subject.notBefore;
    const plan = newAttemptPlan(subject, now as UnixMs, ledger);
    assert.equal(plan.attempt, 1);
    // It led attempt 0; while nobody else wants one, the next that it leads is the one after a full turn.
    const later = now + settings.slotMs;
    const decision = at(plan, first, later);
    assert.ok(decision.decision === "propose" && decision.attempt === order.length);
  });

  test("lets the next one step in when an initiator is silent, sooner when it is down", () => {
    const plan = newAttemptPlan(subject, subject.notBefore as UnixMs);
    const [first, second] = order;
    assert.ok(first !== undefined && second !== undefined);
    const waits = at(plan, second, subject.notBefore);
    assert.ok(waits.decision === "wait" && waits.until === subject.notBefore + settings.patienceMs);
    const later = at(plan, second, subject.notBefore + settings.patienceMs);
    assert.ok(later.decision === "propose" && later.attempt === 1);
    const down = at(
      plan,
      second,
      subject.notBefore + settings.downPatienceMs,
      new Set(members.filter((node) => node !== first)),
    );
    assert.ok(down.decision === "propose" && down.attempt === 1);
  });

  test("waits for a live attempt, backs off after it, remembers who failed, and gives up at expiry", () => {
    const me = (order[1] ?? 1) as NodeIndex;
    const now = subject.notBefore as UnixMs;
    let plan = attemptBegan(newAttemptPlan(subject, now), 0, (now + 5_000) as UnixMs);
    assert.deepEqual(at(plan, me, now + 4_999).decision, "wait");
    plan = attemptEnded(plan, 0, nodesOf(3), (now + 1_000) as UnixMs, subject, settings);
    const waits = at(plan, me, now + 1_000);
    assert.ok(waits.decision === "wait" && waits.until === now + 1_000 + settings.backoffMs);
    const proposes = at(plan, me, now + 1_000 + settings.backoffMs);
    assert.ok(proposes.decision === "propose" && proposes.attempt === 1);
    const [best] = preferredSubsets(plan, subject, { me, attempt: 1, up, refused: new Set() });
    if (me !== 3) assert.ok(best !== undefined && !best.includes(3 as NodeIndex));
    assert.equal(at(plan, me, subject.expiry).decision, "give-up");
  });

  test("never proposes an attempt beyond the bound that the ledger holds", () => {
    const me = (order[0] ?? 1) as NodeIndex;
    const now = subject.notBefore as UnixMs;
    const plan: AttemptPlan = { ...newAttemptPlan(subject, now), attempt: 5 };
    const waits = at(plan, me, now);
    assert.ok(waits.decision === "wait" && waits.until === now + settings.slotMs);
    assert.equal(at(plan, me, now + settings.slotMs).decision, "propose");
  });

  test("prefers subsets that are up and have not failed, never a refused node, and always holds the proposer", () => {
    fc.assert(
      fc.property(
        fc.subarray(members),
        fc.subarray(members),
        fc.nat({ max: 20 }),
        (upNodes, refused, attempt) => {
          const me = 1 as NodeIndex;
          const found = preferredSubsets(newAttemptPlan(subject, 0 as UnixMs), subject, {
            me,
            attempt,
            up: new Set(upNodes),
            refused: new Set(refused),
          });
          for (const subset of found) {
            assert.ok(subset.includes(me) && isValidSubset(subset, members, 4));
            assert.ok(!subset.some((node) => refused.includes(node)));
          }
          const missing = found.map(
            (subset) => subset.filter((node) => node !== me && !upNodes.includes(node)).length,
          );
          assert.deepEqual(
            missing,
            [...missing].sort((a, b) => a - b),
          );
        },
      ),
    );
  });

  test("brings a subset of honest nodes together though one member always aborts and blames others", () => {
    const hostile = order[2] as NodeIndex;
    let plan = newAttemptPlan(subject, subject.notBefore as UnixMs);
    let successes = 0;
    for (let attempt = 0; attempt < 15; attempt += 1) {
      const me = initiatorOfAttempt(order, attempt);
      assert.ok(me !== null);
      const [subset] = preferredSubsets(plan, subject, { me, attempt, up, refused: new Set() });
      assert.ok(subset !== undefined);
      const victim = subset.find((node) => node !== hostile && node !== me) ?? me;
      const failed = subset.includes(hostile);
      if (!failed) successes += 1;
      const now = (subject.notBefore + attempt * 1_000) as UnixMs;
      plan = attemptEnded(
        attemptBegan(plan, attempt, now),
        attempt,
        failed ? [hostile, victim] : [],
        now,
        subject,
        settings,
      );
    }
    assert.ok(successes >= 8, `${successes} of 15 attempts had no hostile signer`);
  });

  test("brings a subset of honest nodes together though one member spoils every session and is never named", () => {
    const choice = fc.record({
      subject: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      hostile: fc.constantFrom(...members),
      choices: fc.array(fc.nat(4), { minLength: 25, maxLength: 25 }),
    });
    let most = 0;
    fc.assert(
      fc.property(choice, ({ subject: id, hostile, choices }) => {
        const own = { ...subject, subject: toHex(id) as HashHex, orderBy: toHex(id) as HashHex };
        const turns = initiatorOrder(own.orderBy, own.nonce, own.members);
        const honest = members.filter((node) => node !== hostile);
        const plans = new Map(honest.map((node) => [node, newAttemptPlan(own, own.notBefore as UnixMs)]));
        for (let attempt = 0; attempt < choices.length; attempt += 1) {
          const me = initiatorOfAttempt(turns, attempt) ?? assert.fail();
          const plan = plans.get(me);
          // The hostile initiator takes whom it likes; an honest one goes by what it has seen itself.
          const left = honest[(choices[attempt] ?? 0) % honest.length];
          const facts = { me, attempt, up, refused: new Set<NodeIndex>() };
          const subset =
            plan === undefined
              ? members.filter((node) => node !== left)
              : (preferredSubsets(plan, own, facts)[0] ?? assert.fail());
          most = Math.max(most, attempt + 1);
          if (!subset.includes(hostile)) return;
          const now = (own.notBefore + attempt * 1_000) as UnixMs;
          for (const [node, before] of plans) {
            const excluded = subset.includes(node) ? subset.filter((other) => other !== node) : [];
            const began = attemptBegan(before, attempt, now);
            plans.set(node, attemptEnded(began, attempt, excluded, now, own, settings));
          }
        }
        assert.fail("no attempt had honest signers alone");
      }),
      { numRuns: 500 },
    );
    assert.ok(most <= 8, `it took ${most} attempts`);
  });
});

function binomial(n: number, k: number): number {
  let result = 1;
  for (let i = 1; i <= k; i += 1) result = (result * (n - k + i)) / i;
  return Math.round(result);
}

/** Computed apart from this code: SHA-256 over tag, a zero byte and DAG-CBOR, as architecture §5.5 says. */
const GOLDEN_SUBSETS = ["1345", "1245", "1234", "1235", "2345"];
const GOLDEN_INITIATORS = [5, 2, 1, 3, 4];
const GOLDEN_SESSION = "2dcc5a78a29e2b161476a3685bafd5ec82dbea5f76e4353041e373adfd6dc0ee";
const GOLDEN_EXECUTION = "4a5b0a9d9a29021fd20f4db3d81560998c5709a2e3fd48fb2e2a775abe440cac";
