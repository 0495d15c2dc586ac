import {
  clusterIdSchema,
  executionIdSchema,
  hashHexSchema,
  nodeIndexSchema,
  type Signed,
  type Signer,
  sessionIdSchema,
  signBody,
  signedSchema,
} from "@cairn/core";
import { z } from "zod";

/**
 * What a signer signs of each MPC broadcast, over its plaintext and before sealing, under `cairn/broadcast/v1` (architecture §4).
 * The execution id holds a fresh nonce of every signer, so an honest node never signs two of one (execution, round, kind).
 */
export const broadcastSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  session: sessionIdSchema,
  execution: executionIdSchema,
  round: z.number().int().min(0).max(255),
  /** Which message of the round, for protocols that broadcast several. */
  kind: z.string().min(1).max(32),
  from: nodeIndexSchema,
  /** SHA-256 of the message's plaintext. */
  digest: hashHexSchema,
});
export type Broadcast = z.output<typeof broadcastSchema>;

export const signedBroadcastSchema = signedSchema(broadcastSchema);
export type SignedBroadcast = Signed<Broadcast>;

export function signBroadcast(body: Broadcast, signer: Signer): SignedBroadcast {
  return signBody("cairn/broadcast/v1", body, signer);
}
