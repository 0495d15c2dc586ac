import {
  bodyHash,
  CairnError,
  clusterIdSchema,
  type HashHex,
  hashHexSchema,
  nodeIndexSchema,
  presignatureIdSchema,
  sessionIdSchema,
  signedSchema,
} from "@cairn/core";
import { z } from "zod";
import { isAscending } from "./ascending.ts";
import { presignJobHash, presignJobSchema } from "./presign-job.ts";
import { sessionIdOf } from "./session-id.ts";

/** Which multi-party protocol of a key generation or refresh a session runs; `part` counts the test signatures from 0. */
export const keygenStageSchema = z.strictObject({
  step: z.enum(["aux", "keygen", "test"]),
  part: z.number().int().min(0).max(254),
});
export type KeygenStage = z.output<typeof keygenStageSchema>;

/**
 * Opens an attempt: the initiator says which signers shall do what. Signed under `cairn/proposal/v1`.
 * The body is bound to its subject and its id: a proposal that parses is consistent in itself.
 */
export const proposalSchema = z
  .strictObject({
    version: z.literal(1),
    cluster: clusterIdSchema,
    purpose: z.enum(["sign", "presign", "keygen", "refresh"]),
    /** Grant id, presign job hash, key id, or hash of the committed change proposal that refreshes a key. */
    subject: hashHexSchema,
    /** Of a key generation or refresh only. */
    stage: keygenStageSchema.nullable(),
    /** Of presigning only; hashes to `subject`. */
    job: presignJobSchema.nullable(),
    /** Counts from 0 for each subject and stage. */
    attempt: z.number().int().min(0).max(1_000_000),
    initiator: nodeIndexSchema,
    /** Who takes part, ascending. */
    signers: z.array(nodeIndexSchema).min(2).max(255),
    protocolVersion: z.number().int().min(1),
    /** One presignature for each input of the grant, or null for the protocol without presignatures. */
    items: z.array(presignatureIdSchema).min(1).max(1024).nullable(),
    sessionId: sessionIdSchema,
  })
  .superRefine((proposal, context) => {
    const refuse = (message: string) => context.addIssue({ code: "custom", message });
    if (!isAscending(proposal.signers)) refuse("signers must stand in ascending order, each once");
    if ((proposal.stage !== null) !== makesShares(proposal.purpose))
      refuse("a stage belongs to key generation and refresh, and only to them");
    if ((proposal.job !== null) !== (proposal.purpose === "presign"))
      refuse("a presign job belongs to presigning, and only to it");
    if (proposal.items !== null) {
      if (proposal.purpose !== "sign") refuse("presignatures are used by signing only");
      if (new Set(proposal.items).size !== proposal.items.length) refuse("a presignature is named twice");
    }
    if (proposal.job !== null) {
      if (presignJobHash(proposal.job) !== proposal.subject)
        refuse("the subject is not the hash of the presign job");
      if (
        proposal.job.cluster !== proposal.cluster ||
        proposal.job.signers.join() !== proposal.signers.join()
      )
        refuse("the presign job is of another cluster or other signers");
    }
    if (proposal.sessionId !== sessionIdOf(proposal)) refuse("the session id does not follow from the rest");
  });
export type Proposal = z.output<typeof proposalSchema>;

/** Whether sessions of the purpose make shares, so that their messages are sealed to keys of this session alone. */
export function makesShares(purpose: Proposal["purpose"]): boolean {
  return purpose === "keygen" || purpose === "refresh";
}

export const signedProposalSchema = signedSchema(proposalSchema);
export type SignedProposal = z.output<typeof signedProposalSchema>;

/** What Acks sign. */
export function proposalHash(proposal: Proposal): HashHex {
  return bodyHash<HashHex>("cairn/proposal/v1", proposal);
}

/**
 * A proposal with its session id.
 * @throws CairnError `malformed` when the parts do not fit together
 */
export function makeProposal(parts: Omit<Proposal, "version" | "sessionId">): Proposal {
  const parsed = proposalSchema.safeParse({ ...parts, version: 1, sessionId: sessionIdOf(parts) });
  if (parsed.success) return parsed.data;
  throw new CairnError(
    "malformed",
    `the proposal does not hold together: ${parsed.error.issues[0]?.message}`,
    {
      purpose: parts.purpose,
      attempt: parts.attempt,
    },
  );
}
