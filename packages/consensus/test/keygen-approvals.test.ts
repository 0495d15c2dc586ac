import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ErrorCode,
  isCairnError,
  type KeygenApproval,
  type KeygenRequest,
  keygenRequestHash,
  keygenRequestSchema,
  type NodeIndex,
  parseShape,
  type SignedKeygenRequest,
  type UnixMs,
} from "@cairn/core";
import {
  addKeygenApproval,
  checkKeygenRequest,
  collectKeygenApprovals,
  expireKeygenApprovals,
  type KeygenApprovals,
  signKeygenApproval,
} from "../src/index.ts";
import { clusterOf, HOUR, hash, NOW, nodeOf, signerOf } from "./cluster.ts";

const cluster = clusterOf();
const { manifest } = cluster;
const operator = signerOf("operator 2");

function requestOf(change: Partial<KeygenRequest> = {}, signer = operator): SignedKeygenRequest {
  const body = {
    ...parseShape(keygenRequestSchema, {
      version: 1,
      cluster: manifest.cluster,
      manifest: cluster.manifestHash,
      protocol: "frost",
      threshold: 4,
      total: 5,
      label: "main",
      nonce: hash("keygen"),
      createdAt: NOW,
      expiry: NOW + HOUR,
      operator: operator.publicKey,
    }),
    ...change,
  };
  return { body, signature: signer.sign("cairn/keygen-request/v1", body) };
}

const context = { manifest, manifestHash: cluster.manifestHash, now: NOW, clockSkewMs: 2_000 };

function wordOf(node: number, reason: string | null = null, change: Partial<KeygenApproval> = {}) {
  const body: KeygenApproval = {
    version: 1,
    cluster: manifest.cluster,
    keyId: keygenRequestHash(requestOf().body),
    node: node as NodeIndex,
    approve: reason === null,
    reason,
    auxExecution: null,
    ...change,
  };
  return signKeygenApproval(body, nodeOf(cluster, node));
}

const add = (state: KeygenApprovals, ...words: ReturnType<typeof wordOf>[]) =>
  words.reduce((current, word) => addKeygenApproval(current, word, manifest), state);
const fresh = () => collectKeygenApprovals(requestOf(), manifest);

test("a keygen request counts only as the manifest and one of its operators have it", () => {
  checkKeygenRequest(requestOf(), context);
  const refused: [SignedKeygenRequest, ErrorCode][] = [
    [requestOf({}, signerOf("operator 1")), "operator-signature-missing"],
    [requestOf({ operator: signerOf("thief").publicKey }, signerOf("thief")), "operator-signature-missing"],
    [requestOf({ operator: cluster.owner.publicKey }, cluster.owner), "operator-signature-missing"],
    [requestOf({ threshold: 3 }), "malformed"],
    [requestOf({ threshold: 5 }), "malformed"],
    [requestOf({ total: 6 }), "malformed"],
    [requestOf({ expiry: NOW }), "malformed"],
    [requestOf({ createdAt: (NOW - HOUR) as UnixMs, expiry: NOW }), "expired"],
    [requestOf({ createdAt: (NOW + 3_000) as UnixMs }), "clock-skew"],
    [requestOf({ manifest: hash("x") as never }), "wrong-manifest"],
    [requestOf({ cluster: hash("x") as never }), "wrong-cluster"],
  ];
  for (const [request, code] of refused) {
    assert.throws(
      () => checkKeygenRequest(request, context),
      (error) => isCairnError(error, code),
      code,
    );
  }
});

test("all n must approve", () => {
  const four = add(fresh(), wordOf(1), wordOf(2), wordOf(3), wordOf(4), wordOf(4));
  assert.deepEqual(four.name === "collecting" && four.missing, [5]);
  assert.equal(add(four, wordOf(5)).name, "approved");
});

test("any refusal ends it, with names and reasons", () => {
  const refused = add(fresh(), wordOf(1), wordOf(3, "storage-full"));
  assert.deepEqual(refused.name === "refused" && refused.refusals, [
    { node: 3, name: "member 3", reason: "storage-full" },
  ]);
  const more = add(refused, wordOf(3), wordOf(5, "expired"), wordOf(2), wordOf(4));
  assert.deepEqual(more.name === "refused" && more.refusals.map((each) => each.node), [3, 5]);
});

test("words that are forged, foreign or for another key are refused", () => {
  const cases: [ReturnType<typeof wordOf>, ErrorCode][] = [
    [{ ...wordOf(1), signature: wordOf(2).signature }, "signature-invalid"],
    [wordOf(1, null, { node: 2 as NodeIndex }), "signature-invalid"],
    [wordOf(1, null, { node: 9 as NodeIndex }), "not-member"],
    [wordOf(1, null, { keyId: hash("x") as never }), "wrong-state"],
    [wordOf(1, null, { cluster: hash("x") as never }), "wrong-cluster"],
    [wordOf(1, null, { approve: false }), "malformed"],
    [wordOf(1, "dust", { approve: true }), "malformed"],
  ];
  for (const [word, code] of cases) {
    assert.throws(
      () => add(fresh(), word),
      (error) => isCairnError(error, code),
      code,
    );
  }
});

test("a collection ends with its request's time, and says who is missing", () => {
  const some = add(fresh(), wordOf(1), wordOf(2));
  assert.equal(expireKeygenApprovals(some, NOW).name, "collecting");
  const over = expireKeygenApprovals(some, (NOW + HOUR) as UnixMs);
  assert.deepEqual(over.name === "expired" && over.missing, [3, 4, 5]);
  assert.equal(add(over, wordOf(3), wordOf(4), wordOf(5)).name, "expired");
});
