import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  compareFence,
  decodeCanonical,
  encodeCanonical,
  type FenceAnswer,
  type FenceChallenge,
  fenceAnswerHash,
  fenceAnswerSchema,
  isCairnError,
  judgeFence,
  provesSetBack,
  signFenceAnswer,
  verifyFenceAnswer,
} from "../src/index.ts";
import { alterations, refuses } from "../test-support/index.ts";
import { hash, inForceOf, NOW, node, nodeKey } from "./small-cluster.ts";

const { manifest } = inForceOf();
const challenge: FenceChallenge = {
  version: 1,
  cluster: manifest.cluster,
  challenger: node(1),
  node: node(2),
  nonce: hash("nonce"),
  remembered: null,
};
const answer: FenceAnswer = {
  version: 1,
  cluster: manifest.cluster,
  node: node(2),
  challenger: node(1),
  nonce: hash("nonce"),
  position: { epoch: 3, burnCounter: 40, auditLength: 500 },
  auditHead: hash("head"),
  continues: { auditLength: 480, auditHead: hash("head before") },
  remembered: null,
  answeredAt: NOW,
};
const check = (body: FenceAnswer, signer = nodeKey(2), to = challenge) =>
  verifyFenceAnswer(signFenceAnswer(body, signer), to, manifest);

test("an answer counts for the challenge that it answers, once, and for no other", () => {
  check(answer);
  refuses("replayed", () => check(answer, nodeKey(2), { ...challenge, nonce: hash("later") }));
  refuses("replayed", () => check({ ...answer, nonce: hash("earlier") }));
  refuses("wrong-recipient", () => check({ ...answer, challenger: node(3) }));
  refuses("wrong-recipient", () => check({ ...answer, node: node(3) }));
  refuses("signature-invalid", () => check(answer, nodeKey(2), { ...challenge, node: node(3) }));
  refuses("wrong-cluster", () => check({ ...answer, cluster: hash("other") }));
  refuses("signature-invalid", () => check(answer, nodeKey(3)));
});

test("no field of a signed answer can be altered", () => {
  const signed = signFenceAnswer(answer, nodeKey(2));
  for (const { path, altered } of alterations(answer)) {
    assert.throws(
      () => verifyFenceAnswer({ ...signed, body: altered }, challenge, manifest),
      isCairnError,
      path,
    );
  }
});

test("answers survive canonical bytes, and what is below zero is no position", () => {
  assert.deepEqual(decodeCanonical(fenceAnswerSchema, encodeCanonical(answer)), answer);
  for (const field of ["epoch", "burnCounter", "auditLength"] as const) {
    const bad = { ...answer, position: { ...answer.position, [field]: -1 } };
    refuses("malformed", () => decodeCanonical(fenceAnswerSchema, encodeCanonical(bad)));
  }
});

const positions = fc.record({ epoch: fc.nat(3), burnCounter: fc.nat(3), auditLength: fc.nat(3) });

test("positions are ordered by epoch, then burn counter, then audit length", () => {
  const key = (p: { epoch: number; burnCounter: number; auditLength: number }) =>
    p.epoch * 100 + p.burnCounter * 10 + p.auditLength;
  fc.assert(
    fc.property(positions, positions, (a, b) => {
      assert.equal(Math.sign(compareFence(a, b)), Math.sign(key(a) - key(b)));
      const known = { position: b, auditHead: hash("head") };
      const judged = judgeFence(known, {
        position: a,
        auditHead: hash("head"),
        continues: { auditLength: b.auditLength, auditHead: hash("head") },
      });
      assert.equal(judged, key(a) < key(b) ? "behind" : "current");
    }),
  );
});

test("a node that answers from a snapshot is behind, and one that grew a second log has forked", () => {
  const known = { position: answer.position, auditHead: answer.auditHead };
  const same = { ...answer, continues: { auditLength: 500, auditHead: answer.auditHead } };
  assert.equal(judgeFence(null, answer), "current");
  assert.equal(judgeFence(known, same), "current");
  assert.equal(judgeFence(known, { ...same, auditHead: hash("other") }), "forked");
  const back = { ...answer.position, burnCounter: 39, auditLength: 900 };
  assert.equal(judgeFence(known, { ...same, position: back }), "behind");
  const restored = { epoch: 4, burnCounter: 0, auditLength: 0 };
  assert.equal(judgeFence(known, { ...answer, position: restored, continues: null }), "current");
});

test("two answers prove a rollback only where the later names the earlier, or both contradict each other", () => {
  const later: FenceAnswer = {
    ...answer,
    position: { epoch: 3, burnCounter: 39, auditLength: 400 },
    auditHead: hash("head of the snapshot"),
    continues: { auditLength: 500, auditHead: null },
    remembered: fenceAnswerHash(answer),
  };
  assert.equal(provesSetBack(answer, later), "behind");
  assert.equal(provesSetBack(later, answer), null);
  assert.equal(provesSetBack(answer, { ...later, remembered: null }), null);
  assert.equal(provesSetBack(answer, { ...later, remembered: hash("another answer") }), null);
  assert.equal(provesSetBack(answer, { ...later, node: node(3) }), null);
  assert.equal(provesSetBack(answer, { ...later, position: { ...later.position, epoch: 4 } }), null);
  const goesOn = { ...answer, continues: { auditLength: 500, auditHead: answer.auditHead } };
  assert.equal(provesSetBack(answer, { ...goesOn, remembered: fenceAnswerHash(answer) }), null);
  const other = { ...answer, auditHead: hash("another history") };
  assert.equal(provesSetBack(answer, other), "forked");
  assert.equal(provesSetBack(other, answer), "forked");
  assert.equal(provesSetBack(answer, { ...other, position: { ...other.position, epoch: 4 } }), null);
});

test("an answer that does not name what the challenge showed counts for nothing", () => {
  const shown = { ...challenge, remembered: signFenceAnswer(answer, nodeKey(2)) };
  check({ ...answer, remembered: fenceAnswerHash(answer) }, nodeKey(2), shown);
  refuses("replayed", () => check(answer, nodeKey(2), shown));
  refuses("replayed", () => check({ ...answer, remembered: hash("other") }, nodeKey(2), shown));
  refuses("replayed", () => check({ ...answer, remembered: fenceAnswerHash(answer) }));
});

test("a log that outgrew the remembered one counts only when it holds its newest entry", () => {
  const known = { position: answer.position, auditHead: answer.auditHead };
  const longer = { ...answer, position: { ...answer.position, auditLength: 501 }, auditHead: hash("newer") };
  const held = (auditHead: FenceAnswer["auditHead"] | null, auditLength = 500) =>
    judgeFence(known, { ...longer, continues: { auditLength, auditHead } });
  assert.equal(held(answer.auditHead), "current");
  assert.equal(held(hash("written after the rollback")), "forked");
  assert.equal(held(null), "behind");
  assert.equal(held(answer.auditHead, 499), "behind");
  assert.equal(judgeFence(known, { ...longer, continues: null }), "behind");
  const burned = { ...longer, position: { epoch: 3, burnCounter: 41, auditLength: 400 } };
  assert.equal(judgeFence(known, { ...burned, continues: { auditLength: 500, auditHead: null } }), "behind");
});
