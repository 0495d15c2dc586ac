import { z } from "zod";
import { CairnError } from "./error.ts";
import {
  clusterIdSchema,
  type IntentHash,
  intentHashSchema,
  nonceSchema,
  type RequestHash,
  requestHashSchema,
} from "./ids.ts";

/**
 * What can be asked for, and the kinds of records that answer it. All of them are signed by their authors or prove themselves, so an
 * answering peer can leave something out but make nothing up; presignatures are never among them.
 */
export const syncTopics = {
  changes: ["change-commit"],
  wallets: ["wallet"],
  evidence: ["evidence"],
  spends: ["intent", "approval", "vote", "void", "certificate", "final"],
} as const satisfies Record<string, readonly string[]>;
export type SyncTopic = keyof typeof syncTopics;
export type SyncedKind = (typeof syncTopics)[SyncTopic][number];

/** In the order in which a node asks for them: each may be needed to judge those after it. */
export const syncTopicNames = ["changes", "wallets", "evidence", "spends"] as const satisfies SyncTopic[];
const topicSchema = z.enum(syncTopicNames);
const syncedKinds = syncTopicNames.flatMap((topic): readonly SyncedKind[] => syncTopics[topic]);

/** Place in the answering peer's list, opaque to the one who asks. */
const cursorSchema = z.string().min(1).max(128);

/** Records or holdings of one answer. The answering peer also ends it before the frame grows too large. */
export const MAX_SYNC_RECORDS = 256;
/** Spends that can be asked for by name at a time. */
export const MAX_SYNC_WANTED = 64;
/** Rounds in which a node may have voted on one spend. */
const MAX_ROUNDS = 255;

/** Asks a peer for what it holds of a topic. Travels in an envelope, not signed by itself. */
export const syncRequestSchema = z
  .strictObject({
    version: z.literal(1),
    cluster: clusterIdSchema,
    /** Fresh; the answer repeats it. */
    nonce: nonceSchema,
    topic: topicSchema,
    /** An earlier answer's, to go on from there; null for the beginning. */
    cursor: cursorSchema.nullable(),
    limit: z.number().int().min(1).max(MAX_SYNC_RECORDS),
    /** Spends to hand over; null asks which there are. Of the topic `spends` alone. */
    wanted: z
      .strictObject({
        intents: z.array(intentHashSchema).max(MAX_SYNC_WANTED),
        /** Each stands for one intent that was made of it: the one that is signed, else the first. */
        requests: z.array(requestHashSchema).max(MAX_SYNC_WANTED),
      })
      .nullable(),
  })
  .superRefine(({ topic, wanted, cursor }, context) => {
    if (wanted === null) return;
    const count = wanted.intents.length + wanted.requests.length;
    if (topic === "spends" && cursor === null && count >= 1 && count <= MAX_SYNC_WANTED) return;
    context.addIssue({ code: "custom", message: "spends alone are wanted by name, some and not too many" });
  });
export type SyncRequest = z.output<typeof syncRequestSchema>;
export type SyncWanted = NonNullable<SyncRequest["wanted"]>;

/** How much of one spend the answering peer holds. Believed by nobody: it says what is worth asking for. */
export const syncHoldingSchema = z.strictObject({
  intent: intentHashSchema,
  certified: z.boolean(),
  signed: z.boolean(),
  votes: z.number().int().min(0),
  voids: z.number().int().min(0),
  /** Rounds of which it holds a vote of the node that asks, ascending. */
  yours: z.array(z.number().int().min(1)).max(MAX_ROUNDS),
  /** Whether it holds a void of the node that asks. */
  yourVoid: z.boolean(),
});
export type SyncHolding = z.output<typeof syncHoldingSchema>;

/** One structure, as its author signed it or as it proves itself. */
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
    /** Which spends there are, in the order in which they last changed at the peer; none where some were wanted by name. */
    holdings: z.array(syncHoldingSchema).max(MAX_SYNC_RECORDS),
    /** Each spend's begin with its intent. Of spends that were wanted by name, as many as one answer can hold. */
    records: z.array(syncRecordSchema),
    /** Where this answer ends, also when nothing follows yet; null where there is nothing to go on from. */
    cursor: cursorSchema.nullable(),
    /** Whether more follows at once. */
    more: z.boolean(),
  })
  .superRefine(({ topic, records, holdings }, context) => {
    const kinds: readonly SyncedKind[] = syncTopics[topic];
    const issue = (message: string) => context.addIssue({ code: "custom", message });
    if (records.some(({ kind }) => !kinds.includes(kind)))
      issue("a record's kind does not belong to the topic");
    if (topic === "spends" && records.length > 0 && records[0]?.kind !== "intent")
      issue("a spend's records begin with its intent");
    if (topic === "spends" ? records.length > 0 && holdings.length > 0 : holdings.length > 0)
      issue("holdings are of spends, and of no answer that hands over records");
  });
export type SyncAnswer = z.output<typeof syncAnswerSchema>;

/**
 * Checks that `answer` belongs to `request`.
 * @throws CairnError `wrong-cluster`, `replayed` (to another request), `malformed` (another topic, more than was asked for, or no way on)
 */
export function verifySyncAnswer(answer: SyncAnswer, request: SyncRequest): void {
  const { topic, records, holdings } = answer;
  if (answer.cluster !== request.cluster)
    throw new CairnError("wrong-cluster", "the sync answer is of another cluster");
  if (answer.nonce !== request.nonce)
    throw new CairnError("replayed", "the sync answer belongs to another request");
  const items = topic === "spends" ? records.filter(({ kind }) => kind === "intent") : records;
  const most = request.wanted === null ? request.limit : wantedCount(request.wanted);
  const asked = topic !== "spends" || (request.wanted === null ? records : holdings).length === 0;
  if (topic !== request.topic || !asked || Math.max(items.length, holdings.length) > most) {
    throw new CairnError("malformed", "the sync answer is about something else, or longer than asked for", {
      topic,
      records: records.length,
    });
  }
  if (answer.more && (answer.cursor === null || answer.cursor === request.cursor))
    throw new CairnError("malformed", "the sync answer leads back to where it began");
}

function wantedCount({ intents, requests }: SyncWanted): number {
  return intents.length + requests.length;
}

/** What a request for spends by name asks for, in parts that one request can hold. */
export function inWantedParts(intents: readonly IntentHash[], requests: readonly RequestHash[]): SyncWanted {
  const first = intents.slice(0, MAX_SYNC_WANTED);
  return { intents: first, requests: requests.slice(0, MAX_SYNC_WANTED - first.length) };
}
