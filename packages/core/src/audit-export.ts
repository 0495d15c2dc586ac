import { z } from "zod";
import { type AuditEntry, auditEntrySchema } from "./audit.ts";
import { decodeCanonical } from "./canonical.ts";
import { type SignedCheckpoint, signedCheckpointSchema } from "./checkpoint.ts";
import {
  type ClusterId,
  clusterIdSchema,
  type HashHex,
  hashHexSchema,
  type NodeIndex,
  nodeIndexSchema,
  signatureHexSchema,
  txidSchema,
} from "./ids.ts";
import type { AuditRow, CheckpointRow, ManifestRow } from "./ports/node-store.ts";

/** Hexadecimal digits of the largest transaction that Bitcoin nodes relay: 400,000 weight units are no more bytes than that. */
const MAX_TRANSACTION_HEX = 800_000;

const displayedHash = z.string().regex(/^[0-9a-f]{64}$/);

/** First line of an export. Not signed: it says what to expect, so that a file that was cut off in transit is noticed. */
export const auditExportHeaderSchema = z.strictObject({
  export: z.literal("cairn-audit"),
  version: z.literal(1),
  cluster: clusterIdSchema,
  node: nodeIndexSchema,
  /** Entries in the export, from the first of the log. */
  length: z.number().int().min(0),
  /** Hash of the newest of them. */
  head: hashHexSchema,
});
export type AuditExportHeader = z.output<typeof auditExportHeaderSchema>;

/** A transaction that anchors a checkpoint, and where in which block it stands. Nothing of it need be believed: each part proves itself. */
export const auditAnchorSchema = z.strictObject({
  checkpoint: signedCheckpointSchema,
  txid: txidSchema,
  /** The whole transaction, hex. */
  transaction: z
    .string()
    .regex(/^(?:[0-9a-f]{2})+$/)
    .max(MAX_TRANSACTION_HEX),
  /** Null while it is in no block. Hashes are in the order in which people read them. */
  inclusion: z
    .strictObject({
      blockHeight: z.number().int().min(0),
      blockHash: displayedHash,
      /** 80 bytes, hex. */
      header: z.string().regex(/^[0-9a-f]{160}$/),
      /** The transaction's place in the block. */
      position: z.number().int().min(0).max(0xffffffff),
      /** From the transaction to the header's merkle root, lowest first. */
      siblings: z.array(displayedHash).max(32),
    })
    .nullable(),
});
export type AuditAnchor = z.output<typeof auditAnchorSchema>;

/**
 * One line of an export in JSON: the header; the manifests from the genesis, which prove the node's keys; the checkpoints that cover
 * the entries; the anchors of checkpoints on the chain; the entries.
 */
export const auditExportLineSchema = z.union([
  z.strictObject({ entry: auditEntrySchema, signature: signatureHexSchema }),
  z.strictObject({ checkpoint: signedCheckpointSchema }),
  z.strictObject({ anchor: auditAnchorSchema }),
  /** Canonical `SignedManifest`. */
  z.strictObject({ manifest: z.base64() }),
  auditExportHeaderSchema,
]);
export type AuditExportLine = z.output<typeof auditExportLineSchema>;

export function auditHeaderLine(from: {
  readonly cluster: ClusterId;
  readonly node: NodeIndex;
  readonly length: number;
  readonly head: HashHex;
}): string {
  return JSON.stringify({ export: "cairn-audit", version: 1, ...from } satisfies AuditExportHeader);
}

export function auditManifestLine({ body }: ManifestRow): string {
  return JSON.stringify({ manifest: Buffer.from(body).toString("base64") });
}

export function auditCheckpointLine({ body }: CheckpointRow): string {
  const checkpoint: SignedCheckpoint = decodeCanonical(signedCheckpointSchema, body);
  return JSON.stringify({ checkpoint });
}

export function auditAnchorLine(anchor: AuditAnchor): string {
  return JSON.stringify({ anchor });
}

export function auditEntryLine({ body, signature }: AuditRow): string {
  const entry: AuditEntry = decodeCanonical(auditEntrySchema, body);
  return JSON.stringify({ entry, signature });
}
