import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ErrorCode,
  type HashHex,
  isCairnError,
  type NodeIndex,
  parseShape,
  type Sats,
  type Txid,
  type UnixMs,
  type WalletRecord,
  walletRecordSchema,
} from "@cairn/core";
import fc from "fast-check";
import {
  deriveGrant,
  formCertificate,
  type Grant,
  type GrantFacts,
  type GrantInput,
  type GrantProof,
  grantSchema,
  intentHash,
  signGrant,
  verifyGrant,
} from "../src/index.ts";
import { clusterOf, hash, intentOf, NOW, requestOf, signerOf, type TestCluster, voteOf } from "./cluster.ts";

const DELAY = 60_000;
const cluster = clusterOf({ change: { policyDelayMs: DELAY } });

function walletOf(of: TestCluster): WalletRecord {
  return parseShape(walletRecordSchema, {
    version: 1,
    cluster: of.manifest.cluster,
    wallet: hash("wallet"),
    label: "main",
    network: "regtest",
    descriptor: "wpkh(tpub/<0;1>/*)#00000000",
    keyId: hash("key"),
    protocol: "cggmp24",
    publicPackage: hash("package"),
    birthday: NOW,
  });
}

const input: GrantInput = {
  sighash: hash("sighash") as HashHex,
  path: [0, 3],
  outpoint: { txid: hash("coin") as Txid, vout: 1 },
  amountSats: 60_000n as Sats,
};

function factsOf(of: TestCluster = cluster, change: Partial<GrantFacts> = {}): GrantFacts {
  return {
    intent: intentOf(of),
    manifest: of.manifest,
    manifestHash: of.manifestHash,
    wallet: walletOf(of),
    inputs: [input],
    firstSeenAt: NOW,
    standing: "new",
    ...change,
  };
}

function proofOf(of: TestCluster = cluster): GrantProof {
  const votes = [1, 2, 3, 4].map((voter) => voteOf(of, voter, { intentHash: intentHash(intentOf(of)) }));
  return { certificate: formCertificate(votes, of.manifest), engines: [] };
}

const later = (NOW + DELAY) as UnixMs;

function refuses(code: ErrorCode, run: () => void): void {
  assert.throws(run, (error) => isCairnError(error, code), code);
}

test("the derived grant verifies once the delay has passed, and is the same at every node", () => {
  const grant = deriveGrant(factsOf());
  assert.deepEqual(grant, deriveGrant(factsOf()));
  verifyGrant(grant, factsOf(), proofOf(), later);
  assert.equal(grant.notBefore, NOW + DELAY);
  assert.equal(grant.expiry, requestOf(cluster).expiry);
  assert.deepEqual(grant.participants, [1, 2, 3, 4, 5]);
});

test("grant minting from one certificate: any altered field is refused", () => {
  const grant = deriveGrant(factsOf());
  const alterations: { [Field in keyof Grant]?: Grant[Field][] } = {
    grantId: [hash("a") as Grant["grantId"]],
    keyId: [hash("a") as Grant["keyId"]],
    intentHash: [hash("a") as Grant["intentHash"]],
    participants: [[1, 2, 3, 4] as NodeIndex[], [1, 2, 3, 4, 6] as NodeIndex[]],
    inputs: [
      [{ ...input, sighash: hash("a") as HashHex }],
      [{ ...input, path: [0, 4] }],
      [{ ...input, path: [1, 3] }],
      [{ ...input, amountSats: 1n as Sats }],
      [{ ...input, outpoint: { ...input.outpoint, vout: 0 } }],
      [input, input],
    ],
    threshold: [3],
    notBefore: [NOW],
    expiry: [(grant.expiry + 1) as UnixMs],
    nonce: [hash("a") as Grant["nonce"]],
    policyVersion: [2],
    protocolVersion: [2],
  };
  for (const [field, values] of Object.entries(alterations)) {
    for (const value of values) {
      const altered = parseShape(grantSchema, { ...grant, [field]: value });
      assert.throws(
        () => verifyGrant(altered, factsOf(), proofOf(), later),
        (error) => isCairnError(error, "grant-invalid") && error.data.field === field,
        field,
      );
    }
  }
  const covered = [...Object.keys(alterations), "version", "cluster", "wallet"].toSorted();
  assert.deepEqual(
    covered,
    Object.keys(grant).toSorted(),
    "every field of a grant is altered above or below",
  );
});

