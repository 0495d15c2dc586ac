import { z } from "zod";
import { checkpointSchema, signedCheckpointSchema } from "./checkpoint.ts";
import { signedFenceAnswerSchema } from "./fence.ts";
import { hashHexSchema, signatureHexSchema } from "./ids.ts";

/** Asks the other members to co-sign a checkpoint. Travels in an envelope, not signed by itself. */
export const checkpointProposalSchema = z.strictObject({
  version: z.literal(1),
  checkpoint: checkpointSchema,
  /** The proposer's own signature on it, which stands for its own head. */
  signature: signatureHexSchema,
  /** The checkpoint that it follows, for those who missed it; null before the first. */
  previous: signedCheckpointSchema.nullable(),
  /** Where a head is another than in `previous`: its node's own word for it, to whomever it was given. */
  heads: z.array(signedFenceAnswerSchema).max(255),
});
export type CheckpointProposal = z.output<typeof checkpointProposalSchema>;

/** The answer of a member that co-signs. Travels in an envelope, not signed by itself. */
export const checkpointSignatureSchema = z.strictObject({
  version: z.literal(1),
  /** Hash of the checkpoint. */
  checkpoint: hashHexSchema,
  signature: signatureHexSchema,
});
export type CheckpointSignature = z.output<typeof checkpointSignatureSchema>;
