import {
  type CairnError,
  type IntentHash,
  isCairnError,
  type Manifest,
  type ManifestHash,
  type NodeIndex,
  spendQuorum,
  type UnixMs,
  type VotingRoundRow,
} from "@cairn/core";
import { type Certificate, verifyCertificate } from "./certificate.ts";
import { certificateOfTally } from "./certificate-of-tally.ts";
import type { Deferral } from "./deferral.ts";
import { rejectionQuorum } from "./rejection-quorum.ts";
import { rejections } from "./rejections.ts";
import { type SignedVoid, verifyVoid } from "./void.ts";
import { isDead } from "./void-rules.ts";
import { FIRST_ROUND, MAX_BLOCKING, MAX_ROUNDS, type SignedVote, sameVote, verifyVote } from "./vote.ts";
import type { VotingEffect } from "./voting-effect.ts";
import type { Blocker, Verdict, VotingEvent } from "./voting-event.ts";
import type { OwnRound, Rejection, Tally, VotingState, VotingSubject } from "./voting-state.ts";

/** What the machine is told with every event. The manifest is the one that the intent names. */
export interface VotingContext {
  readonly now: UnixMs;
  readonly me: NodeIndex;
  readonly manifest: Manifest;
  readonly manifestHash: ManifestHash;
  /** Length of a round of voting, in milliseconds. */
  readonly roundMs: number;
}

export interface VotingStep {
  readonly state: VotingState;
  readonly effects: readonly VotingEffect[];
}

type Collecting = Extract<VotingState, { name: "Collecting" }>;

/** The machine of an intent that this node has just stored. */
export function initial(subject: VotingSubject): VotingState {
  return {
    name: "Initial",
    subject,
    tally: {
      votes: new Map(),
      disregarded: new Set(),
      deferrals: new Map(),
      voids: new Map(),
      conflictDepth: 0,
    },
  };
}

/**
 * One step of voting on one intent (architecture §5.3). Pure: the same state, event and context give the same step.
 * Messages that do not verify change nothing; where the sender is to blame, a `violation` says so.
 */
export function step(state: VotingState, event: VotingEvent, context: VotingContext): VotingStep {
  switch (event.kind) {
    case "open":
      return state.name === "Initial" ? open(state, context) : stay(state);
    case "verdict":
      return onVerdict(state, event.round, event.verdict, context);
    case "vote":
      return onVote(state, event.from, event.vote, context);
    case "deferral":
      return onDeferral(state, event.from, event.deferral, context);
    case "certificate":
      return onCertificate(state, event.from, event.certificate, context);
    case "void":
      return onVoid(state, event.from, event.void, context);
    case "unblocked":
      return onUnblocked(state);
    case "displaced":
      return onDisplaced(state, event.by, context);
    case "submitted":
      return onSubmitted(state);
    case "confirmed":
      return onConfirmed(state);
    case "unconfirmed":
      return state.name === "Confirmed" ? enter({ ...state, name: "Submitted" }) : stay(state);
    case "conflicted":
      return settleDeath({ ...state, tally: { ...state.tally, conflictDepth: event.depth } }, context);
    case "tick":
      return onTick(state, context);
  }
}

function stay(state: VotingState, effects: readonly VotingEffect[] = []): VotingStep {
  return { state, effects };
}

function enter(state: VotingState, effects: readonly VotingEffect[] = []): VotingStep {
  return { state, effects: [{ kind: "state", name: state.name }, ...effects] };
}

function open(state: Extract<VotingState, { name: "Initial" }>, context: VotingContext): VotingStep {
  if (context.now >= state.subject.expiry) return timeOut(state, "expired", context);
  return openRound(state, FIRST_ROUND, context);
}

function openRound(state: VotingState, round: number, context: VotingContext): VotingStep {
  const { subject, tally } = state;
  const deadline = Math.min(context.now + context.roundMs, subject.expiry) as UnixMs;
  const mine = tally.votes.get(round)?.get(context.me);
  const own: OwnRound = mine === undefined ? { kind: "evaluating" } : { kind: "cast", vote: mine };
  const next: Collecting = {
    name: "Collecting",
    subject,
    tally,
    round,
    openedAt: context.now,
    deadline,
    own,
  };
  const effects: VotingEffect[] = [
    { kind: "round", row: roundRow(next, "open") },
    { kind: "arm", at: deadline },
  ];
  if (own.kind === "evaluating") effects.push({ kind: "evaluate", round });
  return state.name === "Collecting" ? stay(next, effects) : enter(next, effects);
}

