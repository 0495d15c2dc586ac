import { z } from "zod";
import type { Encoded } from "./canonical.ts";
import { clusterIdSchema, type HashHex, hashHexSchema, nodeIndexSchema, unixMsSchema } from "./ids.ts";
import { bodyHash } from "./signed.ts";

/** One entry of a node's audit log, hashed and signed under `cairn/audit/v1`; each names the hash of the one before. */
export const auditEntrySchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  node: nodeIndexSchema,
  seq: z.number().int().min(0),
  previous: hashHexSchema,
  at: unixMsSchema,
  /** What happened, e.g. `request-received`, `vote-cast`, `presignature-burned`, `refused`. */
  kind: z.string().min(1).max(64),
  /** What it concerns: an intent, session, key or node; or empty. */
  subject: z.string().max(128),
  /** Facts, never secrets. */
  data: z.record(
    z.string().max(64),
    z.union([z.string().max(4096), z.number().int(), z.boolean(), z.null()]),
  ),
});
export type AuditEntry = z.output<typeof auditEntrySchema>;

/** What the first entry names as its predecessor. */
export const AUDIT_ROOT = "0".repeat(64) as HashHex;

/** @param entry or what it was encoded to */
export function auditEntryHash(entry: AuditEntry | Encoded): HashHex {
  return bodyHash<HashHex>("cairn/audit/v1", entry);
}
