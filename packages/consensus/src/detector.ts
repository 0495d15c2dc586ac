import {
  type IntentHash,
  type Manifest,
  type ManifestHash,
  type NodeIndex,
  type SessionId,
  verifySigned,
} from "@cairn/core";
import type { Evidence, ViolationType } from "./evidence.ts";
import type { Intent } from "./intent.ts";
import { type EvidenceVerifiers, type Judgement, judgeEvidence } from "./judge-evidence.ts";
import type { SignedBroadcast } from "./signed-broadcast.ts";
import type { SignedVote } from "./vote.ts";

/** A fault that this node noticed or was shown. */
export interface Violation {
  readonly type: ViolationType;
  readonly node: NodeIndex;
  /** Intent or session that it concerns, or null. */
  readonly subject: IntentHash | SessionId | null;
  /** What third parties can check, or null. */
  readonly evidence: Evidence | null;
  /** `cluster` exactly where there is evidence that was judged as proven. */
  readonly scope: "local" | "cluster";
}

/** Broadcasts that the detector remembers of each sender; beyond it the oldest of the same sender are forgotten. */
export const MAX_BROADCASTS_PER_NODE = 1024;

export interface DetectorState {
  readonly broadcasts: ReadonlyMap<NodeIndex, ReadonlyMap<string, SignedBroadcast>>;
}

export const emptyDetector: DetectorState = { broadcasts: new Map() };

export interface DetectorContext {
  /** The manifest under which what is observed happened. */
  readonly manifest: Manifest;
  readonly manifestHash: ManifestHash;
  readonly verifiers: EvidenceVerifiers;
}

/** What the rest of the node noticed. `from` is the peer that the envelope proved. */
export type Observation =
  /** A signed broadcast as `from` handed it in: its own, or another's in an echo round. */
  | { readonly kind: "broadcast"; readonly from: NodeIndex; readonly broadcast: SignedBroadcast }
  /** Evidence found by the voting machine or by a peer. */
  | { readonly kind: "evidence"; readonly from: NodeIndex; readonly evidence: Evidence }
  /** Votes on an intent in which this node found a static fault. */
  | { readonly kind: "invalid-intent"; readonly intent: Intent; readonly votes: readonly SignedVote[] }
  /** A partial that the engine refused, with the public data that its signers signed. */
  | {
      readonly kind: "invalid-partial";
      readonly from: NodeIndex;
      readonly session: SessionId;
      /** Null where the parts of a proof are not at hand. */
      readonly evidence: Extract<Evidence, { type: "InvalidPartial" }> | null;
    }
  | { readonly kind: "invalid-signature"; readonly from: NodeIndex; readonly subject: Violation["subject"] }
  | { readonly kind: "invalid-round-message"; readonly from: NodeIndex; readonly session: SessionId }
  /** An answer to a fresh challenge that lies below what the node answered before. */
  | { readonly kind: "rollback"; readonly from: NodeIndex }
  | { readonly kind: "timeout"; readonly from: NodeIndex; readonly session: SessionId };

export interface Detection {
  readonly state: DetectorState;
  readonly violations: readonly Violation[];
}

/**
 * Turns an observation into violations (architecture §6). Only evidence that {@link judgeEvidence} proves accuses a node towards
 * others; evidence that proves nothing accuses whoever handed it in, at this node alone.
 */
export function detect(state: DetectorState, observation: Observation, context: DetectorContext): Detection {
  switch (observation.kind) {
    case "broadcast":
      return onBroadcast(state, observation.from, observation.broadcast, context);
    case "evidence":
      return { state, violations: onEvidence(observation.from, observation.evidence, context) };
    case "invalid-intent":
      return { state, violations: minorityVotes(observation.intent, observation.votes, context) };
    case "invalid-partial":
      return { state, violations: [onInvalidPartial(observation, context)] };
    case "invalid-signature":
      return { state, violations: [local("InvalidSignature", observation.from, observation.subject)] };
    case "invalid-round-message":
      return { state, violations: [local("InvalidRoundMessage", observation.from, observation.session)] };
    case "rollback":
      return { state, violations: [local("Rollback", observation.from, null)] };
    case "timeout":
      return { state, violations: [local("Timeout", observation.from, observation.session)] };
  }
}

