import { clusterIdSchema, hashHexSchema, nodeIndexSchema, sessionIdSchema, signedSchema } from "@cairn/core";
import { z } from "zod";

/** Why a node refuses a proposal. All are codes of `CairnError`. */
export const nackCodes = [
  "not-initiator",
  "not-member",
  "subset-invalid",
  "session-conflict",
  "replayed",
  "grant-expired",
  "grant-invalid",
  "not-yet-valid",
  "not-found",
  "unsupported-version",
  "wrong-cluster",
  "limit-exceeded",
  "rate-limited",
  "policy-denied",
  "psbt-invalid",
  "coin-spent",
  "coin-reserved",
  "chain-unavailable",
  "presignature-used",
  "presignature-mismatch",
  "wrong-state",
  "vault-locked",
  "NodeBanned",
  "rolled-back",
  "busy",
  "closed",
] as const;
export type NackCode = (typeof nackCodes)[number];

/** A signer's refusal, with its reason. Signed under `cairn/nack/v1`. */
export const nackSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  session: sessionIdSchema,
  node: nodeIndexSchema,
  proposalHash: hashHexSchema,
  code: z.enum(nackCodes),
  /** For people: what is wrong and how to mend it. */
  message: z.string().max(512),
});
export type Nack = z.output<typeof nackSchema>;

export const signedNackSchema = signedSchema(nackSchema);
export type SignedNack = z.output<typeof signedNackSchema>;
