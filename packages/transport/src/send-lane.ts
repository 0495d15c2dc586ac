import {
  CairnError,
  type Clock,
  type ClusterId,
  type EnvelopeBox,
  isCairnError,
  type NodeIndex,
  type PeerMessage,
  type Signer,
  type Transport,
  type X25519PublicKey,
} from "@cairn/core";
import type { TransportMetrics } from "./metrics.ts";
import { encodeSealedPayload } from "./wire-message.ts";

/** A message that waits to be sealed and sent. */
export interface Outgoing {
  readonly message: PeerMessage;
  /** Names a posted message to its receipt, or null. */
  readonly id: string | null;
  readonly recipient: X25519PublicKey;
}

export interface SendLaneOptions {
  readonly cluster: ClusterId;
  readonly epoch: number;
  readonly me: NodeIndex;
  readonly peer: NodeIndex;
  readonly maxPendingBytes: number;
}

export interface SendLaneModules {
  readonly transport: Pick<Transport, "send">;
  readonly clock: Clock;
  readonly signer: Signer;
  readonly box: EnvelopeBox;
  readonly metrics: TransportMetrics;
  /** Receipts that shall go along with the message, which is about to be sealed. */
  readonly receipts: (outgoing: Outgoing) => readonly string[];
  /** A message that did not leave, and why. */
  readonly lost: (outgoing: Outgoing, error: CairnError) => void;
}

/**
 * Seals and sends messages to one peer one after another: sealing is asynchronous, and un-awaited sends on one stream would
 * overtake each other.
 */
export class SendLane {
  readonly #options: SendLaneOptions;
  readonly #modules: SendLaneModules;
  #queue: (() => Outgoing | null)[] = [];
  #pendingBytes = 0;
  #running = false;
  #seq = 0;

  constructor(options: SendLaneOptions, modules: SendLaneModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** Queues a message; it counts as lost when the lane is full. */
  push(outgoing: Outgoing): void {
    const bytes = outgoing.message.payload.length;
    if (this.#pendingBytes + bytes > this.#options.maxPendingBytes) {
      this.#lose(
        outgoing,
        new CairnError("busy", "too much waits to be sealed for the peer", { node: this.#options.peer }),
      );
      return;
    }
    this.#pendingBytes += bytes;
    this.pushLate(() => {
      this.#pendingBytes -= bytes;
      return outgoing;
    });
  }

  /** Queues a message that is made when its turn comes; null when there is nothing to say any more. */
  pushLate(make: () => Outgoing | null): void {
    this.#queue.push(make);
    if (!this.#running) void this.#run();
  }

  /** Forgets what waits: the peer went down, and a message is sent at most once. */
  clear(): void {
    const dropped = this.#queue;
    this.#queue = [];
    for (const make of dropped) {
      const outgoing = make();
      if (outgoing !== null) {
        this.#lose(
          outgoing,
          new CairnError("peer-unreachable", "the peer went down", { node: this.#options.peer }),
        );
      }
    }
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (let make = this.#queue.shift(); make !== undefined; make = this.#queue.shift()) {
      const outgoing = make();
      if (outgoing !== null) await this.#send(outgoing);
    }
    this.#running = false;
  }

  async #send(outgoing: Outgoing): Promise<void> {
    const { cluster, epoch, me, peer } = this.#options;
    const { transport, clock, signer, box, metrics, receipts } = this.#modules;
    const { kind, session, round, payload, trace } = outgoing.message;
    const now = clock.now();
    this.#seq = Math.max(this.#seq + 1, now * 1000);
    try {
      const frame = await box.seal(
        {
          version: 1,
          cluster,
          epoch,
          session,
          round,
          from: me,
          to: peer,
          seq: this.#seq,
          sentAt: now,
          kind,
          trace,
        },
        encodeSealedPayload({ id: outgoing.id, body: payload, receipts: receipts(outgoing) }),
        outgoing.recipient,
        signer,
      );
      await transport.send(peer, frame);
      metrics.messagesSent.inc({ kind });
    } catch (cause) {
      this.#lose(
        outgoing,
        isCairnError(cause)
          ? cause
          : new CairnError("internal", "a message could not be sealed", { kind }, { cause }),
      );
    }
  }

  #lose(outgoing: Outgoing, error: CairnError): void {
    this.#modules.metrics.messagesLost.inc({ kind: outgoing.message.kind, code: error.code });
    this.#modules.lost(outgoing, error);
  }
}
