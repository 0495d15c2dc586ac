import { z } from "zod";
import { CairnError } from "./error.ts";
import { fencePositionSchema } from "./fence.ts";
import { clusterIdSchema, nonceSchema, unixMsSchema } from "./ids.ts";
import type { MessageKind } from "./message-kind.ts";

/**
 * What can be asked for, and the kinds of messages that answer it. All of them are signed by their authors or prove themselves, so an
 * answering peer can leave something out but make nothing up; presignatures are never among them.
 */
export const syncTopics = {
  lineages: ["intent", "approval", "vote", "void", "certificate", "final"],
  keys: ["keygen-request", "keygen-approval", "public-package", "wallet-signature"],
  evidence: ["evidence"],
  changes: ["change", "change-vote", "change-commit"],
  checkpoints: ["checkpoint"],
} as const satisfies Record<string, readonly MessageKind[]>;
export type SyncTopic = keyof typeof syncTopics;

const topicNames = ["lineages", "keys", "evidence", "changes", "checkpoints"] as const satisfies SyncTopic[];
const topicSchema = z.enum(topicNames);
const syncedKinds = topicNames.flatMap((topic): readonly SyncedKind[] => syncTopics[topic]);
export type SyncedKind = (typeof syncTopics)[SyncTopic][number];

/** Place in the answering peer's list, opaque to the one who asks. */
const cursorSchema = z.string().min(1).max(128);

/** Records of one answer. The answering peer also ends it before the frame grows too large. */
export const MAX_SYNC_RECORDS = 256;

/** Asks a peer for what it holds of a topic. Travels in an envelope, not signed by itself. */
export const syncRequestSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  /** Fresh; the answer repeats it. */
  nonce: nonceSchema,
  topic: topicSchema,
  /** Only what the peer came to hold at this time or later, by its own clock; 0 for everything. */
  since: unixMsSchema,
  /** The answer before's, to go on from there; null for the beginning. */
  cursor: cursorSchema.nullable(),
  limit: z.number().int().min(1).max(MAX_SYNC_RECORDS),
});
export type SyncRequest = z.output<typeof syncRequestSchema>;

/** One message as the peer would have posted it. */
export const syncRecordSchema = z.strictObject({
  kind: z.enum(syncedKinds),
  /** Canonical bytes of the kind's own structure, checked as if its author had sent it. */
  body: z.instanceof(Uint8Array).refine((body) => body.length > 0, "a record is not empty"),
});
export type SyncRecord = z.output<typeof syncRecordSchema>;

/** A part of a peer's holdings. Travels in an envelope, not signed by itself. */
export const syncAnswerSchema = z
  .strictObject({
    version: z.literal(1),
    cluster: clusterIdSchema,
    /** The request's. */
    nonce: nonceSchema,
    topic: topicSchema,
    records: z.array(syncRecordSchema).max(MAX_SYNC_RECORDS),
    /** Where to go on; null when there is no more. */
    cursor: cursorSchema.nullable(),
    /** The highest position that the peer remembers of the node that asks; null when it remembers none. */
    remembered: fencePositionSchema.nullable(),
  })
  .superRefine(({ topic, records }, context) => {
    const kinds: readonly SyncedKind[] = syncTopics[topic];
    if (records.some(({ kind }) => !kinds.includes(kind)))
      context.addIssue({ code: "custom", message: "a record's kind does not belong to the topic" });
  });
export type SyncAnswer = z.output<typeof syncAnswerSchema>;

/**
 * Checks that `answer` belongs to `request`.
 * @throws CairnError `wrong-cluster`, `replayed` (to another request), `malformed` (another topic, or more than was asked for)
 */
export function verifySyncAnswer(answer: SyncAnswer, request: SyncRequest): void {
  if (answer.cluster !== request.cluster)
    throw new CairnError("wrong-cluster", "the sync answer is of another cluster");
  if (answer.nonce !== request.nonce)
    throw new CairnError("replayed", "the sync answer belongs to another request");
  if (answer.topic !== request.topic || answer.records.length > request.limit) {
    throw new CairnError("malformed", "the sync answer is about something else, or longer than asked for", {
      topic: answer.topic,
      records: answer.records.length,
    });
  }
  if (answer.cursor !== null && answer.cursor === request.cursor)
    throw new CairnError("malformed", "the sync answer leads back to where it began");
}
