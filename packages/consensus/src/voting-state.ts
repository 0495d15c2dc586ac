import type { IntentHash, NodeIndex, UnixMs } from "@cairn/core";
import type { Certificate } from "./certificate.ts";
import type { Deferral } from "./deferral.ts";
import type { SignedVoid } from "./void.ts";
import type { SignedVote, VoteReason } from "./vote.ts";

/** What voting is about. */
export interface VotingSubject {
  readonly intent: IntentHash;
  /** The request's. */
  readonly expiry: UnixMs;
}

/** What came in about an intent; bounded by rounds × members, whatever peers send. */
export interface Tally {
  /** Verified votes by round, then voter: the first that was seen. Rounds to come are kept here too. */
  readonly votes: ReadonlyMap<number, ReadonlyMap<NodeIndex, SignedVote>>;
  /** Voters caught with two votes in one round: none of their votes counts towards a certificate formed from now on. */
  readonly disregarded: ReadonlySet<NodeIndex>;
  /** The last deferral of each node. */
  readonly deferrals: ReadonlyMap<NodeIndex, Deferral>;
  readonly voids: ReadonlyMap<NodeIndex, SignedVoid>;
  /** Confirmations of a conflicting transaction, 0 when there is none. */
  readonly conflictDepth: number;
}

/** This node's part in the open round. */
export type OwnRound =
  /** `evaluate` was asked for and not answered. */
  | { readonly kind: "evaluating" }
  /** Something stands in the way; the next round or an `unblocked` event asks again. */
  | { readonly kind: "deferred"; readonly code: string; readonly blocking: readonly IntentHash[] }
  /** `cast` was ordered; the vote comes back as an event once it is durable. */
  | { readonly kind: "casting"; readonly approve: boolean; readonly reason: VoteReason | null }
  | { readonly kind: "cast"; readonly vote: SignedVote };

interface Common {
  readonly subject: VotingSubject;
  readonly tally: Tally;
}

/** Rejections of distinct nodes that ended an intent, for people. */
export interface Rejection {
  readonly node: NodeIndex;
  readonly reason: VoteReason;
}

/**
 * Where voting on one intent stands at one node.
 *
 * `Initial → Collecting → ThresholdReached → Submitted → Confirmed` is the way of a payment. `AbortedByzantine`: too many voters
 * were caught double voting for a quorum to be left. `AbortedTimeout`: the rounds or the request's time ran out. Two states
 * beside the mission's seven: `Rejected` (so many static or final rejections that no quorum is left) and `Voided` (this node
 * gave way to another intent and signed `Void`). `Dead` is proven: nobody can pay it any more. Every state
 * gives way to `Confirmed`, since the chain has the last word, and all but `Dead` to `Submitted`; what ended without a
 * certificate gives way to a late one as long as this node signed no void and the request has not expired.
 */
export type VotingState =
  | (Common & { readonly name: "Initial" })
  | (Common & {
      readonly name: "Collecting";
      readonly round: number;
      readonly openedAt: UnixMs;
      readonly deadline: UnixMs;
      readonly own: OwnRound;
    })
  | (Common & { readonly name: "ThresholdReached"; readonly certificate: Certificate })
  | (Common & { readonly name: "Submitted"; readonly certificate: Certificate | null })
  | (Common & { readonly name: "Confirmed"; readonly certificate: Certificate | null })
  | (Common & { readonly name: "Rejected"; readonly reasons: readonly Rejection[] })
  | (Common & {
      readonly name: "AbortedTimeout";
      readonly cause: "rounds" | "expired";
      /** From here this node signs `Void`; a certificate that comes before it still counts. */
      readonly voidAt: UnixMs;
      readonly certificate: Certificate | null;
    })
  | (Common & { readonly name: "AbortedByzantine"; readonly culprits: readonly NodeIndex[] })
  | (Common & { readonly name: "Voided"; readonly by: IntentHash | null })
  | (Common & { readonly name: "Dead"; readonly cause: "conflicted" | "voided" });

export type VotingStateName = VotingState["name"];
