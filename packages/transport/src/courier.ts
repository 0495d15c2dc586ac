import {
  CairnError,
  type Clock,
  type Courier,
  type CourierHandler,
  decodeEnvelope,
  type Envelope,
  type EnvelopeBox,
  type EnvelopeHeader,
  hpkeBox,
  isCairnError,
  MAX_FRAME_BYTES,
  type Manifest,
  memberOf,
  type NodeIndex,
  type PeerMessage,
  type PeerStatus,
  type SealingKey,
  type SessionId,
  type SessionSealingKeys,
  type Signer,
  type StoreWrite,
  type Timer,
  type Transport,
  type X25519PublicKey,
} from "@cairn/core";
import { type HeldRound, HeldRounds } from "./held-rounds.ts";
import { createTransportMetrics, type TransportMetrics } from "./metrics.ts";
import { OutboxSender, type OutboxStore, type PostedRow } from "./outbox-sender.ts";
import { ReplayGuard, type ReplayStore } from "./replay-guard.ts";
import { type Outgoing, SendLane } from "./send-lane.ts";
import {
  decodePeerMessage,
  decodeSealedPayload,
  encodePeerMessage,
  MAX_POST_ID,
  MAX_RECEIPT_IDS,
} from "./wire-message.ts";

export interface CourierOptions {
  readonly me: NodeIndex;
  /** This node's epoch, which rises at every restore. */
  readonly epoch: number;
  /** Largest clock difference to a peer that is believed; 30 s by default. */
  readonly clockSkewMs?: number;
  /** Messages refused at most after a crash of this node, see {@link ReplayGuard}; 1 s by default. */
  readonly replayLeaseMs?: number;
  /** First wait for the receipt of a posted message; 2 s by default, doubling up to `resendMaxMs` (60 s). */
  readonly resendAfterMs?: number;
  readonly resendMaxMs?: number;
  /** How long a receipt waits for a message to go along with; 500 ms by default. */
  readonly receiptDelayMs?: number;
  /** Posted messages under way to one peer; 64 by default. */
  readonly window?: number;
  /** Payload bytes that may wait to be sealed for one peer; 32 MiB by default. */
  readonly maxPendingBytes?: number;
}

export interface CourierModules {
  readonly transport: Transport;
  readonly store: OutboxStore & ReplayStore;
  readonly clock: Clock;
  readonly signer: Signer;
  /** The node's own sealing key, whose public half the manifest names. */
  readonly sealing: SealingKey;
  /** The manifest in force. */
  readonly manifest: () => Manifest;
  /** What seals and opens; {@link hpkeBox} by default. */
  readonly box?: EnvelopeBox;
  readonly metrics?: TransportMetrics;
  /** Faults of this node itself: the store fails, a handler rejects, a message is too large. */
  readonly report?: (cause: unknown) => void;
}

/** Room for the header, encapsulated key, tag, signature and id around a payload. */
const ENVELOPE_OVERHEAD = 2048;
/** Largest payload that fits into a frame with its envelope. */
export const MAX_MESSAGE_BYTES = MAX_FRAME_BYTES - ENVELOPE_OVERHEAD;

const HELD_BYTES_PER_PEER = 4 * 1024 * 1024;
const HOLD_MS = 10_000;
/** Largest payload that receipts go along with: a frame must hold both. */
const MAX_CARRIER_BYTES = 1024 * 1024;
const RECENT_IDS = 1024;
const NOTHING = new Uint8Array();
/** Receipts that wait for no more: the sender's window must not fill up with what was handled. */
const MAX_WAITING_RECEIPTS = 16;
const ENDED_SESSIONS = 256;

/** A {@link Courier} over any {@link Transport}. */
export function createCourier(options: CourierOptions, modules: CourierModules): Courier {
  return new SealingCourier(options, modules);
}

/** What the courier keeps of one peer. */
interface Peer {
  readonly lane: SendLane;
  readonly outbox: OutboxSender;
  /** Posted messages that were handled lately, oldest first. */
  readonly handled: Set<string>;
  /** Ids that await their receipt. */
  receipts: string[];
  receiptTimer: Timer | null;
  /** End of the row of messages that are being opened and handled. */
  turn: Promise<void>;
  up: boolean;
}

