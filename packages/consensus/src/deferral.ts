import { clusterIdSchema, intentHashSchema, nodeIndexSchema } from "@cairn/core";
import { z } from "zod";
import { MAX_BLOCKING, roundSchema } from "./vote.ts";

/**
 * Tells the others that a node does not vote in this round yet, and what stands in the way. It is no vote, carries no signature
 * of its own (its envelope does) and changes no count.
 */
export const deferralSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  intentHash: intentHashSchema,
  round: roundSchema,
  node: nodeIndexSchema,
  /** Error code. */
  code: z.string().min(1).max(64),
  blocking: z.array(intentHashSchema).max(MAX_BLOCKING),
});
export type Deferral = z.output<typeof deferralSchema>;