function roundRow(state: Collecting, outcome: VotingRoundRow["outcome"]): VotingRoundRow {
  return {
    intent: state.subject.intent,
    round: state.round,
    openedAt: state.openedAt,
    deadline: state.deadline,
    outcome,
  };
}

/** The row that closes the open round, if one is open. */
function closeRound(state: VotingState, outcome: VotingRoundRow["outcome"]): VotingEffect[] {
  return state.name === "Collecting" ? [{ kind: "round", row: roundRow(state, outcome) }] : [];
}

function onVerdict(state: VotingState, round: number, verdict: Verdict, context: VotingContext): VotingStep {
  if (state.name !== "Collecting" || state.round !== round || state.own.kind !== "evaluating")
    return stay(state);
  if (context.now >= state.subject.expiry) return timeOut(state, "expired", context);
  switch (verdict.kind) {
    case "approve":
      return cast(state, true, null);
    case "reject":
      return cast(state, false, { code: verdict.code, blocking: verdict.blocking.slice(0, MAX_BLOCKING) });
    case "defer":
      return defer(state, verdict.code, verdict.blocking, context);
  }
}

function cast(state: Collecting, approve: boolean, reason: Rejection["reason"] | null): VotingStep {
  return stay({ ...state, own: { kind: "casting", approve, reason } }, [
    { kind: "cast", round: state.round, approve, reason },
  ]);
}

function defer(
  state: Collecting,
  code: string,
  blockers: readonly Blocker[],
  context: VotingContext,
): VotingStep {
  const winner = blockers.find((blocker) => blocker.certified || blocker.intent < state.subject.intent);
  if (state.round > FIRST_ROUND && winner !== undefined) return giveWay(state, winner.intent, context);
  const blocking = blockers
    .map((blocker) => blocker.intent)
    .toSorted()
    .slice(0, MAX_BLOCKING);
  const effects: VotingEffect[] = [{ kind: "defer-notice", round: state.round, code, blocking }];
  if (state.round > FIRST_ROUND && blocking.length > 0) effects.push({ kind: "displace", losers: blocking });
  return stay({ ...state, own: { kind: "deferred", code, blocking } }, effects);
}

function onUnblocked(state: VotingState): VotingStep {
  if (state.name !== "Collecting" || state.own.kind !== "deferred") return stay(state);
  return stay({ ...state, own: { kind: "evaluating" } }, [{ kind: "evaluate", round: state.round }]);
}

/** This node voids the intent in favour of another; nothing of it was signed here, since it has no certificate. */
function giveWay(state: VotingState, by: IntentHash, context: VotingContext): VotingStep {
  const { subject, tally } = state;
  return settleDeath({ name: "Voided", subject, tally, by }, context, [
    { kind: "state", name: "Voided" },
    ...closeRound(state, "deferred"),
    ...voidOrder(tally, context),
  ]);
}

function onDisplaced(state: VotingState, by: IntentHash, context: VotingContext): VotingStep {
  if (state.name !== "Initial" && state.name !== "Collecting") return stay(state);
  return giveWay(state, by, context);
}

function onVote(state: VotingState, from: NodeIndex, vote: SignedVote, context: VotingContext): VotingStep {
  if (vote.body.intentHash !== state.subject.intent) return stay(state);
  const refusal = refusalOf(() => verifyVote(vote, context.manifest, context.manifestHash));
  if (refusal !== null) return blame(state, from, refusal);
  const { round, voter } = vote.body;
  const inRound = state.tally.votes.get(round) ?? new Map<NodeIndex, SignedVote>();
  const earlier = inRound.get(voter);
  if (earlier !== undefined) {
    if (sameVote(earlier.body, vote.body) || state.tally.disregarded.has(voter)) return stay(state);
    return onDoubleVote(state, earlier, vote, context);
  }
  const votes = new Map(state.tally.votes).set(round, new Map(inRound).set(voter, vote));
  let next: VotingState = { ...state, tally: { ...state.tally, votes } };
  if (next.name === "Collecting" && voter === context.me && round === next.round) {
    next = { ...next, own: { kind: "cast", vote } };
  }
  return count(next, round, context);
}