class SealingCourier implements Courier {
  readonly #options: Required<CourierOptions>;
  readonly #modules: CourierModules;
  readonly #metrics: TransportMetrics;
  readonly #box: EnvelopeBox;
  readonly #guard: ReplayGuard;
  readonly #held: HeldRounds;
  readonly #peers = new Map<NodeIndex, Peer>();
  readonly #sessions = new Map<SessionId, SessionSealingKeys>();
  readonly #ended = new Set<SessionId>();
  /** What was posted lately: a broadcast is encoded once, and what this process posted itself is not decoded. */
  readonly #encoded = new WeakMap<PeerMessage, Uint8Array>();
  readonly #decoded = new WeakMap<Uint8Array, PeerMessage>();
  #refused: ReadonlySet<NodeIndex> = new Set();
  #handler: CourierHandler | null = null;
  #closing: Promise<void> | null = null;

  constructor(options: CourierOptions, modules: CourierModules) {
    this.#options = {
      clockSkewMs: 30_000,
      replayLeaseMs: 1000,
      resendAfterMs: 2000,
      resendMaxMs: 60_000,
      receiptDelayMs: 500,
      window: 64,
      maxPendingBytes: 32 * 1024 * 1024,
      ...options,
    };
    this.#modules = modules;
    this.#metrics = modules.metrics ?? createTransportMetrics(null);
    this.#box = modules.box ?? hpkeBox;
    this.#guard = new ReplayGuard({ leaseMs: this.#options.replayLeaseMs }, modules);
    this.#held = new HeldRounds(
      { maxBytesPerPeer: HELD_BYTES_PER_PEER, holdMs: HOLD_MS },
      // Not `malformed`: an honest peer's round may come after the session has ended here.
      { clock: modules.clock, expired: ({ from }) => this.#refuse(from, "wrong-state") },
    );
  }

  async start(handler: CourierHandler): Promise<void> {
    if (this.#closing !== null) throw new CairnError("closed", "the courier is closed");
    if (this.#handler !== null) throw new CairnError("wrong-state", "the courier has started already");
    this.#handler = handler;
    await this.#modules.transport.start({
      frame: (from, frame) => this.#inTurn(from, () => this.#frame(from, frame)),
      peer: (status) => this.#peerChanged(status),
    });
  }

  send(to: NodeIndex, message: PeerMessage): void {
    const peer = this.#peer(to);
    const recipient = this.#recipient(to, message);
    const lose = (code: string) => this.#metrics.messagesLost.inc({ kind: message.kind, code });
    if (message.payload.length > MAX_MESSAGE_BYTES) {
      lose("too-large");
      this.#report(tooLarge(message));
    } else if (recipient === null) {
      lose("wrong-state");
    } else if (!peer.up || this.#closing !== null) {
      lose("peer-unreachable");
    } else {
      peer.lane.push({ message, id: null, recipient });
    }
  }

  posting(to: NodeIndex, id: string, message: PeerMessage): StoreWrite {
    if (message.payload.length > MAX_MESSAGE_BYTES) throw tooLarge(message);
    if (id.length === 0 || id.length > MAX_POST_ID) {
      throw new CairnError("malformed", "the id of a posted message has 1 to 256 characters", {
        length: id.length,
      });
    }
    const createdAt = this.#modules.clock.now();
    const encoded = this.#encoded.get(message) ?? encodePeerMessage(message);
    this.#encoded.set(message, encoded);
    this.#decoded.set(encoded, message);
    return { write: "outbox", row: { to, id, kind: message.kind, message: encoded, createdAt } };
  }

  kick(committed?: readonly StoreWrite[]): void {
    const rows = committed?.flatMap((write) => (write.write === "outbox" ? [write.row] : []));
    for (const [node, peer] of this.#peers) peer.outbox.kick(rows?.filter(({ to }) => to === node));
  }

  peers(): readonly PeerStatus[] {
    return this.#modules.transport.peers();
  }

  setRefused(refused: ReadonlySet<NodeIndex>): void {
    this.#refused = new Set(refused);
    this.#modules.transport.setRefused(this.#refused);
  }

  useSealingKeys(session: SessionId, keys: SessionSealingKeys | null): void {
    if (keys === null) {
      this.#sessions.delete(session);
      remember(this.#ended, session, ENDED_SESSIONS);
      this.#held.take(session);
      return;
    }
    this.#ended.delete(session);
    this.#sessions.set(session, { own: keys.own, peers: new Map(keys.peers) });
    for (const held of this.#held.take(session)) void this.#inTurn(held.from, () => this.#openHeld(held));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#modules.transport.close();
    this.#held.clear();
    for (const peer of this.#peers.values()) {
      peer.up = false;
      peer.lane.clear();
      await peer.turn;
      peer.receiptTimer?.cancel();
      await peer.outbox.close();
    }
    this.#sessions.clear();
    if (this.#handler !== null) await this.#guard.close();
  }

  #peer(node: NodeIndex): Peer {
    const known = this.#peers.get(node);
    if (known !== undefined) return known;
    const { me, epoch, window, resendAfterMs, resendMaxMs, maxPendingBytes } = this.#options;
    const { transport, clock, signer, store } = this.#modules;
    const metrics = this.#metrics;
    const { cluster } = this.#modules.manifest();
    const peer: Peer = {
      lane: new SendLane(
        { cluster, epoch, me, peer: node, maxPendingBytes },
        {
          transport,
          clock,
          signer,
          box: this.#box,
          metrics,
          receipts: (outgoing) => this.#receiptsFor(node, outgoing),
          lost: (outgoing, error) => this.#lost(outgoing, error),
        },
      ),
      outbox: new OutboxSender(
        { peer: node, window, resendAfterMs, resendMaxMs },
        {
          store,
          clock,
          metrics,
          send: (row) => this.#sendPosted(node, row),
          failed: (cause) => this.#report(cause),
        },
      ),
      handled: new Set(),
      receipts: [],
      receiptTimer: null,
      turn: Promise.resolve(),
      up: false,
    };
    this.#peers.set(node, peer);
    return peer;
  }

  #peerChanged(status: PeerStatus): void {
    const peer = this.#peer(status.node);
    peer.up = status.up;
    if (!status.up) {
      peer.lane.clear();
      peer.outbox.down();
    }
    this.#handler?.peer(status);
    if (status.up) peer.outbox.up();
  }

  #sendPosted(to: NodeIndex, row: PostedRow): void {
    let outgoing: Outgoing | null = null;
    try {
      const message = this.#decoded.get(row.message) ?? decodePeerMessage(row.message);
      const recipient = this.#recipient(to, message);
      if (recipient !== null) outgoing = { message, id: row.id, recipient };
    } catch (cause) {
      this.#report(cause);
    }
    if (outgoing !== null) this.#peer(to).lane.push(outgoing);
  }

  /** Whom a message is sealed to, or null when the session's keys name nobody. */
  #recipient(to: NodeIndex, message: PeerMessage): X25519PublicKey | null {
    if (message.kind === "round" && message.session !== null) {
      const keys = this.#sessions.get(message.session);
      if (keys !== undefined) return keys.peers.get(to) ?? null;
    }
    return memberOf(this.#modules.manifest(), to).sealing;
  }

  #sessionKeys(header: EnvelopeHeader): SessionSealingKeys | undefined {
    return header.kind === "round" && header.session !== null
      ? this.#sessions.get(header.session)
      : undefined;
  }

  /** Runs `work` after what came from this peer before. Never rejects. */
  #inTurn(from: NodeIndex, work: () => Promise<void>): Promise<void> {
    const peer = this.#peer(from);
    peer.turn = peer.turn.then(work).catch((cause) => this.#report(cause));
    return peer.turn;
  }

  async #frame(from: NodeIndex, frame: Uint8Array): Promise<void> {
    if (this.#refused.has(from)) {
      this.#refuse(from, "NodeBanned");
      return;
    }
    try {
      const envelope = decodeEnvelope(frame);
      if (envelope.header.from === from) await this.#guard.check(envelope.header);
      await this.#open(from, envelope);
    } catch (error) {
      if (!isCairnError(error) || error.code.startsWith("storage-")) throw error;
      this.#refuse(from, error.code);
    }
  }

  async #open(from: NodeIndex, envelope: Envelope): Promise<void> {
    const { header } = envelope;
    const keys = this.#sessionKeys(header);
    const manifest = this.#modules.manifest();
    const expected = {
      cluster: manifest.cluster,
      me: this.#options.me,
      from,
      senderKey: memberOf(manifest, from).identity,
      now: this.#modules.clock.now(),
      clockSkewMs: this.#options.clockSkewMs,
    };
    let payload: Uint8Array;
    try {
      payload = await this.#box.open(envelope, expected, keys?.own ?? this.#modules.sealing);
    } catch (error) {
      // Past the signature, so it is the peer's own: it may be sealed to a key that this node does not know to be in use yet.
      if (!isCairnError(error, "malformed") || keys !== undefined || header.kind !== "round") throw error;
      if (header.session === null) throw error;
      await this.#guard.accept(header);
      this.#hold({ from, session: header.session, envelope });
      return;
    }
    await this.#guard.accept(header);
    await this.#receive(from, header, payload);
  }

  #hold(held: HeldRound): void {
    if (this.#sessions.has(held.session)) {
      void this.#inTurn(held.from, () => this.#openHeld(held));
    } else if (this.#ended.has(held.session)) {
      this.#refuse(held.from, "wrong-state");
    } else if (!this.#held.hold(held)) {
      this.#refuse(held.from, "busy");
    }
  }

  async #openHeld({ from, session, envelope }: HeldRound): Promise<void> {
    const keys = this.#sessions.get(session);
    if (keys === undefined) return;
    const manifest = this.#modules.manifest();
    try {
      const payload = await this.#box.open(
        envelope,
        {
          cluster: manifest.cluster,
          me: this.#options.me,
          from,
          senderKey: memberOf(manifest, from).identity,
          // Its time was checked when it arrived.
          now: envelope.header.sentAt,
          clockSkewMs: this.#options.clockSkewMs,
        },
        keys.own,
      );
      await this.#receive(from, envelope.header, payload);
    } catch (error) {
      if (!isCairnError(error)) throw error;
      this.#refuse(from, error.code);
    }
  }

  async #receive(from: NodeIndex, header: EnvelopeHeader, sealed: Uint8Array): Promise<void> {
    const { id, body, receipts } = decodeSealedPayload(sealed);
    this.#metrics.messagesReceived.inc({ kind: header.kind });
    const peer = this.#peer(from);
    peer.outbox.receipt(receipts);
    if (header.kind === "receipt") return;
    if (id === null || !peer.handled.has(id)) {
      const { kind, session, round, trace } = header;
      try {
        await this.#handler?.message(from, { kind, session, round, payload: body, trace });
      } catch (cause) {
        // No receipt: the peer sends a posted message again.
        this.#report(cause);
        return;
      }
    }
    if (id === null) return;
    remember(peer.handled, id, RECENT_IDS);
    this.#acknowledge(from, peer, id);
  }

  #acknowledge(to: NodeIndex, peer: Peer, id: string): void {
    peer.receipts.push(id);
    if (peer.receipts.length >= MAX_WAITING_RECEIPTS) return this.#sendReceipts(to, peer);
    const { receiptDelayMs } = this.#options;
    peer.receiptTimer ??= this.#modules.clock.after(receiptDelayMs, () => this.#sendReceipts(to, peer));
  }

  /** Nothing went to the peer that could have taken the receipts along. */
  #sendReceipts(to: NodeIndex, peer: Peer): void {
    peer.receiptTimer?.cancel();
    peer.receiptTimer = null;
    peer.lane.pushLate(() => {
      const member = this.#modules.manifest().members[to - 1];
      if (peer.receipts.length === 0 || !peer.up || member === undefined) return null;
      const message = { kind: "receipt", session: null, round: 0, payload: NOTHING, trace: null } as const;
      return { message, id: null, recipient: member.sealing };
    });
  }

  /** Rounds that are sealed to a session's own keys may have to wait for them at the peer, so they take no receipts along. */
  #receiptsFor(to: NodeIndex, { message, recipient }: Outgoing): readonly string[] {
    const peer = this.#peer(to);
    const member = this.#modules.manifest().members[to - 1];
    if (recipient !== member?.sealing || message.payload.length > MAX_CARRIER_BYTES) return [];
    const ids = peer.receipts.splice(0, MAX_RECEIPT_IDS);
    if (peer.receipts.length > 0) this.#sendReceipts(to, peer);
    else if (ids.length > 0) {
      peer.receiptTimer?.cancel();
      peer.receiptTimer = null;
    }
    return ids;
  }

  #lost(outgoing: Outgoing, error: CairnError): void {
    if (error.code === "internal" || error.code === "too-large") this.#report(error);
    else if (outgoing.id !== null && error.code === "busy") this.#report(error);
  }

  #refuse(from: NodeIndex, code: string): void {
    this.#metrics.messagesRefused.inc({ code });
    this.#handler?.refused(from, code);
  }

  #report(cause: unknown): void {
    this.#modules.report?.(cause);
  }
}

function tooLarge(message: PeerMessage): CairnError {
  return new CairnError("too-large", "the message does not fit into a frame", {
    kind: message.kind,
    bytes: message.payload.length,
    limit: MAX_MESSAGE_BYTES,
  });
}

/** Adds to a set that forgets its oldest entries. */
function remember<T>(set: Set<T>, value: T, limit: number): void {
  set.delete(value);
  set.add(value);
  if (set.size <= limit) return;
  const [oldest] = set;
  if (oldest !== undefined) set.delete(oldest);
}
