import {
  bodyHash,
  type HashHex,
  type KeygenRequest,
  keygenRequestHash,
  type NodeIndex,
  type Nonce,
} from "@cairn/core";
import { type PresignJob, presignJobHash } from "./presign-job.ts";
import type { KeygenStage, Proposal } from "./proposal.ts";
import type { SigningGrant } from "./signing-grant.ts";

/** What justifies sessions, in the one form that the rules of attempts need. */
export interface SessionSubject {
  readonly purpose: Proposal["purpose"];
  readonly subject: HashHex;
  readonly stage: KeygenStage | null;
  /** Orders the initiators, with `orderBy`. */
  readonly nonce: Nonce;
  readonly orderBy: HashHex;
  /** Who may initiate and sign. */
  readonly members: readonly NodeIndex[];
  /** How many sign: t, or all n. */
  readonly threshold: number;
  readonly notBefore: number;
  readonly expiry: number;
  /** Null where the subject leaves it to the manifest. */
  readonly protocolVersion: number | null;
}

/** Separates what is counted on its own: each grant, each presign job, each stage of each key generation. */
export function subjectKey(subject: {
  readonly subject: HashHex;
  readonly stage: KeygenStage | null;
}): string {
  return subject.stage === null
    ? subject.subject
    : `${subject.subject}/${subject.stage.step}/${subject.stage.part}`;
}

/** Sessions that a grant justifies: t of its participants, until it expires. */
export function grantSubject(grant: SigningGrant): SessionSubject {
  return {
    purpose: "sign",
    subject: hashOf(grant.grantId),
    stage: null,
    nonce: grant.nonce,
    orderBy: hashOf(grant.grantId),
    members: grant.participants,
    threshold: grant.threshold,
    notBefore: grant.notBefore,
    expiry: grant.expiry,
    protocolVersion: grant.protocolVersion,
  };
}

/**
 * Sessions that a presign job justifies: all of its signers, in its slot and its neighbours, since clocks differ. The order of initiators follows from pool and
 * slot, not from the paths, so that nobody becomes initiator by choosing paths.
 */
export function presignSubject(job: PresignJob, slotMs: number): SessionSubject {
  const { cluster, keyId, epoch, signers, slot } = job;
  return {
    purpose: "presign",
    subject: presignJobHash(job),
    stage: null,
    nonce: bodyHash<Nonce>("cairn/presign-job/v1", { cluster, slot }),
    orderBy: bodyHash<HashHex>("cairn/presign-job/v1", { cluster, keyId, epoch, signers }),
    members: signers,
    threshold: signers.length,
    notBefore: Math.max(0, slot - 1) * slotMs,
    expiry: (slot + 2) * slotMs,
    protocolVersion: null,
  };
}

/** Sessions of one stage of a key generation. `signers`: all n, or those of a test signature. */
export function keygenSubject(
  request: KeygenRequest,
  stage: KeygenStage,
  signers: readonly NodeIndex[],
): SessionSubject {
  const keyId = hashOf(keygenRequestHash(request));
  return {
    purpose: "keygen",
    subject: keyId,
    stage,
    nonce: request.nonce,
    orderBy: keyId,
    members: signers,
    threshold: signers.length,
    notBefore: request.createdAt,
    expiry: request.expiry,
    protocolVersion: null,
  };
}

/** Every 32-byte id is a hash in hex; as a subject it loses its own type. */
function hashOf(id: string): HashHex {
  return id as HashHex;
}
