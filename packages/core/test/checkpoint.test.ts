import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  AUDIT_ROOT,
  type AuditHead,
  type Checkpoint,
  checkpointAnchor,
  checkpointHash,
  checkpointSchema,
  isCairnError,
  overlapQuorum,
  parseShape,
  readCheckpointAnchor,
  type SignedCheckpoint,
  signCheckpoint,
  verifyCheckpoint,
  verifyCheckpointChain,
} from "../src/index.ts";
import { alterations, namedSigner, refuses } from "../test-support/index.ts";
import { hash, inForceOf, NOW, node, nodeKey } from "./small-cluster.ts";

const inForce = inForceOf();
const { manifest } = inForce;
const heads: AuditHead[] = [1, 2, 3, 4, 5].map((index) => ({
  node: node(index),
  epoch: 1,
  length: 10 * index,
  hash: hash(`head ${index}`),
}));
const first: Checkpoint = {
  version: 1,
  cluster: manifest.cluster,
  manifestHash: inForce.manifestHash,
  sequence: 0,
  previous: null,
  heads,
  createdAt: NOW,
};
const signedBy = (signers: readonly number[], checkpoint = first): SignedCheckpoint => ({
  checkpoint,
  signatures: signers.map((index) => signCheckpoint(checkpoint, node(index), nodeKey(index))),
});
const withHead = (checkpoint: Checkpoint, index: number, head: Partial<AuditHead>): Checkpoint => ({
  ...checkpoint,
  heads: checkpoint.heads.map((each) => (each.node === index ? { ...each, ...head } : each)),
});

test("a checkpoint needs so many nodes that two of them share an honest one", () => {
  const needed = overlapQuorum(5);
  fc.assert(
    fc.property(fc.subarray([1, 2, 3, 4, 5], { minLength: 1 }), (signers) => {
      const check = () => verifyCheckpoint(signedBy(signers), inForce);
      if (signers.length >= needed) check();
      else refuses("quorum-missing", check);
    }),
  );
});

test("no field of a co-signed checkpoint, and none of its signatures, can be altered", () => {
  const signed = signedBy([1, 2, 3, 4]);
  for (const { path, altered } of alterations(signed)) {
    assert.throws(() => verifyCheckpoint(altered, inForce), isCairnError, path);
  }
});

test("foreign, repeated and disordered signatures are refused", () => {
  const good = signedBy([1, 2, 3, 4]);
  const [one, two, three, four] = good.signatures;
  assert.ok(one && two && three && four);
  const check = (signatures: SignedCheckpoint["signatures"]) =>
    verifyCheckpoint({ ...good, signatures }, inForce);
  refuses("malformed", () => check([one, one, two, three]));
  refuses("malformed", () => check([two, one, three, four]));
  refuses("not-member", () => check([one, two, three, { ...four, node: node(6) }]));
  refuses("signature-invalid", () => check([one, two, three, { ...four, node: node(5) }]));
  const stranger = signCheckpoint(first, node(4), namedSigner("stranger"));
  refuses("signature-invalid", () => check([one, two, three, stranger]));
  const other = { ...inForce, manifestHash: hash("other") };
  refuses("wrong-manifest", () => verifyCheckpoint(good, other));
  const foreign = signedBy([1, 2, 3, 4], { ...first, cluster: hash("other") });
  refuses("wrong-cluster", () => verifyCheckpoint(foreign, inForce));
  const fewer = { ...first, heads: heads.slice(0, 4) };
  refuses("malformed", () => verifyCheckpoint(signedBy([1, 2, 3, 4], fewer), inForce));
});

test("shapes that say nothing clear are no checkpoints", () => {
  parseShape(checkpointSchema, first);
  const bad: Checkpoint[] = [
    { ...first, heads: heads.toReversed() },
    { ...first, heads: heads.slice(1) },
    { ...first, sequence: 1 },
    { ...first, previous: hash("previous") },
    withHead(first, 2, { length: 0 }),
    withHead(first, 2, { hash: AUDIT_ROOT }),
  ];
  for (const checkpoint of bad) refuses("malformed", () => parseShape(checkpointSchema, checkpoint));
  parseShape(checkpointSchema, withHead(first, 2, { length: 0, hash: AUDIT_ROOT }));
});

test("a log that goes back or is rewritten between two checkpoints is named", () => {
  const next: Checkpoint = { ...first, sequence: 1, previous: checkpointHash(first) };
  const chain = (checkpoint: Checkpoint, of = manifest) =>
    verifyCheckpointChain({ checkpoint: first, manifest }, { checkpoint, manifest: of });
  chain(next);
  chain(withHead(next, 3, { length: 31, hash: hash("grown") }));
  const broken = (checkpoint: Checkpoint, at: number | undefined, of = manifest) =>
    assert.throws(
      () => chain(checkpoint, of),
      (error) => isCairnError(error, "audit-broken") && error.data.node === at,
    );
  broken(withHead(next, 3, { length: 29, hash: hash("shorter") }), 3);
  broken(withHead(next, 3, { hash: hash("rewritten") }), 3);
  // A restore may lose entries, but never comes before an earlier one.
  chain(withHead(next, 3, { epoch: 2, length: 5, hash: hash("restored") }));
  broken(withHead(next, 3, { epoch: 0, length: 99, hash: hash("undone") }), 3);
  broken({ ...next, sequence: 2 }, undefined);
  broken({ ...next, previous: hash("other") }, undefined);
  broken({ ...next, cluster: hash("other") }, undefined);

  const replaced = {
    ...manifest,
    members: manifest.members.map((member) =>
      member.index === 3 ? { ...member, identity: namedSigner("new node 3").publicKey } : member,
    ),
  };
  const anew = withHead(next, 3, { length: 0, hash: AUDIT_ROOT });
  chain(anew, replaced);
  broken(withHead(anew, 4, { length: 1, hash: hash("shorter") }), 4, replaced);
});

test("an anchor names its checkpoint in 38 bytes, and other data are none", () => {
  const anchor = checkpointAnchor(first);
  assert.equal(anchor.length, 38);
  assert.equal(readCheckpointAnchor(anchor), checkpointHash(first));
  for (const { path, altered } of alterations(first)) {
    assert.notDeepEqual(checkpointAnchor(altered), anchor, path);
  }
  assert.equal(readCheckpointAnchor(anchor.subarray(1)), null);
  assert.equal(readCheckpointAnchor(Uint8Array.of(...anchor, 0)), null);
  for (let at = 0; at < 6; at += 1) {
    assert.equal(readCheckpointAnchor(anchor.with(at, (anchor[at] ?? 0) ^ 1)), null);
  }
});