/** Whether the vote that was just added in `round` decides. */
function count(state: VotingState, round: number, context: VotingContext): VotingStep {
  if (state.name !== "Initial" && state.name !== "Collecting" && !awaitsLate(state, context))
    return stay(state);
  const certificate = certificateOfTally(state.tally, round, context.manifest);
  if (certificate !== null) return certify(state, certificate, context);
  if (state.name !== "Collecting" && state.name !== "Initial") return stay(state);
  const reasons = rejections(state.tally);
  if (reasons.length < rejectionQuorum(context.manifest)) return stay(state);
  const { subject, tally } = state;
  return enter({ name: "Rejected", subject, tally, reasons }, [
    ...closeRound(state, "rejected"),
    { kind: "rejected", reasons },
    ...voidOrder(tally, context),
  ]);
}

function onDoubleVote(state: VotingState, a: SignedVote, b: SignedVote, context: VotingContext): VotingStep {
  const node = a.body.voter;
  const disregarded = new Set(state.tally.disregarded).add(node);
  const next: VotingState = { ...state, tally: { ...state.tally, disregarded } };
  const violation: VotingEffect = {
    kind: "violation",
    type: "DoubleVote",
    node,
    evidence: { type: "DoubleVote", version: 1, manifestHash: a.body.manifestHash, votes: [a, b] },
  };
  const left = context.manifest.members.length - disregarded.size;
  if ((next.name !== "Initial" && next.name !== "Collecting") || left >= spendQuorum(context.manifest)) {
    return stay(next, [violation]);
  }
  const { subject, tally } = next;
  const culprits = [...disregarded].toSorted((x, y) => x - y);
  return {
    state: { name: "AbortedByzantine", subject, tally, culprits },
    effects: [
      violation,
      { kind: "state", name: "AbortedByzantine" },
      ...closeRound(next, "byzantine"),
      ...voidOrder(tally, context),
    ],
  };
}

function onDeferral(
  state: VotingState,
  from: NodeIndex,
  deferral: Deferral,
  context: VotingContext,
): VotingStep {
  if (
    deferral.intentHash !== state.subject.intent ||
    deferral.cluster !== context.manifest.cluster ||
    deferral.node !== from ||
    !context.manifest.members.some((member) => member.index === from)
  ) {
    return stay(state);
  }
  const deferrals = new Map(state.tally.deferrals).set(from, deferral);
  return stay({ ...state, tally: { ...state.tally, deferrals } });
}

function onCertificate(
  state: VotingState,
  from: NodeIndex,
  certificate: Certificate,
  context: VotingContext,
): VotingStep {
  if (certificate.intentHash !== state.subject.intent) return stay(state);
  if (state.name !== "Initial" && state.name !== "Collecting" && !awaitsLate(state, context))
    return stay(state);
  const refusal = refusalOf(() => verifyCertificate(certificate, context.manifest, context.manifestHash));
  if (refusal !== null) return blame(state, from, refusal);
  return certify(state, certificate, context);
}

/** Whether the intent ended here without a certificate, and one may still revive it: before expiry and this node's own void. */
function awaitsLate(state: VotingState, context: VotingContext): boolean {
  switch (state.name) {
    case "Rejected":
    case "AbortedByzantine":
      return !state.tally.voids.has(context.me) && context.now < state.subject.expiry;
    case "AbortedTimeout":
      return (
        state.cause === "rounds" && !state.tally.voids.has(context.me) && context.now < state.subject.expiry
      );
    default:
      return false;
  }
}

function certify(state: VotingState, certificate: Certificate, context: VotingContext): VotingStep {
  const { subject, tally } = state;
  return enter({ name: "ThresholdReached", subject, tally, certificate }, [
    ...closeRound(state, "certified"),
    { kind: "certified", certificate },
    { kind: "arm", at: subject.expiry },
    ...hopelessOrder(tally, context),
  ]);
}

/**
 * Orders this node's void of what so many have voided that too few are left to sign it: some gave way to another intent before they knew of
 * the certificate. Held until it expires, its coins would be of use to nobody.
 */
function hopelessOrder(tally: Tally, context: VotingContext): VotingEffect[] {
  const { members, threshold } = context.manifest;
  return members.length - tally.voids.size < threshold ? voidOrder(tally, context) : [];
}

function onVoid(state: VotingState, from: NodeIndex, signed: SignedVoid, context: VotingContext): VotingStep {
  if (signed.body.intentHash !== state.subject.intent) return stay(state);
  const refusal = refusalOf(() => verifyVoid(signed, context.manifest, context.manifestHash));
  if (refusal !== null) return blame(state, from, refusal);
  if (state.tally.voids.has(signed.body.node)) return stay(state);
  const voids = new Map(state.tally.voids).set(signed.body.node, signed);
  const next = { ...state, tally: { ...state.tally, voids } };
  const settled = settleDeath(next, context);
  if (settled.state.name !== "ThresholdReached") return settled;
  return stay(settled.state, [...settled.effects, ...hopelessOrder(next.tally, context)]);
}

