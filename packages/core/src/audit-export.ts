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
} from "./ids.ts";
import type { AuditRow, CheckpointRow, ManifestRow } from "./ports/node-store.ts";

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

/**
 * One line of an export in JSON: the header; the manifests from the genesis, which prove the node's keys; the checkpoints that cover
 * the entries; the entries.
 */
export const auditExportLineSchema = z.union([
  z.strictObject({ entry: auditEntrySchema, signature: signatureHexSchema }),
  z.strictObject({ checkpoint: signedCheckpointSchema }),
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

export function auditEntryLine({ body, signature }: AuditRow): string {
  const entry: AuditEntry = decodeCanonical(auditEntrySchema, body);
  return JSON.stringify({ entry, signature });
}
