import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  type ExecutionId,
  isCairnError,
  type KeyPath,
  type NodeIndex,
  type PresignatureId,
} from "@cairn/core";
import type {
  Engine,
  EngineFailure,
  EngineResult,
  EngineSession,
  EngineSpec,
  IssuePartial,
} from "../src/index.ts";
import { createMemoryEngine } from "../src/memory-engine.ts";
import { keyId, nodesOf } from "./bench/session-bench.ts";

const parties = nodesOf(1, 2, 3);
const signers = nodesOf(1, 2);
const path: KeyPath = [0, 7];
const preimage = new Uint8Array(Buffer.from("a preimage"));
const execution = (text: string) => text.repeat(32) as ExecutionId;

function engines(): Map<NodeIndex, Engine> {
  return new Map(parties.map((node) => [node, createMemoryEngine({ seed: Uint8Array.of(node) })]));
}

/** Runs one session, until `enough` nodes have ended, over the engines' own ports, with every message handed to whom it is for. */
async function runSession(
  all: ReadonlyMap<NodeIndex, Engine>,
  nodes: readonly NodeIndex[],
  specOf: (me: NodeIndex) => EngineSpec,
  alter: (from: NodeIndex, to: NodeIndex, payload: Uint8Array) => Uint8Array = (_from, _to, payload) =>
    payload,
  enough = nodes.length,
): Promise<Map<NodeIndex, EngineResult | EngineFailure>> {
  const ends = new Map<NodeIndex, EngineResult | EngineFailure>();
  const sessions = new Map<NodeIndex, EngineSession>();
  await new Promise<void>((resolve) => {
    const end = (node: NodeIndex, outcome: EngineResult | EngineFailure) => {
      assert.ok(!ends.has(node), "a session ended twice");
      ends.set(node, outcome);
      if (ends.size === enough) resolve();
    };
    for (const me of nodes) {
      const session = all.get(me)?.start(specOf(me), {
        send({ to, payload }) {
          for (const node of to === null ? nodes.filter((other) => other !== me) : [to]) {
            sessions.get(node)?.receive(me, alter(me, node, payload));
          }
        },
        progress() {},
        done: (result) => end(me, result),
        failed: (failure) => end(me, failure),
      });
      assert.ok(session !== undefined);
      sessions.set(me, session);
    }
  });
  return ends;
}

function resultOf<Kind extends EngineResult["kind"]>(
  ends: ReadonlyMap<NodeIndex, EngineResult | EngineFailure>,
  node: number,
  kind: Kind,
): Extract<EngineResult, { readonly kind: Kind }> {
  const end = ends.get(node as NodeIndex);
  assert.ok(end !== undefined && "kind" in end && end.kind === kind);
  return end as Extract<EngineResult, { readonly kind: Kind }>;
}

async function presigned() {
  const all = engines();
  const aux = await runSession(all, parties, (me) => ({
    kind: "cggmp24-aux",
    executionId: execution("a0"),
    me,
    parties,
  }));
  const keys = await runSession(all, parties, (me) => ({
    kind: "cggmp24-keygen",
    executionId: execution("a1"),
    keyId,
    epoch: 0,
    me,
    parties,
    threshold: 2,
    sealedAux: resultOf(aux, me, "cggmp24-aux").sealedAux,
  }));
  const keyOf = (node: number) => {
    const end = keys.get(node as NodeIndex);
    assert.ok(end !== undefined && "publicPackage" in end);
    return end;
  };
  const items = ["b1", "b2"].map((text) => ({ presignatureId: text.repeat(32) as PresignatureId, path }));
  const made = await runSession(all, signers, (me) => ({
    kind: "cggmp24-presign",
    executionId: execution("a2"),
    keyId,
    epoch: 0,
    me,
    signers,
    sealedShare: keyOf(me).sealedShare,
    items,
  }));
  const itemOf = (node: number, at: number) => {
    const found = resultOf(made, node, "cggmp24-presign").items[at];
    assert.ok(found !== undefined);
    return found;
  };
  const issue = (node: number, at: number, burnCounter: number): IssuePartial => {
    const { presignatureId, sealed } = itemOf(node, at);
    const receipt = { presignatureId, epoch: 0, burnCounter };
    const me = node as NodeIndex;
    return { keyId, epoch: 0, me, sealedPresignature: sealed, receipt, path, signers, preimage };
  };
  const engine = (node: number) => {
    const found = all.get(node as NodeIndex);
    assert.ok(found !== undefined);
    return found;
  };
  return { all, keyOf, itemOf, issue, engine };
}