/** Goes to `Dead` when the tally proves it. Once the signed transaction was seen, only the chain can. */
function settleDeath(state: VotingState, context: VotingContext, before: VotingEffect[] = []): VotingStep {
  const { subject, tally } = state;
  if (state.name === "Dead" || state.name === "Confirmed") return stay(state, before);
  const voids = state.name === "Submitted" ? [] : [...tally.voids.keys()];
  const facts = { conflictDepth: tally.conflictDepth, voids };
  if (!isDead(facts, context.manifest)) return stay(state, before);
  const cause = isDead({ ...facts, voids: [] }, context.manifest) ? "conflicted" : "voided";
  return {
    state: { name: "Dead", subject, tally, cause },
    effects: [
      ...before,
      { kind: "state", name: "Dead" },
      ...closeRound(state, "deferred"),
      { kind: "dead", voids: cause === "voided" ? [...tally.voids.values()] : [] },
    ],
  };
}

function onSubmitted(state: VotingState): VotingStep {
  if (state.name === "Submitted" || state.name === "Confirmed" || state.name === "Dead") return stay(state);
  const { subject, tally } = state;
  return enter({ name: "Submitted", subject, tally, certificate: certificateOf(state) }, [
    ...closeRound(state, "certified"),
  ]);
}

function onConfirmed(state: VotingState): VotingStep {
  if (state.name === "Confirmed") return stay(state);
  const { subject, tally } = state;
  return enter({ name: "Confirmed", subject, tally, certificate: certificateOf(state) }, [
    ...closeRound(state, "certified"),
  ]);
}

function certificateOf(state: VotingState): Certificate | null {
  return "certificate" in state ? state.certificate : null;
}

function onTick(state: VotingState, context: VotingContext): VotingStep {
  const { now } = context;
  switch (state.name) {
    case "Initial":
    case "ThresholdReached":
      return now >= state.subject.expiry ? timeOut(state, "expired", context) : stay(state);
    case "Collecting":
      if (now >= state.subject.expiry) return timeOut(state, "expired", context);
      if (now < state.deadline) return stay(state);
      return nextRound(state, context);
    case "AbortedTimeout":
      return now < state.voidAt ? stay(state) : stay(state, voidOrder(state.tally, context));
    case "Rejected":
    case "AbortedByzantine":
    case "Voided":
      return stay(state, voidOrder(state.tally, context));
    default:
      return stay(state);
  }
}

function nextRound(state: Collecting, context: VotingContext): VotingStep {
  if (state.round >= MAX_ROUNDS) return timeOut(state, "rounds", context);
  const closed = closeRound(state, state.own.kind === "deferred" ? "deferred" : "timeout");
  const opened = openRound(state, state.round + 1, context);
  return { state: opened.state, effects: [...closed, ...opened.effects] };
}

/** Rounds that ran out leave one round's time for a late certificate before this node voids; expiry leaves none. */
function timeOut(state: VotingState, cause: "rounds" | "expired", context: VotingContext): VotingStep {
  const { subject, tally } = state;
  const expired = cause === "expired";
  const voidAt = expired ? context.now : (Math.min(context.now + context.roundMs, subject.expiry) as UnixMs);
  const next: VotingState = {
    name: "AbortedTimeout",
    subject,
    tally,
    cause,
    voidAt,
    certificate: certificateOf(state),
  };
  return enter(next, [
    ...closeRound(state, "timeout"),
    ...(expired ? voidOrder(tally, context) : [{ kind: "arm", at: voidAt } as const]),
  ]);
}

/** Orders this node's void, unless it is there. Each tick orders it again, since a live session may have forbidden it before. */
function voidOrder(tally: Tally, context: VotingContext): VotingEffect[] {
  return tally.voids.has(context.me) ? [] : [{ kind: "sign-void" }];
}

/** The error that `check` refuses with, or null. Faults of our own are not swallowed. */
function refusalOf(check: () => void): CairnError | null {
  try {
    check();
    return null;
  } catch (error) {
    if (isCairnError(error)) return error;
    throw error;
  }
}

/** Only a signature that does not verify is a fault of the sender's; another manifest or cluster may be lag. */
function blame(state: VotingState, from: NodeIndex, refusal: CairnError): VotingStep {
  if (refusal.code !== "signature-invalid") return stay(state);
  return stay(state, [{ kind: "violation", type: "InvalidSignature", node: from, evidence: null }]);
}
