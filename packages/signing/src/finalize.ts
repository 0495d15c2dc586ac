import { clusterIdSchema, hashHexSchema, nodeIndexSchema, sessionIdSchema, signedSchema } from "@cairn/core";
import { z } from "zod";
import { byteArraySchema } from "./byte-array.ts";

/** The session's signatures, sent to all members: of a grant by the initiator, else by each signer. Signed under `cairn/finalize/v1`; each receiver verifies every signature itself. */
export const finalizeSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  session: sessionIdSchema,
  /** The grant, or the key id of a test signature. */
  subject: hashHexSchema,
  node: nodeIndexSchema,
  /** 64 bytes for each input, in the order of the grant. */
  signatures: z
    .array(byteArraySchema(64).refine((bytes) => bytes.length === 64, "a signature has 64 bytes"))
    .min(1)
    .max(1024),
});
export type Finalize = z.output<typeof finalizeSchema>;

export const signedFinalizeSchema = signedSchema(finalizeSchema);
export type SignedFinalize = z.output<typeof signedFinalizeSchema>;
