import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  clusterIdOf,
  Ed25519Signer,
  faultsTolerated,
  isCairnError,
  type Manifest,
  manifestHash,
  manifestSchema,
  modeQuorum,
  SealingKey,
  spendQuorum,
  verifyGenesis,
  verifySuccessor,
  voidQuorum,
} from "../src/index.ts";

const operators = Array.from({ length: 5 }, () => Ed25519Signer.generate());

function genesis(change: Record<string, unknown> = {}): Manifest {
  const draft = {
    version: 1,
    cluster: "0".repeat(64),
    nonce: "ab".repeat(32),
    sequence: 0,
    previous: null,
    network: "regtest",
    threshold: 4,
    members: operators.map((operator, position) => ({
      index: position + 1,
      name: `node ${position + 1}`,
      identity: Ed25519Signer.generate().publicKey,
      sealing: SealingKey.generate().publicKey,
      operator: operator.publicKey,
      addresses: [`tcp://127.0.0.1:${9000 + position}`],
      api: null,
    })),
    requesters: [],
    approvers: [],
    coordinators: [],
    policyEngines: [],
    transactionServices: [],
    authorisation: "quorum",
    modes: { spend: "bft", keygen: "unanimous", refresh: "unanimous", manifest: "bft", policy: "bft" },
    policy: "cd".repeat(32),
    policyVersion: 1,
    policyDelayMs: 0,
    caFingerprint: "ef".repeat(32),
    unsignedRequests: false,
    protocolVersions: [1],
    createdAt: 1,
    ...change,
  };
  const parsed = manifestSchema.parse(draft);
  return { ...parsed, cluster: clusterIdOf(parsed) };
}

function signAll(manifest: Manifest, signers: readonly Ed25519Signer[]) {
  return {
    manifest,
    signatures: signers.map((operator) => ({
      operator: operator.publicKey,
      signature: operator.sign("cairn/manifest/v1", manifest),
    })),
  };
}

test("a genesis manifest needs the signature of every operator", () => {
  const manifest = genesis();
  verifyGenesis(signAll(manifest, operators));
  assert.throws(
    () => verifyGenesis(signAll(manifest, operators.slice(1))),
    (e) => isCairnError(e, "signature-invalid"),
  );
  const renamed = { ...manifest, nonce: "ac".repeat(32) as never };
  assert.throws(
    () => verifyGenesis(signAll(renamed, operators)),
    (e) => isCairnError(e, "wrong-cluster"),
  );
});

test("a successor needs the hash of its predecessor and a quorum of its operators", () => {
  const first = genesis();
  const next = { ...first, sequence: 1, previous: manifestHash(first), policyVersion: 2 };
  verifySuccessor(first, signAll(next, operators.slice(0, 4)));
  assert.throws(
    () => verifySuccessor(first, signAll(next, operators.slice(0, 3))),
    (e) => isCairnError(e, "signature-invalid"),
  );
  const [one] = operators;
  assert.ok(one);
  assert.throws(
    () => verifySuccessor(first, signAll(next, [one, one, one, one])),
    (e) => isCairnError(e, "signature-invalid"),
  );
  for (const change of [
    { previous: "00".repeat(32) as never },
    { sequence: 2 },
    { network: "signet" as const },
  ]) {
    assert.throws(
      () => verifySuccessor(first, signAll({ ...next, ...change }, operators)),
      (e) => isCairnError(e, "wrong-manifest"),
    );
  }
});

test("manifests that could not work are refused by name", () => {
  const refused = (change: Record<string, unknown>, pattern: RegExp) =>
    assert.throws(() => genesis(change), pattern);
  refused({ threshold: 6 }, /larger than the number of members/);
  refused({ network: "mainnet", unsignedRequests: true }, /regtest only/);
  refused({ previous: "00".repeat(32) }, /genesis manifest/);
  refused({ members: genesis().members.toReversed() }, /ascending order/);
  const members = genesis().members;
  refused({ members: members.map((m) => ({ ...m, identity: members[0]?.identity })) }, /share one identity/);
});

test("two spend quorums always share an honest node, and death leaves fewer than t able to sign", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 40 }), fc.integer({ min: 2, max: 40 }), (total, wanted) => {
      const threshold = Math.min(total, wanted);
      const manifest = {
        ...genesis(),
        threshold,
        members: Array.from({ length: total }, () => genesis().members[0]),
      } as Manifest;
      const f = faultsTolerated(total);
      const quorum = spendQuorum(manifest);
      assert.ok(2 * quorum - total > f, "quorums intersect in more than the faulty");
      assert.ok(quorum >= threshold);
      assert.ok(total - (voidQuorum(manifest) - f) < threshold, "too few are left to sign");
    }),
    { numRuns: 60 },
  );
  assert.equal(modeQuorum("bft", 5), 4);
  assert.equal(modeQuorum("majority", 5), 3);
  assert.equal(modeQuorum("unanimous", 5), 5);
});
