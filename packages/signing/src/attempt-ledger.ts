import {
  type ClusterId,
  type Ed25519PublicKey,
  type NodeIndex,
  type SessionId,
  type UnixMs,
  verifySigned,
} from "@cairn/core";
import { attemptBound, initiatorOfAttempt, initiatorOrder } from "./initiator.ts";
import type { NackCode } from "./nack.ts";
import type { SignedProposal } from "./proposal.ts";
import { type SessionSubject, subjectKey } from "./session-subject.ts";
import { isValidSubset } from "./subset.ts";

/** Which attempts this node has seen of each subject: at most one of a subject is live, and none is ever repeated. */
export interface AttemptLedger {
  /** By `subjectKey`. */
  readonly subjects: ReadonlyMap<string, SubjectAttempts>;
}

export interface SubjectAttempts {
  /** Highest attempt that was accepted or observed. */
  readonly highest: number;
  readonly live: SessionId | null;
  /** After this time the subject is void and can be forgotten. */
  readonly expiry: number;
}

/** What a proposal is judged against. */
export interface ProposalFacts {
  readonly cluster: ClusterId;
  readonly me: NodeIndex;
  readonly now: UnixMs;
  /** The peer that the envelope authenticated, or this node itself. */
  readonly from: NodeIndex;
  readonly fromKey: Ed25519PublicKey;
  /** What the proposal's subject is at this node after its own checks of the grant, job or request; null where it knows none. */
  readonly subject: SessionSubject | null;
  readonly protocolVersions: readonly number[];
  readonly slotMs: number;
}

export type ProposalVerdict =
  /** This node is a signer: open a session. */
  | { readonly verdict: "accept"; readonly ledger: AttemptLedger }
  /** Valid, but others sign: remember that the attempt is under way. */
  | { readonly verdict: "observe"; readonly ledger: AttemptLedger }
  | { readonly verdict: "refuse"; readonly code: NackCode; readonly message: string };

export const emptyLedger: AttemptLedger = { subjects: new Map() };

/**
 * Rebuilds the ledger after a restart: what was seen stays seen and nothing is live, since a session is never rejoined.
 * @param rows of the store's sessions whose subjects may still be valid
 */
export function restoreLedger(
  rows: readonly { readonly key: string; readonly attempt: number; readonly expiry: number }[],
): AttemptLedger {
  const subjects = new Map<string, SubjectAttempts>();
  for (const { key, attempt, expiry } of rows) {
    const highest = Math.max(attempt, subjects.get(key)?.highest ?? -1);
    subjects.set(key, { highest, live: null, expiry });
  }
  return { subjects };
}

/** Whether this node may take part in what `signed` proposes, by the rules that every honest node shares. */
export function judgeProposal(
  ledger: AttemptLedger,
  signed: SignedProposal,
  facts: ProposalFacts,
): ProposalVerdict {
  const proposal = signed.body;
  const { subject, now } = facts;
  const refuse = (code: NackCode, message: string): ProposalVerdict => ({ verdict: "refuse", code, message });

  if (proposal.cluster !== facts.cluster)
    return refuse("wrong-cluster", "the proposal is for another cluster");
  if (proposal.initiator !== facts.from || !verifySigned("cairn/proposal/v1", signed, facts.fromKey)) {
    return refuse("not-initiator", "the proposal is not signed by the initiator that it names");
  }
  if (subject === null || subject.subject !== proposal.subject || subject.purpose !== proposal.purpose) {
    return refuse("not-found", "this node knows no valid grant, job or request of that name");
  }
  const expectedVersion = subject.protocolVersion ?? proposal.protocolVersion;
  if (
    proposal.protocolVersion !== expectedVersion ||
    !facts.protocolVersions.includes(proposal.protocolVersion)
  ) {
    return refuse(
      "unsupported-version",
      `this node speaks protocol versions ${facts.protocolVersions.join(", ")}`,
    );
  }
  if (now >= subject.expiry) return refuse("grant-expired", "what the proposal names has expired");
  if (now < subject.notBefore) return refuse("not-yet-valid", "what the proposal names is not valid yet");
  const order = initiatorOrder(subject.orderBy, subject.nonce, subject.members);
  if (initiatorOfAttempt(order, proposal.attempt) !== proposal.initiator) {
    return refuse("not-initiator", "another node initiates this attempt");
  }
  if (!isValidSubset(proposal.signers, subject.members, subject.threshold)) {
    return refuse("subset-invalid", "the signers are not a subset of the members of the required size");
  }
  if (!proposal.signers.includes(proposal.initiator)) {
    return refuse("subset-invalid", "the initiator must be one of the signers");
  }
  const bound = attemptBound({
    members: subject.members.length,
    notBefore: subject.notBefore,
    now,
    slotMs: facts.slotMs,
  });
  if (proposal.attempt >= bound) {
    return refuse("limit-exceeded", `attempts from ${bound} on are too early; wait for the next slot`);
  }
  const key = subjectKey(proposal);
  const seen = ledger.subjects.get(key);
  if (seen !== undefined && proposal.attempt <= seen.highest) {
    return refuse("replayed", `attempt ${proposal.attempt} is over; the next one is ${seen.highest + 1}`);
  }
  if (seen !== undefined && seen.live !== null) {
    return refuse("session-conflict", "an earlier attempt is still live at this node");
  }
  const signing = proposal.signers.includes(facts.me);
  const subjects = new Map(ledger.subjects);
  subjects.set(key, {
    highest: proposal.attempt,
    live: signing ? proposal.sessionId : null,
    expiry: subject.expiry,
  });
  return { verdict: signing ? "accept" : "observe", ledger: { subjects } };
}

/** The session is over at this node: a higher attempt may come. */
export function endAttempt(ledger: AttemptLedger, session: SessionId): AttemptLedger {
  const subjects = new Map(ledger.subjects);
  for (const [key, attempts] of subjects) {
    if (attempts.live === session) subjects.set(key, { ...attempts, live: null });
  }
  return { subjects };
}

/** Forgets a subject that nobody may propose for any more, whatever its expiry. @param key its `subjectKey` */
export function forgetSubject(ledger: AttemptLedger, key: string): AttemptLedger {
  const subjects = new Map(ledger.subjects);
  subjects.delete(key);
  return { subjects };
}

/** Forgets subjects that expired `graceMs` ago or longer and have nothing live. */
export function pruneLedger(ledger: AttemptLedger, now: UnixMs, graceMs: number): AttemptLedger {
  const subjects = new Map<string, SubjectAttempts>();
  for (const [key, attempts] of ledger.subjects) {
    if (attempts.live !== null || attempts.expiry + graceMs > now) subjects.set(key, attempts);
  }
  return { subjects };
}
