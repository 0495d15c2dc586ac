import { clusterIdSchema, nodeIndexSchema, sessionIdSchema, signedSchema } from "@cairn/core";
import { z } from "zod";

/** Why a session ended without its result. All are codes of `CairnError`. */
export const abortCodes = [
  "timeout",
  "invalid-round-message",
  "invalid-partial",
  "equivocation",
  "signing-failed",
  "keygen-failed",
  "presignature-used",
  "presignature-mismatch",
  "replayed",
  "peer-disagrees",
  "sealed-blob-invalid",
  "native-missing",
  "grant-expired",
  "closed",
  "internal",
] as const;
export type AbortCode = (typeof abortCodes)[number];

/** A participant leaves the session, which ends it for all. Signed under `cairn/abort/v1`. */
export const abortSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  session: sessionIdSchema,
  node: nodeIndexSchema,
  code: z.enum(abortCodes),
  /** Whom this node holds responsible: a claim, never proof. */
  blamed: z.array(nodeIndexSchema).max(255),
});
export type Abort = z.output<typeof abortSchema>;

export const signedAbortSchema = signedSchema(abortSchema);
export type SignedAbort = z.output<typeof signedAbortSchema>;