describe("the in-memory engine", () => {
  test("says of itself that it is not the real one", () => {
    assert.equal(createMemoryEngine({ seed: Uint8Array.of(1) }).level, "reduced");
  });

  test("makes one key for all parties, and partials that combine into a signature that verifies", async () => {
    const { keyOf, itemOf, issue, engine } = await presigned();
    assert.deepEqual(keyOf(1).publicPackage, keyOf(3).publicPackage);
    assert.deepEqual(itemOf(1, 0).publicData, itemOf(2, 0).publicData);
    const partials = await Promise.all(
      signers.map(async (from) => ({ from, partial: await engine(from).issuePartial(issue(from, 0, 1)) })),
    );
    const { publicPackage } = keyOf(3);
    const { publicData } = itemOf(1, 0);
    const signature = await engine(3).combinePartials({
      publicPackage,
      publicData,
      path,
      preimage,
      partials,
    });
    assert.ok(await engine(3).verify({ publicPackage, path, preimage, signature }));
    assert.ok(!(await engine(3).verify({ publicPackage, path: [0, 8], preimage, signature })));
    const altered = signature.map((byte, at) => (at === 40 ? byte ^ 1 : byte));
    assert.ok(!(await engine(3).verify({ publicPackage, path, preimage, signature: altered })));
    const { threshold, parties: named } = await engine(1).describe(publicPackage);
    assert.deepEqual([threshold, named], [2, parties]);
  });

  test("gives a second partial of a presignature to nobody, nor one for a burn receipt that does not rise", async () => {
    const { issue, engine } = await presigned();
    const used = (error: unknown) => isCairnError(error, "presignature-used");
    await engine(1).issuePartial(issue(1, 0, 5));
    await assert.rejects(engine(1).issuePartial(issue(1, 0, 6)), used);
    await assert.rejects(engine(1).issuePartial(issue(1, 1, 5)), used);
    await engine(1).issuePartial(issue(1, 1, 6));
    const mismatch = (error: unknown) => isCairnError(error, "presignature-mismatch");
    await assert.rejects(engine(2).issuePartial({ ...issue(2, 0, 1), path: [0, 8] }), mismatch);
    await assert.rejects(engine(2).issuePartial({ ...issue(2, 0, 1), signers: nodesOf(2, 3) }), mismatch);
    await assert.rejects(engine(2).issuePartial({ ...issue(1, 1, 10), me: 2 as NodeIndex }), mismatch);
  });

  test("blames whose partial is wrong", async () => {
    const { keyOf, itemOf, issue, engine } = await presigned();
    const right = await engine(1).issuePartial(issue(1, 0, 1));
    const other = await engine(2).issuePartial({ ...issue(2, 0, 1), preimage: Uint8Array.of(1) });
    const partials = [
      { from: 1 as NodeIndex, partial: right },
      { from: 2 as NodeIndex, partial: other },
    ];
    const { publicPackage } = keyOf(1);
    const { publicData } = itemOf(1, 0);
    await assert.rejects(
      engine(1).combinePartials({ publicPackage, publicData, path, preimage, partials }),
      (error) => {
        assert.ok(isCairnError(error, "invalid-partial"));
        assert.deepEqual(error.data.blamed, [2]);
        return true;
      },
    );
  });

  test("fails with blame on a message that is none, with none on a split broadcast, and on a blob of another's making", async () => {
    const spec = (me: NodeIndex): EngineSpec => ({
      kind: "frost-keygen",
      executionId: execution("c1"),
      keyId,
      epoch: 0,
      me,
      parties,
      threshold: 2,
    });
    const noisy = (from: NodeIndex, _to: NodeIndex, payload: Uint8Array) =>
      from === 3 ? Uint8Array.of(0xff) : payload;
    // Node 3 itself only waits: nobody answers it any more.
    const noise = (await runSession(engines(), parties, spec, noisy, 2)).get(1 as NodeIndex);
    assert.ok(noise !== undefined && "code" in noise);
    assert.deepEqual([noise.code, noise.blamed], ["invalid-round-message", [3]]);

    const split = await runSession(engines(), parties, spec, (from, to, payload) =>
      from === 3 && to === 1
        ? payload.map((byte, at) => (at === payload.length - 1 ? byte ^ 1 : byte))
        : payload,
    );
    const codes = [...split.values()].map((end) => ("code" in end ? end.code : end.kind));
    assert.deepEqual(codes, ["equivocation", "equivocation", "equivocation"]);

    const foreign = await runSession(engines(), signers, (me) => ({
      kind: "frost-sign",
      executionId: execution("c2"),
      keyId,
      epoch: 0,
      me,
      signers,
      sealedShare: Uint8Array.of(1),
      items: [{ path, preimage }],
    }));
    const [first] = foreign.values();
    assert.ok(first !== undefined && "code" in first && first.code === "sealed-blob-invalid");
  });
});
