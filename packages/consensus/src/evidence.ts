import { bodyHash, type HashHex } from "@cairn/core";
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
] as const;
export type ViolationType = (typeof violationTypes)[number];

/** Largest public data that evidence may carry, in bytes. */
export const MAX_PUBLIC_DATA_BYTES = 256 * 1024;

/** A self-contained proof of a fault: whoever holds the manifest can judge it offline. */
export const evidenceSchema = z.discriminatedUnion("type", [
  /** Two signed votes of one voter for one (intent, round) that differ. */
  z.strictObject({
    type: z.literal("DoubleVote"),
    version: z.literal(1),
    votes: z.tuple([signedVoteSchema, signedVoteSchema]),
  }),
  /** An approval of an intent that is statically invalid. */
  z.strictObject({
    type: z.literal("MinorityVote"),
    version: z.literal(1),
    intent: intentSchema,
    vote: signedVoteSchema,
  }),
  /** Two signed broadcasts of one sender for one (execution, round, kind) that differ. */
  z.strictObject({
    type: z.literal("Equivocation"),
    version: z.literal(1),
    broadcasts: z.tuple([signedBroadcastSchema, signedBroadcastSchema]),
  }),
  /** A signed partial that fails against public data which every signer, the accused among them, signed. */
  z.strictObject({
    type: z.literal("InvalidPartial"),
    version: z.literal(1),
    partial: signedPartialSchema,
    publicData: z
      .instanceof(Uint8Array)
      .refine(
        (bytes) => bytes.length <= MAX_PUBLIC_DATA_BYTES,
        `expected at most ${MAX_PUBLIC_DATA_BYTES} bytes`,
      ),
    acceptances: z.array(signedPublicDataAcceptanceSchema).min(2).max(255),
  }),
]);
export type Evidence = z.output<typeof evidenceSchema>;

/** Names a piece of evidence: the id of its violation. */
export function evidenceHash(evidence: Evidence): HashHex {
  return bodyHash<HashHex>("cairn/evidence/v1", evidence);
}
