import { z } from "zod";
import { CairnError } from "./error.ts";
import { verifySignature } from "./identity.ts";
import {
  clusterIdSchema,
  ed25519PublicKeySchema,
  nonceSchema,
  type RequestHash,
  requestHashSchema,
  type SignatureHex,
  satsSchema,
  unixMsSchema,
  walletIdSchema,
} from "./ids.ts";
import type { Manifest } from "./manifest.ts";
import { networkSchema } from "./network.ts";
import { bodyHash, signedSchema } from "./signed.ts";

/** One recipient. */
export const spendOutputSchema = z.strictObject({
  /** Bitcoin address of the request's network. */
  address: z.string().min(1).max(128),
  amountSats: satsSchema,
});
export type SpendOutput = z.output<typeof spendOutputSchema>;

/**
 * What an owner asks for, signed by a requester key of the manifest under `cairn/spend-request/v1`.
 * Only this signature asks for a spend.
 */
export const spendRequestSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  network: networkSchema,
  /** Hash of the wallet's descriptor text. */
  wallet: walletIdSchema,
  /** Recipients in the order in which they stand in the transaction. */
  outputs: z.array(spendOutputSchema).min(1).max(200),
  /** The most that may be paid to miners. */
  maxFeeSats: satsSchema,
  /** Fee rate wished for in sat per 1,000 vbytes; null lets the receiving node estimate. */
  feeRateSatsPerKvb: z.number().int().min(1000).max(10_000_000).nullable(),
  /** Makes two payments of the same amount to the same recipient two requests. */
  nonce: nonceSchema,
  createdAt: unixMsSchema,
  /** After this time no node votes for it or signs it. */
  expiry: unixMsSchema,
  /** The request that this one replaces; both are one lineage, and at most one of them is paid. */
  replaces: requestHashSchema.nullable(),
  /** The requester key that signs. */
  requester: ed25519PublicKeySchema,
});
export type SpendRequest = z.output<typeof spendRequestSchema>;

export const signedSpendRequestSchema = signedSchema(spendRequestSchema);
export type SignedSpendRequest = z.output<typeof signedSpendRequestSchema>;

/** Longest time between `createdAt` and `expiry`: what an amnesiac node must wait out (architecture §7). */
export const MAX_REQUEST_LIFETIME_MS = 7 * 24 * 60 * 60 * 1000;

export function spendRequestHash(request: SpendRequest): RequestHash {
  return bodyHash<RequestHash>("cairn/spend-request/v1", request);
}

/**
 * Checks that the request is an owner's: signed by a requester of the manifest, or unsigned where the manifest lets it be.
 * @throws CairnError `unsigned-request`, `unknown-requester`, `signature-invalid`
 */
export function verifyOwner(request: SpendRequest, signature: SignatureHex | null, manifest: Manifest): void {
  const { requester } = request;
  if (signature === null) {
    if (manifest.unsignedRequests && manifest.network === "regtest") return;
    throw new CairnError(
      "unsigned-request",
      "the request carries no owner's signature and this cluster demands one",
    );
  }
  if (!manifest.requesters.includes(requester)) {
    throw new CairnError("unknown-requester", "the request's key is not one of the manifest's requesters", {
      requester,
    });
  }
  if (!verifySignature("cairn/spend-request/v1", request, requester, signature)) {
    throw new CairnError("signature-invalid", "the owner's signature on the request does not verify", {
      requester,
    });
  }
}
