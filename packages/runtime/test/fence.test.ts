import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decodeCanonical,
  encodeCanonical,
  isCairnError,
  type NodeIndex,
  provesSetBack,
  type SignedFenceAnswer,
  signedFenceAnswerSchema,
} from "@cairn/core";
import fc from "fast-check";
import { copyOf, type FenceBench, type FencedNode, fencedCluster, hashOf } from "./fence-bench.ts";

const rolledBack = (error: unknown) => isCairnError(error, "rolled-back");

function nodeOf(bench: FenceBench, index: number): FencedNode {
  const node = bench.nodes.get(index as NodeIndex);
  assert.ok(node);
  return node;
}

/** Lets node 5 go on with its work and have all peers hear of it. */
async function goOn(bench: FenceBench, entries: number, burns: number): Promise<void> {
  const { disk } = nodeOf(bench, 5);
  for (let at = 0; at < entries; at += 1) disk.entries.push(hashOf(`later ${disk.entries.length}`));
  disk.burns += burns;
  await bench.pass(60_000);
}

test("nodes that go on are current to each other, and may act once enough peers have asked", async () => {
  const bench = await fencedCluster();
  for (const { own, desk, index } of bench.nodes.values()) {
    assert.ok(own.admits);
    await own.admitted();
    for (const other of bench.nodes.keys()) assert.equal(desk.isCurrent(other), other !== index);
  }
  await nodeOf(bench, 1).desk.admit([1, 2, 3, 4, 5] as NodeIndex[]);
});

test("two peers are too few to let a node of five act, whatever they say", async () => {
  const bench = await fencedCluster();
  const { disk } = nodeOf(bench, 5);
  bench.disconnect(nodeOf(bench, 5));
  bench.disconnect(nodeOf(bench, 4));
  bench.disconnect(nodeOf(bench, 3));
  const back = await bench.start(5, disk);
  await bench.connect(back);
  assert.ok(!back.own.admits);
  const admission = back.desk.admit([1 as NodeIndex]);
  bench.clock.advance(1_000);
  await assert.rejects(admission, (error) => isCairnError(error, "busy"));
});

test("a node whose files are of last week is refused by its peers, hears so by its own signature, and abstains", async () => {
  const bench = await fencedCluster();
  const lastWeek = copyOf(nodeOf(bench, 5).disk);
  await goOn(bench, 4, 1);
  bench.disconnect(nodeOf(bench, 5));
  const back = await bench.start(5, lastWeek);
  await bench.connect(back);
  await assert.rejects(back.own.admitted(), rolledBack);
  assert.throws(() => back.own.refuseRolledBack(), rolledBack);
  assert.deepEqual(back.audited, ["rolled-back"]);
  assert.ok(back.events.includes("rolled-back"));
  for (const index of [1, 2, 3, 4]) {
    const { desk, events, audited } = nodeOf(bench, index);
    assert.deepEqual(desk.refused(), [5]);
    assert.throws(() => desk.refuseSetBack(5 as NodeIndex), rolledBack);
    await assert.rejects(desk.admit([5 as NodeIndex]), rolledBack);
    assert.ok(events.includes("5 behind"));
    assert.ok(audited.includes("peer-set-back"));
  }
});

test("what a peer finds out proves it to those who remembered less: they refuse too, until the node answers as far as it once was", async () => {
  const bench = await fencedCluster();
  const lastWeek = copyOf(nodeOf(bench, 5).disk);
  const { disk } = nodeOf(bench, 5);
  disk.entries.push(hashOf("later"));
  // Node 1 alone hears of the later state.
  bench.intercept = (from, to, message) => (from === 5 && to !== 1 ? null : message);
  await bench.pass(60_000);
  bench.intercept = (_, __, message) => message;
  const latest = copyOf(disk);
  bench.disconnect(nodeOf(bench, 5));
  const back = await bench.start(5, lastWeek);
  await bench.connect(back);
  const { desk } = nodeOf(bench, 2);
  assert.deepEqual(desk.refused(), [], "node 2 remembers no more than the node holds now");
  const [proof] = bench.proofs;
  assert.ok(proof?.by === 1);
  const [earlier, later] = proof.answers;
  assert.equal(provesSetBack(earlier.body, later.body), "behind");

  await desk.hold(5 as NodeIndex, earlier);
  assert.deepEqual(desk.refused(), [5]);
  await bench.settle();
  assert.deepEqual(desk.refused(), [5]);
  assert.ok(nodeOf(bench, 2).events.some((event) => event === "5 behind" || event === "5 forked"));

  // Its newest files are put back: it is let in by all, and the old proof, shown again, changes nothing.
  bench.disconnect(back);
  await bench.connect(await bench.start(5, latest));
  for (const index of [1, 2, 3, 4]) assert.ok(nodeOf(bench, index).desk.isCurrent(5 as NodeIndex));
  await desk.hold(5 as NodeIndex, earlier);
  assert.ok(desk.isCurrent(5 as NodeIndex));
});

test("an honest node that is asked by a hostile challenger signs nothing that proves a rollback", async () => {
  const bench = await fencedCluster();
  const answersOf5 = (): SignedFenceAnswer[] =>
    bench.wire.flatMap(({ from, message }) =>
      from === 5 && message.kind === "fence-answer"
        ? [decodeCanonical(signedFenceAnswerSchema, message.payload)]
        : [],
    );
  const { desk, disk } = nodeOf(bench, 5);
  for (let round = 0; round < 6; round += 1) {
    // A clock that is set back proves nothing either: it has no say.
    if (round % 2 === 0) disk.entries.push(hashOf(`entry ${round}`));
    else disk.burns += 1;
    for (const remembered of [null, ...answersOf5().slice(-8)]) {
      const challenge = { version: 1, cluster: bench.manifest.cluster, challenger: 2, node: 5 };
      const asked = encodeCanonical({ ...challenge, nonce: hashOf(`nonce ${round}`), remembered });
      await desk.onChallenge(2 as NodeIndex, asked);
    }
  }
  const answers = answersOf5();
  assert.ok(answers.length > 40);
  for (const earlier of answers)
    for (const later of answers) assert.equal(provesSetBack(earlier.body, later.body), null);
});

