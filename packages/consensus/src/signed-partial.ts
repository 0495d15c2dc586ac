import {
  clusterIdSchema,
  executionIdSchema,
  hashHexSchema,
  nodeIndexSchema,
  presignatureIdSchema,
  type Signed,
  type Signer,
  sessionIdSchema,
  signBody,
  signedSchema,
} from "@cairn/core";
import { z } from "zod";

/** A partial signature as its signer signs it, under `cairn/partial/v1`: bound to session, presignature and sighash. */
export const partialSignatureSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  session: sessionIdSchema,
  execution: executionIdSchema,
  /** Null where the session signs without one. */
  presignature: presignatureIdSchema.nullable(),
  /** Position of the input in the grant. */
  input: z.number().int().min(0).max(999),
  sighash: hashHexSchema,
  from: nodeIndexSchema,
  /** The engine's encoding. */
  partial: z
    .instanceof(Uint8Array)
    .refine((bytes) => bytes.length <= 4096, "a partial has at most 4096 bytes"),
});
export type PartialSignature = z.output<typeof partialSignatureSchema>;

export const signedPartialSchema = signedSchema(partialSignatureSchema);
export type SignedPartial = Signed<PartialSignature>;

export function signPartial(body: PartialSignature, signer: Signer): SignedPartial {
  return signBody("cairn/partial/v1", body, signer);
}
