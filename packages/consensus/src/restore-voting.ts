import type { NodeIndex, UnixMs, VotingRoundRow } from "@cairn/core";
import type { Certificate } from "./certificate.ts";
import { certificateOfTally } from "./certificate-of-tally.ts";
import { rejections } from "./rejections.ts";
import type { SignedVoid } from "./void.ts";
import { FIRST_ROUND, MAX_ROUNDS, type SignedVote } from "./vote.ts";
import type { VotingEffect } from "./voting-effect.ts";
import { step, type VotingContext, type VotingStep } from "./voting-machine.ts";
import type { OwnRound, Tally, VotingState, VotingSubject } from "./voting-state.ts";

/** What the store holds about voting on one intent. */
export interface StoredVoting {
  readonly subject: VotingSubject;
  readonly votes: readonly SignedVote[];
  readonly voids: readonly SignedVoid[];
  /** Voters with a stored `DoubleVote` about this intent. */
  readonly doubleVoters: readonly NodeIndex[];
  readonly rounds: readonly VotingRoundRow[];
  readonly certificate: Certificate | null;
  /** Whether the signed transaction was seen, and whether it is in the chain. */
  readonly chain: "unseen" | "submitted" | "confirmed";
  /** What the chain source says now: a conflict that was told before the restart is not told again by itself. */
  readonly conflictDepth: number;
}

/**
 * The machine after a restart. An own vote that is stored is never cast again; one that was ordered but not stored never left
 * the node and is evaluated anew. Holds as long as all effects of a step were stored in one commit.
 */
export function restore(stored: StoredVoting, context: VotingContext): VotingStep {
  const tally = tallyOf(stored);
  const certificate = stored.certificate ?? formed(tally, context);
  const resumed = stateOf(stored, tally, certificate, context);
  const effects: VotingEffect[] = [];
  if (stored.certificate === null && resumed.name === "ThresholdReached") {
    effects.push({ kind: "certified", certificate: resumed.certificate });
  }
  if (resumed.name === "Collecting") {
    effects.push({ kind: "arm", at: resumed.deadline });
    if (resumed.own.kind === "evaluating" && context.now < resumed.deadline) {
      effects.push({ kind: "evaluate", round: resumed.round });
    }
  }
  if (resumed.name === "AbortedTimeout") effects.push({ kind: "arm", at: resumed.voidAt });
  if (resumed.name === "ThresholdReached") effects.push({ kind: "arm", at: stored.subject.expiry });
  // A conflict's depth is settled by its own event; the rest of what time did meanwhile, by a tick.
  const settled = step(resumed, { kind: "conflicted", depth: stored.conflictDepth }, context);
  const ticked = step(settled.state, { kind: "tick" }, context);
  return { state: ticked.state, effects: [...effects, ...settled.effects, ...ticked.effects] };
}

function tallyOf(stored: StoredVoting): Tally {
  const votes = new Map<number, Map<NodeIndex, SignedVote>>();
  for (const vote of stored.votes) {
    const { round, voter } = vote.body;
    votes.set(round, (votes.get(round) ?? new Map<NodeIndex, SignedVote>()).set(voter, vote));
  }
  return {
    votes,
    disregarded: new Set(stored.doubleVoters),
    deferrals: new Map(),
    voids: new Map(stored.voids.map((signed) => [signed.body.node, signed])),
    conflictDepth: stored.conflictDepth,
  };
}

function formed(tally: Tally, context: VotingContext): Certificate | null {
  if (tally.voids.has(context.me)) return null;
  for (let round = FIRST_ROUND; round <= MAX_ROUNDS; round += 1) {
    const certificate = certificateOfTally(tally, round, context.manifest);
    if (certificate !== null) return certificate;
  }
  return null;
}

function stateOf(
  stored: StoredVoting,
  tally: Tally,
  certificate: Certificate | null,
  context: VotingContext,
): VotingState {
  const { subject } = stored;
  if (stored.chain === "confirmed") return { name: "Confirmed", subject, tally, certificate };
  if (stored.chain === "submitted") return { name: "Submitted", subject, tally, certificate };
  if (certificate !== null) return { name: "ThresholdReached", subject, tally, certificate };
  const last = stored.rounds.toSorted((a, b) => a.round - b.round).at(-1);
  if (last === undefined) {
    if (tally.voids.has(context.me)) return { name: "Voided", subject, tally, by: null };
    return { name: "Initial", subject, tally };
  }
  switch (last.outcome) {
    case "open":
    case "certified": {
      const { round, openedAt, deadline } = last;
      const mine = tally.votes.get(round)?.get(context.me);
      const own: OwnRound = mine === undefined ? { kind: "evaluating" } : { kind: "cast", vote: mine };
      return { name: "Collecting", subject, tally, round, openedAt, deadline, own };
    }
    case "rejected":
      return { name: "Rejected", subject, tally, reasons: rejections(tally) };
    case "byzantine": {
      const culprits = [...tally.disregarded].toSorted((a, b) => a - b);
      return { name: "AbortedByzantine", subject, tally, culprits };
    }
    case "deferred":
      return { name: "Voided", subject, tally, by: null };
    case "timeout": {
      const cause = last.deadline >= subject.expiry ? "expired" : "rounds";
      const voidAt = Math.min(last.deadline + context.roundMs, subject.expiry) as UnixMs;
      return { name: "AbortedTimeout", subject, tally, cause, voidAt, certificate };
    }
  }
}
