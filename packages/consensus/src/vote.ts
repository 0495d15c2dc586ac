import {
  clusterIdSchema,
  decodeCanonical,
  encodeCanonical,
  equalBytes,
  intentHashSchema,
  type Manifest,
  type ManifestHash,
  manifestHashSchema,
  nodeIndexSchema,
  type Signed,
  type Signer,
  signBody,
  signedSchema,
  verifyManifestWord,
} from "@cairn/core";
import { z } from "zod";
import { deepFreeze } from "./deep-freeze.ts";

/** Rounds of voting on one intent, counted from {@link FIRST_ROUND}. */
export const MAX_ROUNDS = 3;
export const FIRST_ROUND = 1;

/** Most blocking intents that a vote or a deferral names. */
export const MAX_BLOCKING = 16;

export const roundSchema = z.number().int().min(FIRST_ROUND).max(MAX_ROUNDS);

/** Why a node rejects or defers: an error code, and the intents that stand in the way. */
export const voteReasonSchema = z.strictObject({
  code: z.string().min(1).max(64),
  blocking: z.array(intentHashSchema).max(MAX_BLOCKING),
});
export type VoteReason = z.output<typeof voteReasonSchema>;

/** One node's word on one intent in one round (architecture §5.3). An honest node signs one a round, ever. */
export const voteSchema = z
  .strictObject({
    version: z.literal(1),
    cluster: clusterIdSchema,
    manifestHash: manifestHashSchema,
    intentHash: intentHashSchema,
    round: roundSchema,
    voter: nodeIndexSchema,
    approve: z.boolean(),
    /** Null exactly for approvals. */
    reason: voteReasonSchema.nullable(),
  })
  .refine((vote) => vote.approve === (vote.reason === null), "a rejection has a reason, an approval none");
export type Vote = z.output<typeof voteSchema>;

export const signedVoteSchema = signedSchema(voteSchema);
export type SignedVote = Signed<Vote>;

/** Signs under `cairn/vote/v1`. The caller has stored what the vote implies. */
export function signVote(vote: Vote, signer: Signer): SignedVote {
  return signBody("cairn/vote/v1", vote, signer);
}

/** Bytes of votes that were encoded or decoded before. The votes are frozen. */
const bytesOf = new WeakMap<SignedVote, Uint8Array>();

/** The vote's canonical bytes, made once. */
export function encodeVote(signed: SignedVote): Uint8Array {
  const known = bytesOf.get(signed);
  if (known !== undefined) return known;
  const bytes = encodeCanonical(signed);
  deepFreeze(signed);
  bytesOf.set(signed, bytes);
  return bytes;
}

/** @throws CairnError `malformed` */
export function decodeVote(bytes: Uint8Array): SignedVote {
  const signed = decodeCanonical(signedVoteSchema, bytes);
  deepFreeze(signed);
  bytesOf.set(signed, bytes);
  return signed;
}

/** Votes that were found genuine, and under which manifest. They are frozen, so that what was checked is what is used. */
const genuine = new WeakMap<SignedVote, Manifest>();

/**
 * Checks that `signed` is a member's vote under this manifest. The same vote is checked once, however often it is met.
 * @throws CairnError `wrong-cluster`, `wrong-manifest`, `not-member`, `signature-invalid`
 */
export function verifyVote(signed: SignedVote, manifest: Manifest, manifestHash: ManifestHash): void {
  if (genuine.get(signed) === manifest && signed.body.manifestHash === manifestHash) return;
  verifyManifestWord("cairn/vote/v1", signed, signed.body.voter, manifest, manifestHash);
  deepFreeze(signed);
  genuine.set(signed, manifest);
}

/** Whether two votes say the same. Two that do not, of one voter for one intent and round, are a double vote. */
export function sameVote(a: Vote, b: Vote): boolean {
  return equalBytes(encodeCanonical(a), encodeCanonical(b));
}
