import type { IntentHash, NodeIndex } from "@cairn/core";
import type { Certificate } from "./certificate.ts";
import type { Deferral } from "./deferral.ts";
import type { SignedVoid } from "./void.ts";
import type { SignedVote } from "./vote.ts";

/** An intent in the way of another. */
export interface Blocker {
  readonly intent: IntentHash;
  /** This node holds its certificate, or released a partial for it: it never gives way. */
  readonly certified: boolean;
}

/** What a node's own checks say. */
export type Verdict =
  | { readonly kind: "approve" }
  /** A static fault or a final decision of policy: nothing else is a rejection. */
  | { readonly kind: "reject"; readonly code: string; readonly blocking: readonly IntentHash[] }
  /** A conflict (with its blockers), or something that may pass: lag, a chain source that is down, a manifest not yet here. */
  | { readonly kind: "defer"; readonly code: string; readonly blocking: readonly Blocker[] };

export type VotingEvent =
  /** The intent is stored, and the approvals that policy asks for are there. */
  | { readonly kind: "open" }
  /** Answers the effect `evaluate` of the same round. */
  | { readonly kind: "verdict"; readonly round: number; readonly verdict: Verdict }
  /** A vote of anybody's, this node's own durable one included. `from` is who handed it in. */
  | { readonly kind: "vote"; readonly from: NodeIndex; readonly vote: SignedVote }
  | { readonly kind: "deferral"; readonly from: NodeIndex; readonly deferral: Deferral }
  | { readonly kind: "certificate"; readonly from: NodeIndex; readonly certificate: Certificate }
  /** A void of anybody's, this node's own durable one included. */
  | { readonly kind: "void"; readonly from: NodeIndex; readonly void: SignedVoid }
  /** Something that blocked this intent died: ask again in this round. */
  | { readonly kind: "unblocked" }
  /** Another intent won the round that both were deferred in. */
  | { readonly kind: "displaced"; readonly by: IntentHash }
  /** The signed transaction was seen: made here, received, or met in a mempool. */
  | { readonly kind: "submitted" }
  | { readonly kind: "confirmed" }
  /** A reorganisation took the transaction out of the chain again. */
  | { readonly kind: "unconfirmed" }
  /** A transaction that spends one of its inputs and is not it has so many confirmations. */
  | { readonly kind: "conflicted"; readonly depth: number }
  /** Time passed: `context.now` says how much. */
  | { readonly kind: "tick" };
