import { z } from "zod";
import {
  clusterIdSchema,
  ed25519PublicKeySchema,
  executionIdSchema,
  type KeyId,
  keyIdSchema,
  manifestHashSchema,
  nodeIndexSchema,
  nonceSchema,
  protocolSchema,
  unixMsSchema,
} from "./ids.ts";
import { bodyHash, signedSchema } from "./signed.ts";

/**
 * Asks all n nodes to make a key together. Signed by one operator; every node approves with its own signature, or says why not.
 * Its hash is the key's id.
 */
export const keygenRequestSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  manifest: manifestHashSchema,
  protocol: protocolSchema,
  /** Must be the manifest's t and n. */
  threshold: z.number().int().min(2).max(255),
  total: z.number().int().min(2).max(255),
  /** Name of the default wallet over the new key. */
  label: z.string().min(1).max(64),
  nonce: nonceSchema,
  createdAt: unixMsSchema,
  expiry: unixMsSchema,
  /** The operator key that signs. */
  operator: ed25519PublicKeySchema,
});
export type KeygenRequest = z.output<typeof keygenRequestSchema>;

export const signedKeygenRequestSchema = signedSchema(keygenRequestSchema);
export type SignedKeygenRequest = z.output<typeof signedKeygenRequestSchema>;

export function keygenRequestHash(request: KeygenRequest): KeyId {
  return bodyHash<KeyId>("cairn/keygen-request/v1", request);
}

/** A node's word on a keygen request. */
export const keygenApprovalSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  keyId: keyIdSchema,
  node: nodeIndexSchema,
  approve: z.boolean(),
  /** Error code of the refusal, or null. */
  reason: z.string().max(64).nullable(),
  /** Execution that made the auxiliary information which the node holds for these members, or null. */
  auxExecution: executionIdSchema.nullable(),
});
export type KeygenApproval = z.output<typeof keygenApprovalSchema>;
export const signedKeygenApprovalSchema = signedSchema(keygenApprovalSchema);
export type SignedKeygenApproval = z.output<typeof signedKeygenApprovalSchema>;
