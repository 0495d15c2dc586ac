import {
  clusterIdSchema,
  ed25519PublicKeySchema,
  fencePositionSchema,
  hashHexSchema,
  keyIdSchema,
  manifestHashSchema,
  nodeIndexSchema,
  protocolSchema,
  unixMsSchema,
  walletIdSchema,
} from "@cairn/core";
import { z } from "zod";

const bytes = z.instanceof(Uint8Array);

/**
 * What a backup says beside secrets: canonical DAG-CBOR inside the age file. What peers can give again (payments, votes, evidence) is not in
 * it, and what may be used once (presignatures, nonces) or was handed out (tokens) never is.
 */
export const backupDocumentSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  node: nodeIndexSchema,
  identity: ed25519PublicKeySchema,
  createdAt: unixMsSchema,
  /** Release that made it. */
  software: z.string().max(64),
  /** How far the node was: a restore raises the epoch above it. */
  fence: fencePositionSchema,
  auditHead: hashHexSchema,
  /** Newest co-signed checkpoint of all audit logs, canonical; null before the first. */
  checkpoint: bytes.nullable(),
  /** Configuration as JSON, without tokens. */
  settings: z.string(),
  /** Changes of the manifest that are in force, which the chain of manifests follows from. */
  changes: z.array(
    z.strictObject({
      proposal: hashHexSchema,
      type: z.enum(["manifest", "ban-lift", "refresh"]),
      body: bytes,
      commit: bytes.nullable(),
      createdAt: unixMsSchema,
      expiry: unixMsSchema,
      firstSeenAt: unixMsSchema,
      effectiveAt: unixMsSchema.nullable(),
      updatedAt: unixMsSchema,
    }),
  ),
  manifests: z.array(
    z.strictObject({ sequence: z.number().int().min(0), hash: manifestHashSchema, body: bytes }),
  ),
  keys: z.array(
    z.strictObject({
      keyId: keyIdSchema,
      protocol: protocolSchema,
      purpose: z.string(),
      epoch: z.number().int().min(0),
      status: z.enum(["active", "rotating", "retired"]),
      request: bytes,
      publicPackage: bytes,
      createdAt: unixMsSchema,
      updatedAt: unixMsSchema,
    }),
  ),
  wallets: z.array(
    z.strictObject({
      wallet: walletIdSchema,
      keyId: keyIdSchema,
      label: z.string(),
      record: bytes,
      createdAt: unixMsSchema,
    }),
  ),
  /** Id of the set of parties whose auxiliary information is here, or null. */
  auxiliary: hashHexSchema.nullable(),
  /** Values of the store's `meta` that go with the rest. */
  meta: z.array(
    z.strictObject({
      key: z.string().regex(/^(keygen\/[0-9a-f]{64}|auxiliary-execution\/[0-9a-f]{64}|verified-backups)$/),
      value: bytes,
    }),
  ),
});
export type BackupDocument = z.output<typeof backupDocumentSchema>;
