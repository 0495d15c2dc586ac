import {
  CairnError,
  decodeCanonical,
  encodeCanonical,
  messageKinds,
  type PeerMessage,
  sessionIdSchema,
} from "@cairn/core";
import { z } from "zod";

const bytes = z.instanceof(Uint8Array);

/** Longest id of a posted message. */
export const MAX_POST_ID = 256;

const postIdSchema = z.string().min(1).max(MAX_POST_ID);

/** Receipts in one envelope at most. */
export const MAX_RECEIPT_IDS = 256;

/**
 * What an envelope's sealed payload holds: the message's own payload, the id that its receipt names when it was posted, and receipts: ids of
 * posted messages that its sender has handled.
 */
const sealedPayloadSchema = z.strictObject({
  id: postIdSchema.nullable(),
  body: bytes,
  receipts: z.array(postIdSchema).max(MAX_RECEIPT_IDS),
});
export interface SealedPayload {
  readonly id: string | null;
  readonly body: Uint8Array;
  readonly receipts: readonly string[];
}

export function encodeSealedPayload(payload: SealedPayload): Uint8Array {
  return encodeCanonical(payload);
}

/** @throws CairnError `malformed`, `not-canonical`, `too-large` */
export function decodeSealedPayload(encoded: Uint8Array): SealedPayload {
  return decodeCanonical(sealedPayloadSchema, encoded);
}

const peerMessageSchema = z.strictObject({
  kind: z.enum(messageKinds),
  session: sessionIdSchema.nullable(),
  round: z.number().int().min(0).max(255),
  payload: bytes,
  trace: z.string().max(128).nullable(),
});

/** A message as an outbox row keeps it. */
export function encodePeerMessage(message: PeerMessage): Uint8Array {
  const { kind, session, round, payload, trace } = message;
  return encodeCanonical({ kind, session, round, payload, trace });
}

/** @throws CairnError `storage-corrupt` when the row holds no message */
export function decodePeerMessage(encoded: Uint8Array): PeerMessage {
  try {
    return decodeCanonical(peerMessageSchema, encoded);
  } catch (cause) {
    throw new CairnError("storage-corrupt", "an outbox row does not hold a message", {}, { cause });
  }
}
