import {
  bodyHash,
  CairnError,
  clusterIdSchema,
  type Ed25519PublicKey,
  ed25519PublicKeySchema,
  encodeCanonical,
  equalBytes,
  type GrantId,
  grantIdSchema,
  hashHexSchema,
  type IntentHash,
  intentHashSchema,
  keyIdSchema,
  keyPathSchema,
  type Manifest,
  type ManifestHash,
  type Nonce,
  nodeIndexSchema,
  nonceSchema,
  outpointSchema,
  type Signer,
  satsSchema,
  signatureHexSchema,
  type UnixMs,
  unixMsSchema,
  verifySignature,
  type WalletRecord,
  walletIdSchema,
} from "@cairn/core";
import { z } from "zod";
import { certificateSchema, verifyCertificate } from "./certificate.ts";
import { type Intent, intentHash } from "./intent.ts";

/** One input to sign: what the node rebuilt from the PSBT itself. */
export const grantInputSchema = z.strictObject({
  /** The hash that is signed: BIP-143 or BIP-341. */
  sighash: hashHexSchema,
  path: keyPathSchema,
  outpoint: outpointSchema,
  amountSats: satsSchema,
});
export type GrantInput = z.output<typeof grantInputSchema>;

/** Permission to sign one intent (architecture §5.4). Every field follows from intent, wallet record and manifest. */
export const grantSchema = z.strictObject({
  version: z.literal(1),
  /** H(intentHash) under `cairn/grant/v1`. */
  grantId: grantIdSchema,
  cluster: clusterIdSchema,
  wallet: walletIdSchema,
  keyId: keyIdSchema,
  intentHash: intentHashSchema,
  /** All members of the manifest, ascending. */
  participants: z.array(nodeIndexSchema).min(2).max(255),
  /** In the order of the transaction's inputs. */
  inputs: z.array(grantInputSchema).min(1).max(1000),
  threshold: z.number().int().min(2).max(255),
  /** The intent's `createdAt` plus the manifest's policy delay. */
  notBefore: unixMsSchema,
  /** The request's. */
  expiry: unixMsSchema,
  /** H(intentHash) under `cairn/grant-nonce/v1`. */
  nonce: nonceSchema,
  policyVersion: z.number().int().min(1),
  protocolVersion: z.number().int().min(1),
});
export type Grant = z.output<typeof grantSchema>;

/** What makes a grant valid: the nodes' certificate, policy engines' signatures over the grant, or both. */
export const grantProofSchema = z.strictObject({
  certificate: certificateSchema.nullable(),
  /** Under `cairn/grant/v1`, by policy-engine keys of the manifest. */
  engines: z.array(z.strictObject({ engine: ed25519PublicKeySchema, signature: signatureHexSchema })).max(64),
});
export type GrantProof = z.output<typeof grantProofSchema>;

/** What `/grant/*` serves and control planes carry. */
export const authorisedGrantSchema = z.strictObject({ grant: grantSchema, proof: grantProofSchema });
export type AuthorisedGrant = z.output<typeof authorisedGrantSchema>;

export function grantIdOf(intent: IntentHash): GrantId {
  return bodyHash<GrantId>("cairn/grant/v1", intent);
}

export function grantNonceOf(intent: IntentHash): Nonce {
  return bodyHash<Nonce>("cairn/grant-nonce/v1", intent);
}

/** Signs a grant as a policy engine. */
export function signGrant(grant: Grant, signer: Signer): GrantProof["engines"][number] {
  return { engine: signer.publicKey, signature: signer.sign("cairn/grant/v1", grant) };
}

/** What a grant follows from. `inputs` come from the node's own reading of the PSBT. */
export interface GrantSource {
  readonly intent: Intent;
  readonly manifest: Manifest;
  readonly wallet: WalletRecord;
  readonly inputs: readonly GrantInput[];
}

/**
 * The one grant that belongs to an intent.
 * @throws CairnError `wrong-cluster`, `wrong-wallet` when the wallet record is not the intent's
 */
