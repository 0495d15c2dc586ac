import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  Ed25519Signer,
  faultsTolerated,
  isCairnError,
  type Manifest,
  manifestHash,
  manifestSchema,
  modeQuorum,
  parseShape,
  spendQuorum,
  verifyGenesis,
  verifySuccessor,
  voidQuorum,
} from "../src/index.ts";
import { namedSigner, signedBy, testManifest } from "../test-support/index.ts";

const operators = Array.from({ length: 5 }, () => Ed25519Signer.generate());

function genesis(change: { readonly [Field in keyof Manifest]?: unknown } = {}): Manifest {
  return testManifest(
    operators.map((operator, at) => ({
      identity: namedSigner(`node ${at + 1}`).publicKey,
      operator: operator.publicKey,
    })),
    change,
  );
}

test("a genesis manifest needs the signature of every operator", () => {
  const manifest = genesis();
  verifyGenesis(signedBy(manifest, operators));
  assert.throws(
    () => verifyGenesis(signedBy(manifest, operators.slice(1))),
    (e) => isCairnError(e, "signature-invalid"),
  );
  const renamed = { ...manifest, nonce: "ac".repeat(32) as never };
  assert.throws(
    () => verifyGenesis(signedBy(renamed, operators)),
    (e) => isCairnError(e, "wrong-cluster"),
  );
});

test("a successor needs the hash of its predecessor and a quorum of its operators", () => {
  const first = genesis();
  const next = { ...first, sequence: 1, previous: manifestHash(first), policyVersion: 2 };
  verifySuccessor(first, signedBy(next, operators.slice(0, 4)));
  assert.throws(
    () => verifySuccessor(first, signedBy(next, operators.slice(0, 3))),
    (e) => isCairnError(e, "operator-signature-missing"),
  );
  const [one] = operators;
  assert.ok(one);
  assert.throws(
    () => verifySuccessor(first, signedBy(next, [one, one, one, one])),
    (e) => isCairnError(e, "operator-signature-missing"),
  );
  for (const change of [
    { previous: "00".repeat(32) as never },
    { sequence: 2 },
    { network: "signet" as const },
  ]) {
    assert.throws(
      () => verifySuccessor(first, signedBy({ ...next, ...change }, operators)),
      (e) => isCairnError(e, "wrong-manifest"),
    );
  }
});

test("a successor that loosens waits its predecessor's delay, and one that tightens need not", () => {
  const owner = namedSigner("owner").publicKey;
  const first = genesis({ changeDelayMs: 1_000, requesters: [owner] });
  const next = { ...first, sequence: 1, previous: manifestHash(first), createdAt: 500, effectiveAt: 1_499 };
  const check = (change: object) =>
    verifySuccessor(first, signedBy(parseShape(manifestSchema, { ...next, ...change }), operators));
  const loose = { requesters: [owner, namedSigner("second owner").publicKey] };
  assert.throws(
    () => check(loose),
    (e) => isCairnError(e, "not-yet-valid"),
  );
  check({ ...loose, effectiveAt: 1_500 });
  check({ requesters: [], effectiveAt: 500 });
  assert.throws(
    () => check({ effectiveAt: 499 }),
    (e) => isCairnError(e, "malformed"),
  );
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
