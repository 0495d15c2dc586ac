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
  signedSchema,
  signedWalletRecordSchema,
} from "@cairn/core";
import { z } from "zod";
import { intentHash, intentSchema } from "./intent.ts";
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

/** The node that the evidence accuses: what it is accused of is proven only once it is judged. */
export function accusedBy(evidence: Evidence): NodeIndex {
  switch (evidence.type) {
    case "DoubleVote":
      return evidence.votes[0].body.voter;
    case "MinorityVote":
      return evidence.vote.body.voter;
    case "Equivocation":
      return evidence.broadcasts[0].body.from;
    case "InvalidPartial":
      return evidence.partial.body.from;
    case "FalseAccusation":
      return evidence.accusation.body.accuser;
  }
}

/** Names the offence, whichever of several proofs of it this is: the id of its violation, so that it is punished once. */
export function offenceId(evidence: Evidence): HashHex {
  const { type } = evidence;
  return bodyHash("cairn/evidence/v1", { type, node: accusedBy(evidence), offence: offenceOf(evidence) });
}

function offenceOf(evidence: Evidence): unknown {
  switch (evidence.type) {
    case "DoubleVote": {
      const { intentHash: intent, round } = evidence.votes[0].body;
      return { intent, round };
    }
    case "MinorityVote":
      return { intent: intentHash(evidence.intent) };
    case "Equivocation": {
      const { execution, round, kind } = evidence.broadcasts[0].body;
      return { execution, round, kind };
    }
    case "InvalidPartial": {
      const { presignature } = evidence.partial.body;
      return { presignature };
    }
    case "FalseAccusation":
      return { evidence: offenceId(evidence.accusation.body.evidence) };
  }
}

/** What the offence is about, for records: an intent or a session; null for accusations. */
export function subjectOf(evidence: Evidence): string | null {
  switch (evidence.type) {
    case "DoubleVote":
      return evidence.votes[0].body.intentHash;
    case "MinorityVote":
      return evidence.vote.body.intentHash;
    case "Equivocation":
      return evidence.broadcasts[0].body.session;
    case "InvalidPartial":
      return evidence.partial.body.session;
    case "FalseAccusation":
      return null;
  }
}