/** Voters whose vote went against the outcome, for the record: never a violation by itself. */
export function dissenters(votes: Iterable<SignedVote>, approved: boolean): NodeIndex[] {
  const found = new Set<NodeIndex>();
  for (const { body } of votes) if (body.approve !== approved) found.add(body.voter);
  return [...found].toSorted((a, b) => a - b);
}

function local(type: ViolationType, node: NodeIndex, subject: Violation["subject"]): Violation {
  return { type, node, subject, evidence: null, scope: "local" };
}

function onBroadcast(
  state: DetectorState,
  from: NodeIndex,
  broadcast: SignedBroadcast,
  context: DetectorContext,
): Detection {
  const { body } = broadcast;
  const member = context.manifest.members.find((each) => each.index === body.from);
  if (
    member === undefined ||
    body.cluster !== context.manifest.cluster ||
    !verifySigned("cairn/broadcast/v1", broadcast, member.identity)
  ) {
    return { state, violations: [local("InvalidSignature", from, body.session)] };
  }
  const key = `${body.execution}/${body.round}/${body.kind}`;
  const ofSender = state.broadcasts.get(body.from) ?? new Map<string, SignedBroadcast>();
  const first = ofSender.get(key);
  if (first === undefined) {
    const kept = [...ofSender, [key, broadcast] as const].slice(-MAX_BROADCASTS_PER_NODE);
    return { state: { broadcasts: new Map(state.broadcasts).set(body.from, new Map(kept)) }, violations: [] };
  }
  if (first.body.digest === body.digest && first.body.session === body.session)
    return { state, violations: [] };
  const evidence: Evidence = { type: "Equivocation", version: 1, broadcasts: [first, broadcast] };
  return {
    state,
    violations: [
      { type: "Equivocation", node: body.from, subject: body.session, evidence, scope: "cluster" },
    ],
  };
}

function onEvidence(from: NodeIndex, evidence: Evidence, context: DetectorContext): Violation[] {
  const judgement = judgeEvidence(evidence, context, context.verifiers);
  switch (judgement.kind) {
    case "proven":
      return [proven(judgement, evidence)];
    case "forged":
      return [local("InvalidSignature", from, subjectOf(evidence))];
    case "unjudgeable":
      return [];
  }
}

function proven(judgement: Extract<Judgement, { kind: "proven" }>, evidence: Evidence): Violation {
  return {
    type: judgement.type,
    node: judgement.node,
    subject: subjectOf(evidence),
    evidence,
    scope: "cluster",
  };
}

function minorityVotes(intent: Intent, votes: readonly SignedVote[], context: DetectorContext): Violation[] {
  return votes
    .filter((vote) => vote.body.approve)
    .flatMap((vote) => {
      const evidence: Evidence = { type: "MinorityVote", version: 1, intent, vote };
      const judgement = judgeEvidence(evidence, context, context.verifiers);
      return judgement.kind === "proven" ? [proven(judgement, evidence)] : [];
    });
}

function onInvalidPartial(
  observation: Extract<Observation, { kind: "invalid-partial" }>,
  context: DetectorContext,
): Violation {
  const { evidence } = observation;
  if (evidence !== null) {
    const judgement = judgeEvidence(evidence, context, context.verifiers);
    if (judgement.kind === "proven" && judgement.node === observation.from)
      return proven(judgement, evidence);
  }
  return local("InvalidPartial", observation.from, observation.session);
}

function subjectOf(evidence: Evidence): Violation["subject"] {
  switch (evidence.type) {
    case "DoubleVote":
      return evidence.votes[0].body.intentHash;
    case "MinorityVote":
      return evidence.vote.body.intentHash;
    case "Equivocation":
      return evidence.broadcasts[0].body.session;
    case "InvalidPartial":
      return evidence.partial.body.session;
  }
}
