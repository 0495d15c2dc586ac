import {
  CairnError,
  decodeCanonical,
  type EnvelopeHeader,
  encodeCanonical,
  type NodeIndex,
  type StoreWrite,
} from "@cairn/core";
import { z } from "zod";

const markSchema = z.strictObject({ epoch: z.number().int().min(0), seq: z.number().int().min(0) });
/** A place in a sender's row of envelopes. */
type Mark = z.output<typeof markSchema>;

/** What the guard keeps in the node's store. */
export interface ReplayStore {
  commit(writes: readonly StoreWrite[]): Promise<void>;
  meta(key: string): Promise<Uint8Array | null>;
}

/**
 * Refuses envelopes that were accepted before, across restarts of either side, with one mark a peer.
 *
 * A sender's `seq` rises with each envelope and is at least its wall clock in microseconds, so a restarted sender goes on above what
 * it used. The receiver keeps, a peer, the highest (epoch, seq) that it accepted: transports deliver in order, so all that is
 * not above it is a replay. That mark would cost a commit a message to be durable; instead the guard commits a *ceiling* `leaseMs`
 * above it and commits again only when a message passes the ceiling: at most one commit in `leaseMs` of traffic. A
 * receiver that stopped without {@link ReplayGuard.close} begins at the ceiling: it refuses what peers send in the rest of that lease, but
 * never accepts anything twice. A clean close writes the exact mark.
 *
 * A sender whose clock was set back while it was down is refused until the clock is again where it was; the largest step that the envelope's
 * clock check lets pass is twice the skew.
 */
export class ReplayGuard {
  readonly #store: ReplayStore;
  readonly #leaseMicros: number;
  readonly #marks = new Map<NodeIndex, Mark>();
  readonly #ceilings = new Map<NodeIndex, Mark>();
  readonly #loaded = new Set<NodeIndex>();

  constructor(options: { readonly leaseMs: number }, modules: { readonly store: ReplayStore }) {
    this.#leaseMicros = Math.ceil(options.leaseMs * 1000);
    this.#store = modules.store;
  }

  /**
   * Cheap, before any cryptography. Calls for one peer must not overlap.
   * @throws CairnError `replayed`; the store's when what was kept of the peer cannot be read
   */
  async check(header: EnvelopeHeader): Promise<void> {
    if (!this.#loaded.has(header.from)) await this.#load(header.from);
    const mark = this.#marks.get(header.from);
    if (mark === undefined || isAbove(header, mark)) return;
    throw new CairnError("replayed", "the envelope is not newer than one that was accepted before", {
      from: header.from,
      epoch: header.epoch,
      seq: header.seq,
    });
  }

  /** Accepts an envelope whose signature was verified; resolves once no restart can accept it again. */
  async accept(header: EnvelopeHeader): Promise<void> {
    await this.check(header);
    const mark = { epoch: header.epoch, seq: header.seq };
    const ceiling = this.#ceilings.get(header.from);
    if (ceiling === undefined || isAbove(mark, ceiling)) {
      const raised = {
        epoch: mark.epoch,
        seq: Math.min(mark.seq + this.#leaseMicros, Number.MAX_SAFE_INTEGER),
      };
      await this.#store.commit([write(header.from, raised)]);
      this.#ceilings.set(header.from, raised);
    }
    this.#marks.set(header.from, mark);
  }

  async #load(peer: NodeIndex): Promise<void> {
    const kept = await this.#store.meta(key(peer));
    if (kept !== null) {
      const mark = decodeCanonical(markSchema, kept);
      this.#marks.set(peer, mark);
      this.#ceilings.set(peer, mark);
    }
    this.#loaded.add(peer);
  }

  /** Keeps the exact marks, so that a clean restart refuses nothing that is new. */
  async close(): Promise<void> {
    if (this.#marks.size === 0) return;
    await this.#store.commit([...this.#marks].map(([peer, mark]) => write(peer, mark)));
  }
}

function isAbove(a: Mark, b: Mark): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.seq > b.seq);
}

function key(peer: NodeIndex): string {
  return `courier/replay/${peer}`;
}

function write(peer: NodeIndex, mark: Mark): StoreWrite {
  return { write: "meta", key: key(peer), value: encodeCanonical(mark) };
}