test("replayed, expired, early and foreign grants are refused with distinct codes", () => {
  const grant = deriveGrant(factsOf());
  refuses("replayed", () => verifyGrant(grant, factsOf(cluster, { standing: "ended" }), proofOf(), later));
  refuses("grant-expired", () => verifyGrant(grant, factsOf(), proofOf(), grant.expiry));
  refuses("not-yet-valid", () => verifyGrant(grant, factsOf(), proofOf(), (later - 1) as UnixMs));
  refuses("wrong-cluster", () =>
    verifyGrant({ ...grant, cluster: hash("x") as Grant["cluster"] }, factsOf(), proofOf(), later),
  );
  refuses("wrong-wallet", () =>
    verifyGrant({ ...grant, wallet: hash("x") as Grant["wallet"] }, factsOf(), proofOf(), later),
  );
  verifyGrant(grant, factsOf(cluster, { standing: "live" }), proofOf(), later);
});

test("a backdated intent does not shorten the delay: it is held from this node's first sight too", () => {
  const backdated = intentOf(cluster, { createdAt: (NOW - DELAY) as UnixMs });
  const facts = factsOf(cluster, { intent: backdated, firstSeenAt: NOW });
  const votes = [1, 2, 3, 4].map((voter) => voteOf(cluster, voter, { intentHash: intentHash(backdated) }));
  const proof = { certificate: formCertificate(votes, cluster.manifest), engines: [] };
  const grant = deriveGrant(facts);
  refuses("not-yet-valid", () => verifyGrant(grant, facts, proof, (NOW + DELAY - 1) as UnixMs));
  verifyGrant(grant, facts, proof, later);
});

test("the proof must fit the manifest's authorisation", () => {
  const none: GrantProof = { certificate: null, engines: [] };
  refuses("certificate-invalid", () => verifyGrant(deriveGrant(factsOf()), factsOf(), none, later));
  const other = formCertificate(
    [1, 2, 3, 4].map((voter) => voteOf(cluster, voter, { intentHash: hash("other") as Grant["intentHash"] })),
    cluster.manifest,
  );
  refuses("certificate-invalid", () =>
    verifyGrant(deriveGrant(factsOf()), factsOf(), { certificate: other, engines: [] }, later),
  );
  for (const authorisation of ["policy-engine", "hybrid"] as const) {
    const of = clusterOf({ change: { authorisation, policyDelayMs: DELAY } });
    const grant = deriveGrant(factsOf(of));
    const certificate = proofOf(of).certificate;
    const signed = [signGrant(grant, of.engine)];
    verifyGrant(grant, factsOf(of), { certificate, engines: signed }, later);
    refuses("unauthenticated", () => verifyGrant(grant, factsOf(of), { certificate, engines: [] }, later));
    const stranger = [signGrant(grant, signerOf("stranger"))];
    refuses("unauthenticated", () =>
      verifyGrant(grant, factsOf(of), { certificate, engines: stranger }, later),
    );
    const withoutCertificate = () =>
      verifyGrant(grant, factsOf(of), { certificate: null, engines: signed }, later);
    if (authorisation === "hybrid") refuses("certificate-invalid", withoutCertificate);
    else withoutCertificate();
  }
});

test("a PSBT altered after the vote gives another intent hash, so the certificate no longer fits", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), (psbt) => {
      fc.pre(Buffer.compare(psbt, Buffer.from("psbt")) !== 0);
      const facts = factsOf(cluster, { intent: intentOf(cluster, { psbt }) });
      refuses("certificate-invalid", () => verifyGrant(deriveGrant(facts), facts, proofOf(), later));
    }),
    { numRuns: 20 },
  );
});
