import { z } from "zod";
import { CairnError } from "./error.ts";
import type { Signer } from "./identity.ts";
import { clusterIdSchema, hashHexSchema, nodeIndexSchema, nonceSchema, unixMsSchema } from "./ids.ts";
import type { Manifest } from "./manifest.ts";
import { verifyMemberWord } from "./member-word.ts";
import { type Signed, signBody, signedSchema } from "./signed.ts";

const counter = z.number().int().min(0);

/** How far a node's single-use state has come. None of it ever falls, except that a restore raises the epoch and may lower the rest. */
export const fencePositionSchema = z.strictObject({
  epoch: counter,
  /** Presignatures burned so far. */
  burnCounter: counter,
  /** Entries of the audit log. */
  auditLength: counter,
});
export type FencePosition = z.output<typeof fencePositionSchema>;

/** Asks a peer how far it is (architecture §7). Goes inside an envelope, which says whose it is, so it is not signed by itself. */
export const fenceChallengeSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  challenger: nodeIndexSchema,
  /** Who is asked. */
  node: nodeIndexSchema,
  /** Fresh for every challenge: an answer recorded before a rollback answers no later one. */
  nonce: nonceSchema,
});
export type FenceChallenge = z.output<typeof fenceChallengeSchema>;

/** The answer, signed under `cairn/fence/v1`. Everything durable that it tells was durable before it was signed. */
export const fenceAnswerSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  node: nodeIndexSchema,
  challenger: nodeIndexSchema,
  /** The challenge's. */
  nonce: nonceSchema,
  position: fencePositionSchema,
  /** Hash of the newest audit entry: tells two logs of one length apart. */
  auditHead: hashHexSchema,
  answeredAt: unixMsSchema,
});
export type FenceAnswer = z.output<typeof fenceAnswerSchema>;

export const signedFenceAnswerSchema = signedSchema(fenceAnswerSchema);
export type SignedFenceAnswer = Signed<FenceAnswer>;

export function signFenceAnswer(answer: FenceAnswer, signer: Signer): SignedFenceAnswer {
  return signBody("cairn/fence/v1", answer, signer);
}

/**
 * Checks that `signed` is the challenged node's own answer to exactly this challenge.
 * @throws CairnError `wrong-cluster`, `wrong-recipient` (of or to another node), `replayed` (to another challenge), `not-member`,
 * `signature-invalid`
 */
export function verifyFenceAnswer(
  signed: SignedFenceAnswer,
  challenge: FenceChallenge,
  manifest: Manifest,
): void {
  const { body } = signed;
  verifyMemberWord("cairn/fence/v1", signed, challenge.node, manifest);
  if (body.node !== challenge.node || body.challenger !== challenge.challenger) {
    throw new CairnError("wrong-recipient", "the fence answer is of another node, or for another", {
      node: body.node,
      challenger: body.challenger,
    });
  }
  if (body.nonce !== challenge.nonce) {
    throw new CairnError("replayed", "the fence answer belongs to another challenge", { node: body.node });
  }
}

/** Negative when `a` is behind `b`: epoch, burn counter and audit length, compared in that order. */
export function compareFence(a: FencePosition, b: FencePosition): number {
  return a.epoch - b.epoch || a.burnCounter - b.burnCounter || a.auditLength - b.auditLength;
}

/** What a peer remembers of a node: the highest that it ever answered. */
export type FenceRecord = Pick<FenceAnswer, "position" | "auditHead">;

/**
 * `behind`: lower than it was, so it was rolled back. `forked`: it grew two logs from one state. Either is refused until resynced.
 * @param known null for a node that has never answered
 */
export function judgeFence(known: FenceRecord | null, answer: FenceRecord): "current" | "behind" | "forked" {
  if (known === null) return "current";
  const order = compareFence(answer.position, known.position);
  if (order < 0) return "behind";
  return order === 0 && answer.auditHead !== known.auditHead ? "forked" : "current";
}
