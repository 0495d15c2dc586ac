import { clusterIdSchema, hashHexSchema, nodeIndexSchema, sessionIdSchema, signedSchema } from "@cairn/core";
import { z } from "zod";
import { signedAckSchema } from "./ack.ts";

/** The initiator's sign to begin: the Acks of all signers. Signed under `cairn/start/v1`. */
export const startSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  session: sessionIdSchema,
  initiator: nodeIndexSchema,
  proposalHash: hashHexSchema,
  /** Of all signers, ascending by node. */
  acks: z.array(signedAckSchema).min(2).max(255),
});
export type Start = z.output<typeof startSchema>;

export const signedStartSchema = signedSchema(startSchema);
export type SignedStart = z.output<typeof signedStartSchema>;
