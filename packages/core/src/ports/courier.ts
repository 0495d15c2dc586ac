import type { SealingKey } from "../envelope.ts";
import type { NodeIndex, SessionId, X25519PublicKey } from "../ids.ts";
import type { MessageKind } from "../message-kind.ts";
import type { StoreWrite } from "./node-store.ts";
import type { PeerStatus } from "./transport.ts";

/** What one node tells another, before sealing. */
export interface PeerMessage {
  readonly kind: MessageKind;
  /** The session it belongs to, or null. */
  readonly session: SessionId | null;
  /** Round within the session, 0 outside rounds. */
  readonly round: number;
  /** Canonical DAG-CBOR of the kind's own structure. */
  readonly payload: Uint8Array;
  /** W3C trace context (`traceparent`), or null. */
  readonly trace: string | null;
}

/**
 * Seals messages into envelopes, opens and checks those that arrive, and keeps posted ones until their recipient has said that
 * it holds them durably.
 */
export interface Courier {
  /** Begins to receive. */
  start(handler: CourierHandler): Promise<void>;
  /** At most once, in order with other messages to the same peer; lost when the peer is down. */
  send(to: NodeIndex, message: PeerMessage): void;
  /**
   * The write that, committed with the state it follows from, has the message delivered until acknowledged.
   * `id` names it: posting the same id to the same node again is no second message.
   */
  posting(to: NodeIndex, id: string, message: PeerMessage): StoreWrite;
  /** Says that postings were committed: these, as {@link posting} gave them, or any when left out, which are read from the store then. */
  kick(committed?: readonly StoreWrite[]): void;
  peers(): readonly PeerStatus[];
  setRefused(refused: ReadonlySet<NodeIndex>): void;
  /**
   * From now on `round` messages of `session` are sealed to `keys.peers` and opened with `keys.own` alone; a peer without an
   * entry is sent none. Null forgets the keys, so that nothing recorded of the session opens again.
   */
  useSealingKeys(session: SessionId, keys: SessionSealingKeys | null): void;
  close(): Promise<void>;
}

/** Ephemeral keys of one keygen or refresh session, so that a node's sealing key stolen later opens nothing recorded. */
export interface SessionSealingKeys {
  readonly own: SealingKey;
  readonly peers: ReadonlyMap<NodeIndex, X25519PublicKey>;
}

export interface CourierHandler {
  /**
   * A message that passed every check of the envelope. The receipt of a posted one leaves after this promise resolves, so
   * resolve also for what is refused for good: a rejection asks for another delivery.
   */
  message(from: NodeIndex, message: PeerMessage): Promise<void>;
  peer(status: PeerStatus): void;
  /** An envelope failed a check, with the error's code: for metrics and the detector. */
  refused(from: NodeIndex, code: string): void;
}
