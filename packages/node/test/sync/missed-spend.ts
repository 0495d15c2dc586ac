import { createHash } from "node:crypto";
import {
  buildPsbt,
  checkPsbt,
  createDescriptor,
  deriveKey,
  encodePsbt,
  finalizeSpend,
  type MemoryChainSource,
} from "@cairn/bitcoin";
import {
  certificateSchema,
  type Intent,
  intentHash,
  intentSchema,
  signVote,
  type Vote,
} from "@cairn/consensus";
import {
  encodeCanonical,
  type IntentHash,
  manifestHash,
  type NodeIndex,
  nodeIndexSchema,
  type SyncRecord,
  spendRequestSchema,
  toHex,
  type UnixMs,
  type WalletRow,
} from "@cairn/core";
import { namedSigner, openPolicy, testManifest } from "@cairn/core/test-support";
import { policyHash } from "@cairn/policy";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { bytesToNumberBE, numberToBytesBE } from "@noble/curves/utils.js";

const COIN_SATS = 100_000n;
const PAID_SATS = 50_000n;
const FEE_SATS = 1_000n;
const DAY_MS = 24 * 3_600_000;
const digest = (text: string) => new Uint8Array(createHash("sha256").update(text).digest());

export const members = [1, 2, 3, 4, 5].map((index) => namedSigner(`node ${index}`));
const owner = namedSigner("requester");
const policy = openPolicy();
const manifest = testManifest(
  members.map(({ publicKey }) => ({ identity: publicKey })),
  { policy: policyHash(policy), requesters: [owner.publicKey] },
);
export const inForce = { manifest, manifestHash: manifestHash(manifest), policy };

/** The wallet's root key, which one test holds where a cluster holds shares of it. */
const root = bytesToNumberBE(digest("the wallet's key")) % secp256k1.Point.Fn.ORDER;
const descriptor = createDescriptor(
  "wpkh",
  "regtest",
  secp256k1.getPublicKey(numberToBytesBE(root, 32), true),
  digest("the wallet's chain code"),
);
const stranger = createDescriptor(
  "wpkh",
  "regtest",
  secp256k1.getPublicKey(digest("a stranger's key"), true),
  digest("a stranger's chain code"),
);

export const walletRow: WalletRow = {
  wallet: descriptor.wallet,
  keyId: "0".repeat(64) as WalletRow["keyId"],
  label: "wallet",
  createdAt: 0 as UnixMs,
  record: encodeCanonical({
    record: {
      version: 1,
      cluster: manifest.cluster,
      wallet: descriptor.wallet,
      label: "wallet",
      network: "regtest",
      descriptor: descriptor.text,
      keyId: "0".repeat(64),
      protocol: "cggmp24",
      publicPackage: "0".repeat(64),
      birthday: 0,
    },
    signatures: [],
  }),
};

/** A spend that a node missed, with everything that its authors ever signed of it. */
export interface MissedSpend {
  readonly hash: IntentHash;
  readonly intent: SyncRecord;
  /** Those of nodes 2 to 5, whom the certificate names. */
  readonly votes: readonly SyncRecord[];
  readonly certificate: SyncRecord;
  readonly final: SyncRecord;
  /** The signed transaction. */
  readonly raw: Uint8Array;
  readonly hex: string;
  /** What the recipient gets and the most that the fee may be. */
  readonly claimSats: bigint;
}

/** The spend number `at` of a wallet, out of a coin of its own on `chain`. */
export function missedSpend(chain: MemoryChainSource, at: number, now: UnixMs): MissedSpend {
  const path = [0, at] as const;
  const coin = chain.fund(deriveKey(descriptor, path).script, COIN_SATS);
  const recipient = deriveKey(stranger, path);
  const psbt = encodePsbt(
    buildPsbt({
      descriptor,
      coins: [{ previousTransaction: coin.raw, vout: 0, path }],
      recipients: [{ amountSats: PAID_SATS, script: recipient.script }],
      change: { amountSats: COIN_SATS - PAID_SATS - FEE_SATS, index: 0, position: 1 },
      lockTime: 0,
    }),
  );
  const request = spendRequestSchema.parse({
    version: 1,
    cluster: manifest.cluster,
    network: "regtest",
    wallet: descriptor.wallet,
    outputs: [{ address: recipient.address, amountSats: PAID_SATS }],
    maxFeeSats: FEE_SATS,
    feeRateSatsPerKvb: null,
    nonce: toHex(digest(`nonce ${at}`)),
    createdAt: now - 60_000,
    expiry: now + 6 * DAY_MS,
    replaces: null,
    requester: owner.publicKey,
  });
  const intent: Intent = intentSchema.parse({
    version: 1,
    cluster: manifest.cluster,
    request: { body: request, signature: owner.sign("cairn/spend-request/v1", request) },
    psbt: new Uint8Array(psbt),
    wallet: descriptor.wallet,
    manifestHash: inForce.manifestHash,
    policyVersion: policy.policyVersion,
    protocolVersion: 1,
    createdAt: now - 30_000,
    anchor: null,
  });
  const hash = intentHash(intent);
  const votes = [2, 3, 4, 5].map((voter) => voteOf(hash, nodeIndexSchema.parse(voter)));
  const certificate = certificateSchema.parse({
    version: 1,
    cluster: manifest.cluster,
    manifestHash: inForce.manifestHash,
    intentHash: hash,
    round: 1,
    votes: votes.map(({ body, signature }) => ({ voter: body.voter, signature })),
  });
  const checked = checkPsbt(psbt, { descriptor, request, tipHeight: 0, nextChangeIndex: 0, anchor: null });
  const signatures = checked.inputs.map(({ path: signed, sighash }) => {
    const child = (root + bytesToNumberBE(deriveKey(descriptor, signed).delta)) % secp256k1.Point.Fn.ORDER;
    return secp256k1.sign(sighash.digest, numberToBytesBE(child, 32), { prehash: false, lowS: true });
  });
  const { raw, hex } = finalizeSpend(checked, signatures);
  const final = { version: 1, intentHash: hash, signers: [2, 3, 4, 5], signatures };
  return {
    hash,
    intent: record("intent", intent),
    votes: votes.map((vote) => record("vote", vote)),
    certificate: record("certificate", certificate),
    final: record("final", final),
    raw,
    hex,
    claimSats: PAID_SATS + FEE_SATS,
  };
}

function voteOf(hash: IntentHash, voter: NodeIndex) {
  const body: Vote = {
    version: 1,
    cluster: manifest.cluster,
    manifestHash: inForce.manifestHash,
    intentHash: hash,
    round: 1,
    voter,
    approve: true,
    reason: null,
  };
  return signVote(body, members[voter - 1] ?? owner);
}

function record(kind: SyncRecord["kind"], value: unknown): SyncRecord {
  return { kind, body: new Uint8Array(encodeCanonical(value)) };
}
