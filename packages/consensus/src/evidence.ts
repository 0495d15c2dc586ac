import {
  bodyHash,
  clusterIdSchema,
  type HashHex,
  manifestHashSchema,
  type NodeIndex,
  nodeIndexSchema,
  type Signed,
  type Signer,
  signBody,
  signedFenceAnswerSchema,
  signedSchema,
  signedWalletRecordSchema,
} from "@cairn/core";
import { z } from "zod";
import { intentSchema } from "./intent.ts";
import { signedPublicDataAcceptanceSchema } from "./public-data-acceptance.ts";
import { signedBroadcastSchema } from "./signed-broadcast.ts";
import { signedPartialSchema } from "./signed-partial.ts";
import { signedVoteSchema } from "./vote.ts";

/** Byzantine faults (architecture §6). Those of {@link evidenceSchema} can be proven to third parties; the others cannot. */
export const violationTypes = [
  "DoubleVote",
  "InvalidSignature",
  "MinorityVote",
  "Equivocation",
  "InvalidRoundMessage",
  "InvalidPartial",
  "Rollback",
  "Timeout",
  "FalseAccusation",
] as const;
export type ViolationType = (typeof violationTypes)[number];

/** Largest public data that evidence may carry, in bytes: those of 255 signers fit. */
export const MAX_PUBLIC_DATA_BYTES = 32 * 1024;

const claim = {
  version: z.literal(1),
  /** The manifest by which it is to be judged. */
  manifestHash: manifestHashSchema,
};

const faultSchemas = [
  /** Two signed votes of one voter for one (intent, round) that differ. */
  z.strictObject({
    type: z.literal("DoubleVote"),
    ...claim,
    votes: z.tuple([signedVoteSchema, signedVoteSchema]),
  }),
  /** An approval of an intent that is statically invalid. */
  z.strictObject({
    type: z.literal("MinorityVote"),
    ...claim,
    intent: intentSchema,
    /** The wallet's record with all nodes' signatures; null where the fault shows without its descriptor. */
    wallet: signedWalletRecordSchema.nullable(),
    vote: signedVoteSchema,
  }),
  /** Two signed broadcasts of one sender for one (execution, round, kind) that differ. */
  z.strictObject({
    type: z.literal("Equivocation"),
    ...claim,
    broadcasts: z.tuple([signedBroadcastSchema, signedBroadcastSchema]),
  }),
  /** A signed partial that fails against the public data which its own signer signed. */
  z.strictObject({
    type: z.literal("InvalidPartial"),
    ...claim,
    partial: signedPartialSchema,
    publicData: z
      .instanceof(Uint8Array)
      .refine(
        (bytes) => bytes.length <= MAX_PUBLIC_DATA_BYTES,
        `expected at most ${MAX_PUBLIC_DATA_BYTES} bytes`,
      ),
    acceptance: signedPublicDataAcceptanceSchema,
  }),
  /** Two answers of one node to fence challenges, of which the later denies the earlier. */
  z.strictObject({
    type: z.literal("Rollback"),
    ...claim,
    answers: z.tuple([signedFenceAnswerSchema, signedFenceAnswerSchema]),
  }),
] as const;

/** A node's word, under `cairn/accusation/v1`, that the evidence proves its fault: a false word is a fault of its own. */
function accusationOf<Evidence extends z.ZodType>(evidence: Evidence) {
  return z.strictObject({
    version: z.literal(1),
    cluster: clusterIdSchema,
    accuser: nodeIndexSchema,
    evidence,
  });
}

/** A self-contained proof of a fault: whoever holds the manifest can judge it offline. */
export const evidenceSchema = z.discriminatedUnion("type", [
  ...faultSchemas,
  /** A signed accusation whose evidence proves nothing. */
  z.strictObject({
    type: z.literal("FalseAccusation"),
    ...claim,
    accusation: signedSchema(accusationOf(z.discriminatedUnion("type", faultSchemas))),
  }),
]);
export type Evidence = z.output<typeof evidenceSchema>;

export const accusationSchema = accusationOf(evidenceSchema);
export type Accusation = z.output<typeof accusationSchema>;

/** Payload of a peer message of kind `evidence`. */
export const signedAccusationSchema = signedSchema(accusationSchema);
export type SignedAccusation = Signed<Accusation>;

export function signAccusation(body: Accusation, accuser: Signer): SignedAccusation {
  return signBody("cairn/accusation/v1", body, accuser);
}

/** What evidence alleges. */
export interface Offence {
  readonly node: NodeIndex;
  /** Intent or session that it is about, for records; null where it is about neither. */
  readonly subject: string | null;
  /** The same for every proof of one offence, at every node, so that it is punished once: the id of its violation. */
  readonly id: HashHex;
}

/** Whom the evidence accuses of what; whether it proves that, its judge says. */
export function offenceOf(evidence: Evidence): Offence {
  const { type } = evidence;
  const { node, subject, ...offence } = allegation(evidence);
  return { node, subject, id: bodyHash("cairn/evidence/v1", { type, node, offence }) };
}

/** The accused and the subject; what else names the offence. */
function allegation(evidence: Evidence): Pick<Offence, "node" | "subject"> & Record<string, unknown> {
  switch (evidence.type) {
    case "DoubleVote": {
      const { voter, intentHash: intent, round } = evidence.votes[0].body;
      return { node: voter, subject: intent, intent, round };
    }
    case "MinorityVote": {
      const { voter, intentHash: intent } = evidence.vote.body;
      return { node: voter, subject: intent, intent };
    }
    case "Equivocation": {
      const { from, session, execution, round, kind } = evidence.broadcasts[0].body;
      return { node: from, subject: session, execution, round, kind };
    }
    case "InvalidPartial": {
      const { from, session, presignature } = evidence.partial.body;
      return { node: from, subject: session, presignature };
    }
    case "Rollback": {
      const { node, position } = evidence.answers[0].body;
      // Everybody who remembers more than the node does can make a proof: they are one offence.
      return { node, subject: null, epoch: position.epoch };
    }
    case "FalseAccusation": {
      const { accuser, evidence: alleged } = evidence.accusation.body;
      return { node: accuser, subject: null, evidence: offenceOf(alleged).id };
    }
  }
}
