import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AUDIT_ROOT,
  type Checkpoint,
  type ClusterId,
  decodeCanonical,
  type Ed25519PublicKey,
  type ErrorCode,
  encodeCanonical,
  isCairnError,
  MAX_REQUEST_LIFETIME_MS,
  type ManifestHash,
  type Sats,
  type SignedCheckpoint,
  signCheckpoint,
  type UnixMs,
  type WalletId,
} from "@cairn/core";
import { checkIntent, type Intent, type IntentContext, intentHash, intentSchema } from "../src/index.ts";
import {
  clusterOf,
  hash,
  intentContext,
  intentOf,
  NOW,
  nodeOf,
  requestOf,
  signerOf,
  type TestCluster,
} from "./cluster.ts";

const cluster = clusterOf();

function refuses(intent: Intent, code: ErrorCode, change: Partial<IntentContext> = {}): void {
  assert.throws(
    () => checkIntent(intent, intentContext(cluster, change)),
    (error) => isCairnError(error, code),
    code,
  );
}

test("an honest intent passes and survives its canonical form with the same hash", () => {
  const intent = intentOf(cluster);
  checkIntent(intent, intentContext(cluster));
  const again = decodeCanonical(intentSchema, encodeCanonical(intent));
  assert.equal(intentHash(again), intentHash(intent));
  checkIntent(again, intentContext(cluster));
});

test("a node forges, alters and replays requests: each is refused with its own code", () => {
  const request = requestOf(cluster);
  const honest = intentOf(cluster);
  const thief = signerOf("thief");
  const forged = { ...request, requester: thief.publicKey };
  refuses(
    { ...honest, request: { body: forged, signature: thief.sign("cairn/spend-request/v1", forged) } },
    "unknown-requester",
  );
  refuses(
    { ...honest, request: { body: request, signature: thief.sign("cairn/spend-request/v1", request) } },
    "signature-invalid",
  );
  const alterations: Partial<typeof request>[] = [
    { outputs: [{ address: "bcrt1qthief", amountSats: 50_000n as Sats }] },
    { maxFeeSats: 2_000n as Sats },
    { expiry: (request.expiry + 1) as UnixMs },
    { nonce: hash("other") as typeof request.nonce },
    { feeRateSatsPerKvb: 5_000 },
  ];
  for (const alteration of alterations) {
    refuses(
      { ...honest, request: { body: { ...request, ...alteration }, signature: honest.request.signature } },
      "signature-invalid",
    );
  }
  refuses(honest, "expired", { now: request.expiry });
  const elsewhere = clusterOf({ change: { nonce: hash("elsewhere") as never } });
  assert.throws(
    () => checkIntent(honest, intentContext(elsewhere)),
    (error) => isCairnError(error, "wrong-cluster"),
  );
});

test("each static fault has its own code", () => {
  const sign = (change: Parameters<typeof requestOf>[1]) => intentOf(cluster, {}, requestOf(cluster, change));
  refuses(sign({ cluster: hash("x") as ClusterId }), "wrong-cluster");
  refuses(intentOf(cluster, { cluster: hash("x") as ClusterId }), "wrong-cluster");
  refuses(sign({ network: "mainnet" }), "wrong-network");
  refuses(intentOf(cluster, { wallet: hash("x") as WalletId }), "wrong-wallet");
  refuses(intentOf(cluster, { manifestHash: hash("x") as ManifestHash }), "wrong-manifest");
  refuses(intentOf(cluster, { policyVersion: 2 }), "wrong-policy");
  refuses(intentOf(cluster), "wrong-policy", { policyVersion: 2 });
  refuses(intentOf(cluster, { protocolVersion: 2 }), "unsupported-version");
  refuses(intentOf(cluster), "unsupported-version", { protocolVersions: [2] });
  refuses(sign({ expiry: NOW }), "malformed");
  refuses(sign({ expiry: (NOW + MAX_REQUEST_LIFETIME_MS + 1) as UnixMs }), "malformed");
  refuses(intentOf(cluster, { createdAt: requestOf(cluster).expiry }), "malformed");
});

test("an intent from the future is refused beyond the allowed skew", () => {
  checkIntent(intentOf(cluster, { createdAt: (NOW + 2_000) as UnixMs }), intentContext(cluster));
  refuses(intentOf(cluster, { createdAt: (NOW + 2_001) as UnixMs }), "clock-skew");
  const early = requestOf(cluster, { createdAt: (NOW + 2_001) as UnixMs });
  refuses(intentOf(cluster, {}, early), "clock-skew");
});

const anchoring = clusterOf({ change: { checkpointAnchors: true } });

/** A checkpoint of five logs, signed by the nodes 1 … `signers`. */
function checkpointOf(of: TestCluster, signers: number, change: Partial<Checkpoint> = {}): SignedCheckpoint {
  const checkpoint: Checkpoint = {
    version: 1,
    cluster: of.manifest.cluster,
    manifestHash: of.manifestHash,
    sequence: 0,
    previous: null,
    heads: of.manifest.members.map(({ index }) => ({ node: index, epoch: 0, length: 0, hash: AUDIT_ROOT })),
    createdAt: NOW,
    ...change,
  };
  const members = of.manifest.members.slice(0, signers);
  return {
    checkpoint,
    signatures: members.map(({ index }) => signCheckpoint(checkpoint, index, nodeOf(of, index))),
  };
}

test("an intent may anchor a checkpoint that a quorum signed, where the manifest allows it", () => {
  const anchor = checkpointOf(anchoring, 4);
  checkIntent(intentOf(anchoring, { anchor }), intentContext(anchoring));
  checkIntent(intentOf(anchoring), intentContext(anchoring));
  refuses(intentOf(cluster, { anchor: checkpointOf(cluster, 4) }), "malformed");
});

test("a receiver that anchors what is no checkpoint of the cluster is refused by every node", () => {
  const former = clusterOf({ change: { checkpointAnchors: true, nonce: hash("former") as never } });
  const sound = checkpointOf(anchoring, 4);
  const invented: Record<string, SignedCheckpoint> = {
    "signed by too few": checkpointOf(anchoring, 3),
    "altered after its signatures": {
      ...sound,
      checkpoint: { ...sound.checkpoint, sequence: 0, createdAt: (NOW + 1) as UnixMs },
    },
    "of another cluster": checkpointOf(former, 4),
    "under another manifest": checkpointOf(anchoring, 4, { manifestHash: hash("other") as ManifestHash }),
    "signed twice by one node": {
      ...sound,
      signatures: [1, 2, 3, 3].flatMap((at) => sound.signatures[at - 1] ?? []),
    },
    "of too few logs": checkpointOf(anchoring, 4, { heads: sound.checkpoint.heads.slice(0, 4) }),
  };
  for (const [name, anchor] of Object.entries(invented)) {
    assert.throws(
      () => checkIntent(intentOf(anchoring, { anchor }), intentContext(anchoring)),
      (error) => isCairnError(error, "malformed"),
      name,
    );
  }
});

test("an unsigned request passes only where the manifest allows it", () => {
  const request = requestOf(cluster, { requester: hash("nobody") as Ed25519PublicKey });
  const unsigned = (of: typeof cluster) =>
    intentOf(of, { request: { body: { ...request, cluster: of.manifest.cluster }, signature: null } });
  refuses(unsigned(cluster), "unsigned-request");
  const open = clusterOf({ change: { unsignedRequests: true } });
  checkIntent(unsigned(open), intentContext(open));
});
