import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeIndex } from "@cairn/core";
import { type SessionState, stepSession } from "../src/index.ts";
import { benchWithKey, fourSigners, presignedWork, signProposal, stockUp } from "./bench/stocked-bench.ts";

/** Node 1's state while it has the partials of all but node 3, and knows of nothing that is still to come. */
async function waitingForNode3(): Promise<SessionState> {
  const bench = await benchWithKey("cggmp24");
  const items = await stockUp(bench, fourSigners);
  const proposal = signProposal({ signers: fourSigners, items });
  let waiting: SessionState | undefined;
  bench.intercept = (from, to, message) =>
    message.kind === "finalize" || (message.kind === "partial" && from === 3 && to === 1) ? [] : [message];
  bench.trace = (index, entry) => {
    if (index === 1 && "event" in entry && entry.event === "tick")
      waiting ??= bench.node(1).sessions.get(proposal.sessionId);
  };
  bench.begin(proposal, (node) => presignedWork(node, items));
  await bench.run();
  assert.ok(waiting?.phase === "rounds");
  return waiting;
}

test("a session ends when a signer is gone of whom it still needs something, and nobody is blamed", async () => {
  const step = stepSession(
    await waitingForNode3(),
    { event: "departed", node: 3 as NodeIndex },
    { now: 0 as never },
  );
  assert.equal(step.state.phase, "failed");
  const ended = step.effects.find((effect) => effect.effect === "ended");
  assert.ok(ended?.effect === "ended");
  assert.deepEqual([ended.code, ended.blamed, ended.excluded], ["timeout", [], [3]]);
  const told = step.effects.flatMap((effect) =>
    effect.effect === "send" && effect.message.kind === "abort" ? [effect.message.body] : [],
  );
  assert.deepEqual(
    told.map(({ code, blamed }) => [code, blamed]),
    [["timeout", []]],
  );
  assert.equal(
    step.effects.some((effect) => effect.effect === "violation"),
    false,
  );
});

test("a session goes on without those who have said all that it needs, and those who are no signers", async () => {
  const state = await waitingForNode3();
  for (const node of [2, 4, 5] as NodeIndex[]) {
    assert.deepEqual(stepSession(state, { event: "departed", node }, { now: 0 as never }), {
      state,
      effects: [],
    });
  }
});
