import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeIndex } from "@cairn/core";
import fc from "fast-check";
import { nodesOf, preimageOf, resultOf, type SessionBench } from "./bench/session-bench.ts";
import {
  benchWithKey,
  fourSigners,
  fullWork,
  paths,
  presignedWork,
  signProposal,
  stockUp,
} from "./bench/stocked-bench.ts";

/** Choices of a network: which stream goes on next, and which messages are lost. */
const schedule = fc.record({
  picks: fc.infiniteStream(fc.nat({ max: 1000 })),
  losses: fc.infiniteStream(fc.integer({ min: 0, max: 99 })),
  lossPercent: fc.constantFrom(0, 2, 10, 40),
  crash: fc.option(fc.integer({ min: 1, max: 5 }), { nil: null }),
});
type Schedule = typeof schedule extends fc.Arbitrary<infer T> ? T : never;

function follow(bench: SessionBench, choices: Schedule): void {
  bench.pick = () => choices.picks.next().value ?? 0;
  bench.intercept = (_from, _to, message) =>
    (choices.losses.next().value ?? 0) < choices.lossPercent ? [] : [message];
  if (choices.crash !== null) bench.down.add(choices.crash as NodeIndex);
}

async function assertSafe(bench: SessionBench, names: readonly string[]): Promise<void> {
  for (const node of bench.nodes.values()) {
    const issued = node.of("issue-partial").map((effect) => effect.presignatureId);
    assert.equal(new Set(issued).size, issued.length, "a presignature gave two partials");
    for (const violation of node.of("violation")) {
      assert.equal(violation.violation, "Timeout", "an honest node was accused");
    }
    let recorded = 0;
    let burned = 0;
    for (const effect of node.effects) {
      if (effect.effect === "record-execution") recorded += 1;
      if (effect.effect === "engine-start" || effect.effect === "burn") assert.ok(recorded > 0);
      if (effect.effect === "burn") burned += 1;
      if (effect.effect === "issue-partial") assert.ok(burned > 0);
      if (effect.effect === "ended") {
        assert.ok(!effect.excluded.includes(node.index), "a node excluded itself");
      }
    }
    for (const [session, state] of node.sessions) {
      if (bench.down.has(node.index)) continue;
      assert.ok(state.phase === "done" || state.phase === "failed", `a session hangs in ${state.phase}`);
      const result = resultOf(node, session);
      if (result?.kind !== "signatures") continue;
      const { engine, publicPackage } = node;
      for (const [input, path] of paths.entries()) {
        const signature = result.signatures[input] ?? new Uint8Array();
        const verdicts = await Promise.all(
          names.map((name) =>
            engine.verify({
              publicPackage,
              path,
              preimage: preimageOf(`${name} ${input}`).preimage,
              signature,
            }),
          ),
        );
        assert.ok(verdicts.some(Boolean), "a signature left that does not verify");
      }
    }
  }
}

test("whatever is lost, delayed or crashed: no presignature gives two partials, no honest node is accused, every session ends", async () => {
  await fc.assert(
    fc.asyncProperty(schedule, fc.boolean(), async (choices, two) => {
      const bench = await benchWithKey("cggmp24");
      const items = await stockUp(bench, fourSigners);
      follow(bench, choices);
      const one = signProposal({ signers: fourSigners, items });
      bench.begin(one, (node) => presignedWork(node, items, "one"));
      if (two) {
        const other = signProposal({ signers: fourSigners, items, initiator: 2, subject: "ab".repeat(32) });
        bench.begin(other, (node) => presignedWork(node, items, "two"));
      }
      await bench.run();
      await assertSafe(bench, ["one", "two"]);
      if (!two && choices.lossPercent === 0 && (choices.crash === null || choices.crash === 5)) {
        for (const index of fourSigners) assert.notEqual(resultOf(bench.node(index), one.sessionId), null);
      }
    }),
    { numRuns: 25 },
  );
});

test("the same holds for sessions without presignatures, and without losses they all end with signatures", async () => {
  await fc.assert(
    fc.asyncProperty(schedule, async (choices) => {
      const bench = await benchWithKey("frost");
      follow(bench, choices);
      const signers = nodesOf(2, 3, 4, 5);
      const proposal = signProposal({ signers, initiator: 4 });
      bench.begin(proposal, (node) => fullWork(node, "frost", signers, "one"));
      await bench.run();
      await assertSafe(bench, ["one"]);
      if (choices.lossPercent === 0 && (choices.crash === null || choices.crash === 1)) {
        for (const index of signers) assert.notEqual(resultOf(bench.node(index), proposal.sessionId), null);
      }
    }),
    { numRuns: 25 },
  );
});
