import assert from "node:assert/strict";
import { test } from "node:test";
import { isCairnError, type NodeIndex, spendQuorum, voidQuorum } from "@cairn/core";
import { DEAD_DEPTH, isDead, maySign, mayVoid, rejectionQuorum, verifyVoid } from "../src/index.ts";
import { clusterOf, hash, voidOf } from "./cluster.ts";

const cluster = clusterOf();

test("a node voids only what it has released nothing of, and can't have", () => {
  const clean = { partialReleased: false, partialPossible: false, sessionLive: false };
  assert.ok(mayVoid(clean));
  for (const fact of ["partialReleased", "partialPossible", "sessionLive"] as const) {
    assert.ok(!mayVoid({ ...clean, [fact]: true }), fact);
  }
});

test("after its own void, or a death, a node never signs", () => {
  assert.ok(maySign({ ownVoid: false, dead: false }));
  assert.ok(!maySign({ ownVoid: true, dead: false }));
  assert.ok(!maySign({ ownVoid: false, dead: true }));
});

test("an intent is dead six deep under a conflict or by enough distinct voids, and never before", () => {
  const nodes = (...indices: number[]) => indices as NodeIndex[];
  const { manifest } = cluster;
  assert.equal(voidQuorum(manifest), 3);
  assert.ok(!isDead({ conflictDepth: DEAD_DEPTH - 1, voids: nodes(1, 2) }, manifest));
  assert.ok(!isDead({ conflictDepth: 0, voids: nodes(1, 2, 2, 1) }, manifest));
  assert.ok(isDead({ conflictDepth: 0, voids: nodes(1, 2, 3) }, manifest));
  assert.ok(isDead({ conflictDepth: DEAD_DEPTH, voids: [] }, manifest));
});

test("a void is its own node's, under its manifest and cluster", () => {
  const check = (signed: ReturnType<typeof voidOf>) =>
    verifyVoid(signed, cluster.manifest, cluster.manifestHash);
  const honest = voidOf(cluster, 2);
  check(honest);
  const cases = [
    [{ ...honest, signature: voidOf(cluster, 3).signature }, "signature-invalid"],
    [{ ...honest, body: { ...honest.body, node: 3 as NodeIndex } }, "signature-invalid"],
    [{ ...honest, body: { ...honest.body, node: 9 as NodeIndex } }, "not-member"],
    [{ ...honest, body: { ...honest.body, manifestHash: hash("x") as never } }, "wrong-manifest"],
    [{ ...honest, body: { ...honest.body, cluster: hash("x") as never } }, "wrong-cluster"],
  ] as const;
  for (const [signed, code] of cases)
    assert.throws(
      () => check(signed),
      (error) => isCairnError(error, code),
    );
});

test("rejections end an intent exactly when no quorum of approvals is left, in every size of cluster", () => {
  for (let n = 2; n <= 12; n += 1) {
    for (let t = 2; t <= n; t += 1) {
      const { manifest } = clusterOf({ n, t });
      assert.ok(n - rejectionQuorum(manifest) < spendQuorum(manifest));
      assert.ok(n - (rejectionQuorum(manifest) - 1) >= spendQuorum(manifest));
    }
  }
});
