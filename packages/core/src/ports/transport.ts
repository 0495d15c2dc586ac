import type { NodeIndex, UnixMs } from "../ids.ts";

/**
 * Carries opaque frames between members. At most once, in order for each pair of peers; a frame to a peer that is not up is
 * refused at once. Who a frame is from is authenticated; what is in it is sealed above this port.
 */
export interface Transport {
  /** Begins to listen and to connect. Resolves once it listens. */
  start(handler: TransportHandler): Promise<void>;
  /**
   * Queues one frame. Resolves when the frame has been handed to the network, which bounds what a sender can pile up.
   * @throws CairnError `peer-unreachable`, `too-large`, `busy` (the peer's queue is full), `closed`
   */
  send(to: NodeIndex, frame: Uint8Array): Promise<void>;
  /** What is known of each other member. */
  peers(): readonly PeerStatus[];
  /** Refuses a member at the handshake until told otherwise, and drops its connection. */
  setRefused(refused: ReadonlySet<NodeIndex>): void;
  /** Ends connections and listeners. Idempotent. */
  close(): Promise<void>;
}

export interface TransportHandler {
  /** A frame. The next one of the same peer waits for this promise: that is the back-pressure. */
  frame(from: NodeIndex, frame: Uint8Array): Promise<void>;
  /** A peer came up (after a HELLO in which both proved who they are) or went down. */
  peer(status: PeerStatus): void;
}

export interface PeerStatus {
  readonly node: NodeIndex;
  readonly up: boolean;
  /** Last frame or handshake, or null before the first. */
  readonly lastSeen: UnixMs | null;
  /** Smoothed round-trip time in milliseconds, or null before the first. */
  readonly roundTripMs: number | null;
  /** Protocol version agreed in HELLO, or null while down. */
  readonly protocolVersion: number | null;
  /** The peer's epoch as said in HELLO, or null. */
  readonly epoch: number | null;
  /** Code of the last failure, or null. */
  readonly lastError: string | null;
}

/** Largest frame. cggmp24's auxiliary messages reach 212 KB, intents with full previous transactions may be larger. */
export const MAX_FRAME_BYTES = 4 * 1024 * 1024;