export function deriveGrant(source: GrantSource): Grant {
  const { intent, manifest, wallet } = source;
  if (intent.cluster !== manifest.cluster || wallet.cluster !== manifest.cluster) {
    throw new CairnError("wrong-cluster", "intent, wallet record and manifest are not of one cluster");
  }
  if (wallet.wallet !== intent.wallet) {
    throw new CairnError("wrong-wallet", "the wallet record is not that of the intent's wallet", {
      wallet: wallet.wallet,
    });
  }
  const hash = intentHash(intent);
  return {
    version: 1,
    grantId: grantIdOf(hash),
    cluster: manifest.cluster,
    wallet: intent.wallet,
    keyId: wallet.keyId,
    intentHash: hash,
    participants: manifest.members.map((member) => member.index),
    inputs: [...source.inputs],
    threshold: manifest.threshold,
    notBefore: (intent.createdAt + manifest.policyDelayMs) as UnixMs,
    expiry: intent.request.body.expiry,
    nonce: grantNonceOf(hash),
    policyVersion: intent.policyVersion,
    protocolVersion: intent.protocolVersion,
  };
}

/** Where a grant stands in the node's own store: `ended` once its transaction is signed, voided or dead. */
export type GrantStanding = "new" | "live" | "ended";

export interface GrantFacts extends GrantSource {
  readonly manifestHash: ManifestHash;
  /** When this node first saw the intent: the policy delay is held from here as well. */
  readonly firstSeenAt: UnixMs;
  readonly standing: GrantStanding;
}

/**
 * Checks a grant, whoever hands it in, against what this node derives itself.
 * @throws CairnError `wrong-cluster`, `wrong-wallet` and `wrong-manifest` (foreign), `grant-invalid` (altered; `data.field` names what), `replayed`,
 * `grant-expired`, `not-yet-valid`, `certificate-invalid` (missing or for another intent) and the codes of {@link verifyCertificate},
 * `unauthenticated` (no policy engine's signature)
 */
export function verifyGrant(grant: Grant, facts: GrantFacts, proof: GrantProof, now: UnixMs): void {
  const { manifest } = facts;
  if (grant.cluster !== manifest.cluster)
    throw new CairnError("wrong-cluster", "the grant is for another cluster");
  if (grant.wallet !== facts.intent.wallet) {
    throw new CairnError("wrong-wallet", "the grant is for another wallet than the intent");
  }
  if (facts.intent.manifestHash !== facts.manifestHash) {
    throw new CairnError("wrong-manifest", "the grant's intent names another manifest than the one in force");
  }
  const derived = deriveGrant(facts);
  const altered = !equalBytes(encodeCanonical(grant), encodeCanonical(derived));
  for (const field of altered ? (Object.keys(derived) as (keyof Grant)[]) : []) {
    if (!equalBytes(encodeCanonical(grant[field]), encodeCanonical(derived[field]))) {
      throw new CairnError("grant-invalid", `the grant's ${field} does not follow from the intent`, {
        field,
      });
    }
  }
  if (facts.standing === "ended") {
    throw new CairnError("replayed", "the grant has been used or voided; its result is in the transaction", {
      grant: grant.grantId,
    });
  }
  if (now >= grant.expiry) {
    throw new CairnError("grant-expired", "the grant has expired; sign a new request", {
      expiry: grant.expiry,
      now,
    });
  }
  const from = Math.max(grant.notBefore, facts.firstSeenAt + manifest.policyDelayMs);
  if (now < from) {
    throw new CairnError("not-yet-valid", "the policy's delay has not passed yet", { from, now });
  }
  verifyProof(grant, facts, proof);
}

function verifyProof(grant: Grant, facts: GrantFacts, proof: GrantProof): void {
  const { manifest } = facts;
  if (manifest.authorisation !== "policy-engine") {
    if (proof.certificate === null || proof.certificate.intentHash !== grant.intentHash) {
      throw new CairnError("certificate-invalid", "the grant lacks a certificate of its intent");
    }
    verifyCertificate(proof.certificate, manifest, facts.manifestHash);
  }
  if (manifest.authorisation !== "quorum" && !engineSigned(grant, manifest.policyEngines, proof)) {
    throw new CairnError(
      "unauthenticated",
      "the grant lacks a valid signature of one of the manifest's policy engines",
    );
  }
}

function engineSigned(grant: Grant, engines: readonly Ed25519PublicKey[], proof: GrantProof): boolean {
  return proof.engines.some(
    ({ engine, signature }) =>
      engines.includes(engine) && verifySignature("cairn/grant/v1", grant, engine, signature),
  );
}
