import { signedBroadcastSchema } from "@cairn/consensus";
import {
  clusterIdSchema,
  executionIdSchema,
  MAX_FRAME_BYTES,
  nodeIndexSchema,
  sessionIdSchema,
} from "@cairn/core";
import { z } from "zod";
import { byteArraySchema } from "./byte-array.ts";

const payload = byteArraySchema(MAX_FRAME_BYTES);

/**
 * What an engine says to all. `signed` is the sender's word on the payload's SHA-256, under `cairn/broadcast/v1`, so that a third party
 * can judge two that differ. Its `kind` counts the sender's broadcasts of the round from "0": an honest node never signs two payloads for one
 * (execution, round, kind).
 */
export const broadcastMessageSchema = z.strictObject({
  type: z.literal("broadcast"),
  signed: signedBroadcastSchema,
  payload,
});
export type BroadcastMessage = z.output<typeof broadcastMessageSchema>;

/** What an engine says to one other. Only the envelope is signed: faults in it exclude, and prove nothing to third parties. */
export const directMessageSchema = z.strictObject({
  type: z.literal("direct"),
  version: z.literal(1),
  cluster: clusterIdSchema,
  session: sessionIdSchema,
  execution: executionIdSchema,
  from: nodeIndexSchema,
  to: nodeIndexSchema,
  round: z.number().int().min(1).max(255),
  payload,
});
export type DirectMessage = z.output<typeof directMessageSchema>;

/** Payload of a peer message of kind `round`. */
export const roundMessageSchema = z.discriminatedUnion("type", [broadcastMessageSchema, directMessageSchema]);
export type RoundMessage = z.output<typeof roundMessageSchema>;