test("a node that was set back is found out also when its log has outgrown the one it lost", async () => {
  const bench = await fencedCluster();
  const lastWeek = copyOf(nodeOf(bench, 5).disk);
  await goOn(bench, 2, 0);
  bench.disconnect(nodeOf(bench, 5));
  for (let at = 0; at < 7; at += 1) lastWeek.entries.push(hashOf(`anew ${at}`));
  const back = await bench.start(5, lastWeek);
  await bench.connect(back);
  await assert.rejects(back.own.admitted(), rolledBack);
  assert.deepEqual(nodeOf(bench, 1).desk.refused(), [5]);
  assert.ok(nodeOf(bench, 1).events.includes("5 forked"));
});

test("a raised epoch lets a restored node in, without the presignatures it had", async () => {
  const bench = await fencedCluster();
  nodeOf(bench, 5).disk.ready.push("aa", "bb");
  const backup = copyOf(nodeOf(bench, 5).disk);
  await goOn(bench, 4, 1);
  bench.disconnect(nodeOf(bench, 5));
  const back = await bench.start(5, backup, 1);
  assert.deepEqual(back.audited, ["epoch-raised"]);
  assert.deepEqual(backup.ready, []);
  await bench.connect(back);
  assert.ok(back.own.admits);
  assert.ok(nodeOf(bench, 1).desk.isCurrent(5 as NodeIndex));
  // From now on the earlier epoch is behind, however long its log is.
  bench.disconnect(back);
  const older = copyOf(backup);
  older.epoch = 0;
  older.burns = 99;
  await bench.connect(await bench.start(5, older));
  assert.deepEqual(nodeOf(bench, 1).desk.refused(), [5]);
});

test("an epoch file that is older than the database is refused at the start", async () => {
  const bench = await fencedCluster();
  const { disk } = nodeOf(bench, 5);
  bench.disconnect(nodeOf(bench, 5));
  await bench.start(5, disk, 3);
  await assert.rejects(bench.start(5, disk, 2), rolledBack);
});

test("an answer counts once, for the newest challenge alone", async () => {
  const bench = await fencedCluster();
  const answers = bench.wire.filter(({ from, to, message }) => {
    return from === 5 && to === 1 && message.kind === "fence-answer";
  });
  const [answer] = answers;
  assert.ok(answer);
  const { desk } = nodeOf(bench, 1);
  const replayed = (error: unknown) => isCairnError(error, "replayed");
  await assert.rejects(desk.onAnswer(5 as NodeIndex, answer.message.payload), replayed);
  // The answer to a challenge that was asked again since comes too late.
  bench.intercept = (from, to, message) => (from === 5 && to === 1 ? null : message);
  await bench.pass(60_000);
  const late = bench.wire.findLast(({ from, to }) => from === 5 && to === 1);
  assert.ok(late);
  await bench.pass(5_000);
  await assert.rejects(desk.onAnswer(5 as NodeIndex, late.message.payload), replayed);
});

test("nobody can make a node believe that it was set back but by its own signature", async () => {
  const bench = await fencedCluster();
  await goOn(bench, 1, 0);
  const { disk, own, desk } = nodeOf(bench, 5);
  const [of4] = nodeOf(bench, 1)
    .desk.records()
    .filter(({ body }) => body.node === 4);
  assert.ok(of4);
  const challenge = (remembered: unknown) =>
    desk.onChallenge(
      1 as NodeIndex,
      encodeCanonical({
        version: 1,
        cluster: bench.manifest.cluster,
        challenger: 1,
        node: 5,
        nonce: hashOf("nonce"),
        remembered,
      }),
    );
  const position = { epoch: 7, burnCounter: 1_000, auditLength: disk.entries.length };
  await assert.rejects(challenge({ ...of4, body: { ...of4.body, node: 5, position } }), (error) =>
    isCairnError(error, "signature-invalid"),
  );
  await assert.rejects(challenge(of4), (error) => isCairnError(error, "signature-invalid"));
  assert.ok(own.admits);
});

test("an honest node is never refused, wherever it crashes and restarts", async () => {
  const step = fc.oneof(
    fc.constant("work" as const),
    fc.constant("burn" as const),
    fc.constant("ask" as const),
    // The process dies with what is on its disk, before or after the answer has left.
    fc.constant("crash" as const),
    fc.constant("crash before the answer" as const),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const bench = await fencedCluster();
      for (const what of steps) {
        const { disk } = nodeOf(bench, 5);
        if (what === "work") disk.entries.push(hashOf(`entry ${disk.entries.length}`));
        else if (what === "burn") disk.burns += 1;
        else {
          bench.intercept = (from, _, message) =>
            what === "crash before the answer" && from === 5 ? null : message;
          await bench.pass(60_000);
          bench.intercept = (_, __, message) => message;
          if (what === "ask") continue;
          bench.disconnect(nodeOf(bench, 5));
          await bench.connect(await bench.start(5, disk));
        }
        for (const { desk, own } of bench.nodes.values()) {
          assert.deepEqual(desk.refused(), []);
          assert.ok(own.admits);
        }
      }
    }),
    { numRuns: 12 },
  );
});
