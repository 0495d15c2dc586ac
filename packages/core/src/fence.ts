import { z } from "zod";
import { CairnError } from "./error.ts";
import type { Signer } from "./identity.ts";
import {
  clusterIdSchema,
  type HashHex,
  hashHexSchema,
  nodeIndexSchema,
  nonceSchema,
  unixMsSchema,
} from "./ids.ts";
import type { Manifest } from "./manifest.ts";
import { verifyMemberWord } from "./member-word.ts";
import { bodyHash, type Signed, signBody, signedSchema } from "./signed.ts";

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

/** The answer, signed under `cairn/fence/v1`. Everything durable that it tells was durable before it was signed. */
export const fenceAnswerSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  node: nodeIndexSchema,
  challenger: nodeIndexSchema,
  /** The challenge's. */
  nonce: nonceSchema,
  position: fencePositionSchema,
  /** Hash of the newest audit entry, or 64 zeros: tells two logs of one length apart. */
  auditHead: hashHexSchema,
  /** What this log holds at the length of the answer that the challenger remembers: no hash where it is shorter. Null where it remembers none. */
  continues: z.strictObject({ auditLength: counter, auditHead: hashHexSchema.nullable() }).nullable(),
  /**
   * Hash of the remembered answer that the challenge showed, or null: says that this answer came after that one, whatever any clock
   * said. Two answers of which the later denies the earlier prove to anybody that the node was set back.
   */
  remembered: hashHexSchema.nullable(),
  answeredAt: unixMsSchema,
});
export type FenceAnswer = z.output<typeof fenceAnswerSchema>;

export const signedFenceAnswerSchema = signedSchema(fenceAnswerSchema);
export type SignedFenceAnswer = Signed<FenceAnswer>;

/** Asks a peer how far it is (architecture §7). Goes inside an envelope, which says whose it is, so it is not signed by itself. */
export const fenceChallengeSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  challenger: nodeIndexSchema,
  /** Who is asked. */
  node: nodeIndexSchema,
  /** Fresh for every challenge: an answer recorded before a rollback answers no later one. */
  nonce: nonceSchema,
  /** The newest answer of `node` that the challenger accepted: shows a node that was set back, by its own signature, that it was. */
  remembered: signedFenceAnswerSchema.nullable(),
});
export type FenceChallenge = z.output<typeof fenceChallengeSchema>;

/** Names an answer: what a later one commits to. */
export function fenceAnswerHash(answer: FenceAnswer): HashHex {
  return bodyHash<HashHex>("cairn/fence/v1", answer);
}

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
  const { remembered } = challenge;
  const shown = remembered === null ? null : fenceAnswerHash(remembered.body);
  if (body.nonce !== challenge.nonce || body.remembered !== shown) {
    throw new CairnError("replayed", "the fence answer belongs to another challenge", { node: body.node });
  }
}

/** Negative when `a` is behind `b`: epoch, burn counter and audit length, compared in that order. */
export function compareFence(a: FencePosition, b: FencePosition): number {
  return a.epoch - b.epoch || a.burnCounter - b.burnCounter || a.auditLength - b.auditLength;
}

/** What a peer remembers of a node: its newest accepted answer. */
export type FenceRecord = Pick<FenceAnswer, "position" | "auditHead">;

/** How a node's answer shows that it was set back. */
export type SetBack = "behind" | "forked";

/**
 * `behind`: lower than it was, so it was set back. `forked`: not lower, but its log does not hold what it once held. Either is refused
 * until its epoch is raised.
 * @param known what the challenge remembered; null for a node that has never answered
 */
export function judgeFence(
  known: FenceRecord | null,
  answer: FenceRecord & Pick<FenceAnswer, "continues">,
): "current" | SetBack {
  if (known === null || answer.position.epoch > known.position.epoch) return "current";
  if (compareFence(answer.position, known.position) < 0) return "behind";
  const { continues, position } = answer;
  const same = position.auditLength === known.position.auditLength;
  if (same && answer.auditHead !== known.auditHead) return "forked";
  if (continues?.auditLength !== known.position.auditLength || continues.auditHead === null) return "behind";
  return continues.auditHead === known.auditHead ? "current" : "forked";
}

/**
 * Whether two answers of one node prove that it was set back. Either the later one names the earlier, so that it was signed with the
 * earlier one in view, and yet does not go on from it; or both tell of one length of one epoch's log, and not of the same entries. No
 * clock counts, nor who asked: a node whose state never fell can sign no such two, whatever it is shown and in whichever order.
 */
export function provesSetBack(earlier: FenceAnswer, later: FenceAnswer): SetBack | null {
  if (earlier.node !== later.node || earlier.cluster !== later.cluster) return null;
  const [a, b] = [earlier.position, later.position];
  if (a.epoch === b.epoch && a.auditLength === b.auditLength && earlier.auditHead !== later.auditHead)
    return "forked";
  if (later.remembered !== fenceAnswerHash(earlier)) return null;
  const judged = judgeFence(earlier, later);
  return judged === "current" ? null : judged;
}
