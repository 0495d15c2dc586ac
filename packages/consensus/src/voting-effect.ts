import type { IntentHash, NodeIndex, UnixMs, VotingRoundRow } from "@cairn/core";
import type { Certificate } from "./certificate.ts";
import type { Evidence, ViolationType } from "./evidence.ts";
import type { SignedVoid } from "./void.ts";
import type { VoteReason } from "./vote.ts";
import type { Rejection, VotingStateName } from "./voting-state.ts";

/** What the runtime carries out, in order: persist, then send, then apply. */
export type VotingEffect =
  /** Run this node's own checks and answer with a `verdict` of this round. */
  | { readonly kind: "evaluate"; readonly round: number }
  /** For approvals: reserve. Then sign the vote, store it, send it to all, and hand it back as a `vote` event. Once a round. */
  | {
      readonly kind: "cast";
      readonly round: number;
      readonly approve: boolean;
      readonly reason: VoteReason | null;
    }
  /** Tell the others why this node does not vote in this round yet. */
  | {
      readonly kind: "defer-notice";
      readonly round: number;
      readonly code: string;
      readonly blocking: readonly IntentHash[];
    }
  /** Store the certificate and send it to all. */
  | { readonly kind: "certified"; readonly certificate: Certificate }
  | { readonly kind: "rejected"; readonly reasons: readonly Rejection[] }
  /** If `mayVoid` allows: sign `Void`, store it, send it to all, hand it back as a `void` event. */
  | { readonly kind: "sign-void" }
  /** This intent wins: hand `displaced` to the machines of these. */
  | { readonly kind: "displace"; readonly losers: readonly IntentHash[] }
  /**
   * Proven dead: free its reservations, hand `unblocked` to whoever waits, and send `voids` to all. They prove the death to nodes
   * that a liar left out; empty where the chain is the proof.
   */
  | { readonly kind: "dead"; readonly voids: readonly SignedVoid[] }
  | {
      readonly kind: "violation";
      readonly type: ViolationType;
      readonly node: NodeIndex;
      /** Null where no third party could judge. */
      readonly evidence: Evidence | null;
    }
  /** Store how a round of voting began or ended. */
  | { readonly kind: "round"; readonly row: VotingRoundRow }
  /** Send a `tick` at this time. A later `arm` does not cancel an earlier one. */
  | { readonly kind: "arm"; readonly at: UnixMs }
  | { readonly kind: "state"; readonly name: VotingStateName };
