import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ErrorCode,
  type HashHex,
  isCairnError,
  type KeygenApproval,
  type KeyId,
  keygenRequestHash,
  keygenRequestSchema,
  type NodeIndex,
  parseShape,
  type SignatureHex,
  type SignedKeygenApproval,
  signBody,
  type UnixMs,
  walletIdOf,
  walletRecordSchema,
} from "@cairn/core";
import {
  deriveGrant,
  formCertificate,
  type GrantInput,
  intentHash,
  type KeygenGrant,
  keygenGrantSchema,
  type SigningGrant,
  type SigningGrantJudge,
  signingGrantSchema,
  signKeygenApproval,
  verifyKeygenGrant,
  verifySigningGrant,
} from "../src/index.ts";
import {
  clusterOf,
  HOUR,
  hash,
  intentOf,
  NOW,
  nodeOf,
  requestOf,
  signerOf,
  type TestCluster,
  voteOf,
} from "./cluster.ts";

const cluster = clusterOf();
const later = (NOW + 1_000) as UnixMs;
const descriptor = "wpkh(tpub/<0;1>/*)#00000000";

const input: GrantInput = {
  sighash: hash("sighash") as HashHex,
  path: [0, 3],
  outpoint: { txid: hash("coin") as GrantInput["outpoint"]["txid"], vout: 1 },
  amountSats: 60_000n as GrantInput["amountSats"],
};

function walletOf(of: TestCluster): SigningGrant["wallet"] {
  const record = parseShape(walletRecordSchema, {
    version: 1,
    cluster: of.manifest.cluster,
    wallet: walletIdOf(descriptor),
    label: "main",
    network: "regtest",
    descriptor,
    keyId: hash("key"),
    protocol: "cggmp24",
    publicPackage: hash("package"),
    birthday: NOW,
  });
  const signatures = of.nodes.map((node, at) => ({
    node: (at + 1) as NodeIndex,
    signature: node.sign("cairn/wallet-record/v1", record),
  }));
  return { record, signatures };
}

function grantOf(of: TestCluster = cluster): SigningGrant {
  const wallet = walletOf(of);
  const intent = intentOf(of, {}, requestOf(of, { wallet: wallet.record.wallet }));
  const votes = [1, 2, 3, 4].map((voter) => voteOf(of, voter, { intentHash: intentHash(intent) }));
  const { manifest } = of;
  return {
    version: 1,
    type: "signing",
    grant: deriveGrant({ intent, manifest, wallet: wallet.record, inputs: [input] }),
    proof: { certificate: formCertificate(votes, manifest), engines: [] },
    intent,
    wallet,
  };
}

const judge: SigningGrantJudge = { ...cluster, now: later, read: async () => [input] };

async function refuses(code: ErrorCode, document: SigningGrant, by = judge, field?: string): Promise<void> {
  await assert.rejects(
    verifySigningGrant(parseShape(signingGrantSchema, document), by),
    (error) => isCairnError(error, code) && (field === undefined || error.data.field === field),
    `${code} ${field ?? ""}`,
  );
}

test("a grant's document is judged with nothing but the manifest", async () => {
  await verifySigningGrant(grantOf(), judge);
});

test("altered nonce, expiry, candidates and key of a grant, and whatever it follows from, are refused", async () => {
  const document = grantOf();
  const { grant, intent, wallet, proof } = document;
  const altered = (change: Partial<SigningGrant["grant"]>) => ({
    ...document,
    grant: { ...grant, ...change },
  });
  await refuses("grant-invalid", altered({ nonce: hash("other") as typeof grant.nonce }), judge, "nonce");
  await refuses("grant-invalid", altered({ expiry: (grant.expiry + 1) as UnixMs }), judge, "expiry");
  await refuses(
    "grant-invalid",
    altered({ participants: [1, 2, 3, 4] as NodeIndex[] }),
    judge,
    "participants",
  );
  await refuses("grant-invalid", altered({ keyId: hash("other") as KeyId }), judge, "keyId");
  // What the judge reads in the PSBT counts, not what the grant says that it signs.
  await refuses(
    "grant-invalid",
    document,
    { ...judge, read: async () => [{ ...input, path: [1, 3] }] },
    "inputs",
  );
  await refuses("signature-invalid", {
    ...document,
    intent: {
      ...intent,
      request: { ...intent.request, body: { ...intent.request.body, maxFeeSats: 2n as never } },
    },
  });
  // The owner signed the request, but nobody approved this intent of it.
  const minted = { ...intent, createdAt: (intent.createdAt + 1) as UnixMs };
  const own = deriveGrant({
    intent: minted,
    manifest: cluster.manifest,
    wallet: wallet.record,
    inputs: [input],
  });
  await refuses("certificate-invalid", { ...document, intent: minted, grant: own });
  const [signature] = wallet.signatures;
  assert.ok(signature !== undefined && proof.certificate !== null);
  await refuses("signature-invalid", {
    ...document,
    wallet: { ...wallet, signatures: wallet.signatures.slice(1) },
  });
  await refuses("signature-invalid", {
    ...document,
    wallet: { ...wallet, record: { ...wallet.record, keyId: hash("other") as KeyId } },
  });
  const { votes } = proof.certificate;
  const withVotes = (changed: typeof votes) => ({
    ...document,
    proof: { ...proof, certificate: { ...proof.certificate, votes: changed } as typeof proof.certificate },
  });
  await refuses("quorum-missing", withVotes(votes.slice(1)));
  await refuses(
    "signature-invalid",
    withVotes(
      votes.map((vote, at) => (at === 0 ? { ...vote, signature: "ab".repeat(64) as SignatureHex } : vote)),
    ),
  );
  await refuses("certificate-invalid", { ...document, proof: { certificate: null, engines: [] } });
});

