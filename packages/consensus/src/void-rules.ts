import { type Manifest, type NodeIndex, voidQuorum } from "@cairn/core";

/** Confirmations after which a conflicting transaction is final. */
export const DEAD_DEPTH = 6;

/** What a node knows of its own part in an intent, before it signs a void. */
export interface OwnPart {
  /** A partial signature for any input of it has left this node, in any session. */
  readonly partialReleased: boolean;
  /**
   * One may have left: a presignature was burned for it, or an online round begun, without a durable record that nothing
   * was sent. After a crash this is what the store says.
   */
  readonly partialPossible: boolean;
  /** A session for it lives at this node; end it first. */
  readonly sessionLive: boolean;
}

/** Whether a node may sign `Void`. Once it has, {@link maySign} is false for good. */
export function mayVoid(part: OwnPart): boolean {
  return !part.partialReleased && !part.partialPossible && !part.sessionLive;
}

/** Whether a node may still take part in signing an intent: never after its own void. */
export function maySign(facts: { readonly ownVoid: boolean; readonly dead: boolean }): boolean {
  return !facts.ownVoid && !facts.dead;
}

/** What is known of the end of an intent. */
export interface DeathFacts {
  /** Confirmations of a transaction that spends one of its inputs and is not it; 0 when there is none. */
  readonly conflictDepth: number;
  /** Nodes whose valid `Void` is stored. */
  readonly voids: Iterable<NodeIndex>;
}

/** Whether an intent can never be paid any more: conflicted six deep, or voided by n − t + f + 1 nodes. */
export function isDead(facts: DeathFacts, manifest: Manifest): boolean {
  return facts.conflictDepth >= DEAD_DEPTH || new Set(facts.voids).size >= voidQuorum(manifest);
}