test("replayed, expired, early and foreign grants are refused by their documents with codes of their own", async () => {
  const document = grantOf();
  await refuses("replayed", document, { ...judge, standing: "ended" });
  await refuses("grant-expired", document, { ...judge, now: document.grant.expiry });
  const slow = clusterOf({ change: { policyDelayMs: 60_000 } });
  await refuses("not-yet-valid", grantOf(slow), { ...judge, ...slow });
  await refuses("not-yet-valid", grantOf(slow), {
    ...judge,
    ...slow,
    now: (NOW + 60_000) as UnixMs,
    firstSeenAt: later,
  });
  const foreign = clusterOf({ n: 4, t: 3 });
  await refuses("wrong-cluster", grantOf(foreign));
  await refuses("wrong-manifest", document, {
    ...judge,
    manifestHash: hash("other") as typeof judge.manifestHash,
  });
  const otherWallet = walletOf(cluster);
  const record = { ...otherWallet.record, wallet: walletIdOf("other") };
  await refuses("wrong-wallet", { ...document, wallet: { ...otherWallet, record } });
});

function keygenGrantOf(of: TestCluster = cluster): KeygenGrant {
  const operator = signerOf("operator 2");
  const body = parseShape(keygenRequestSchema, {
    version: 1,
    cluster: of.manifest.cluster,
    manifest: of.manifestHash,
    protocol: "frost",
    threshold: of.manifest.threshold,
    total: of.manifest.members.length,
    label: "main",
    nonce: hash("keygen"),
    createdAt: NOW,
    expiry: NOW + HOUR,
    operator: operator.publicKey,
  });
  const request = signBody("cairn/keygen-request/v1", body, operator);
  const approvals = of.nodes.map((_, at) => approvalOf(of, at + 1, request));
  return { version: 1, type: "keygen", request, approvals };
}

function approvalOf(
  of: TestCluster,
  node: number,
  request: KeygenGrant["request"],
  change: Partial<KeygenApproval> = {},
): SignedKeygenApproval {
  return signKeygenApproval(
    {
      version: 1,
      cluster: of.manifest.cluster,
      keyId: keygenRequestHash(request.body),
      node: node as NodeIndex,
      approve: true,
      reason: null,
      auxExecution: null,
      ...change,
    },
    nodeOf(of, node),
  );
}

test("a keygen grant holds an operator's request and the approvals of all nodes, and any altered field is refused", () => {
  const document = keygenGrantOf();
  const by = { ...cluster, now: later };
  verifyKeygenGrant(parseShape(keygenGrantSchema, document), by);
  const { request, approvals } = document;
  const refused = (code: ErrorCode, change: Partial<KeygenGrant>, at = by) =>
    assert.throws(
      () => verifyKeygenGrant(parseShape(keygenGrantSchema, { ...document, ...change }), at),
      (error) => isCairnError(error, code),
      code,
    );
  for (const [field, value] of Object.entries({
    label: "other",
    nonce: hash("other"),
    protocol: "cggmp24",
    createdAt: request.body.createdAt + 1,
    expiry: request.body.expiry + 1,
  })) {
    refused("operator-signature-missing", {
      request: { ...request, body: { ...request.body, [field]: value } as typeof request.body },
    });
  }
  const second = approvalOf(cluster, 2, request);
  refused("quorum-missing", { approvals: approvals.slice(1) });
  refused("grant-invalid", { approvals: [...approvals.slice(0, 4), second] });
  refused("grant-invalid", { approvals: approvals.toReversed() });
  refused("grant-invalid", {
    approvals: approvals.with(1, approvalOf(cluster, 2, request, { keyId: hash("other") as KeyId })),
  });
  refused("grant-invalid", {
    approvals: approvals.with(1, approvalOf(cluster, 2, request, { approve: false, reason: "forbidden" })),
  });
  refused("signature-invalid", {
    approvals: approvals.with(1, { ...second, body: { ...second.body, node: 3 as NodeIndex } }),
  });
  refused("grant-expired", {}, { ...by, now: request.body.expiry });
  refused("wrong-manifest", {}, { ...by, manifestHash: hash("other") as typeof by.manifestHash });
  const foreign = clusterOf({ n: 4, t: 3 });
  refused("wrong-cluster", keygenGrantOf(foreign));
});
