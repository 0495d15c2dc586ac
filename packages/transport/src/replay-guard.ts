import {
  CairnError,
  type Clock,
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

/** The last envelope that was accepted, and when (monotonic milliseconds). */
interface Accepted extends Mark {
  readonly at: number;
}

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
 * above it and commits again only when a message passes the ceiling, with the ceilings of all other peers, raised as if they had sent
 * something now: at most one commit in `leaseMs` of traffic, whoever sends. A receiver that stopped without {@link ReplayGuard.close} begins at the ceiling: it refuses what peers send in the rest of that lease, but
 * never accepts anything twice. A clean close writes the exact mark.
 *
 * A sender whose clock was set back while it was down is refused until the clock is again where it was; the largest step that the envelope's
 * clock check lets pass is twice the skew.
 */
export class ReplayGuard {
  readonly #store: ReplayStore;
  readonly #leaseMicros: number;
  readonly #clock: Clock;
  readonly #marks = new Map<NodeIndex, Accepted>();
  readonly #ceilings = new Map<NodeIndex, Mark>();
  readonly #loaded = new Set<NodeIndex>();

  #raising: Promise<void> | null = null;

  constructor(
    options: { readonly leaseMs: number },
    modules: { readonly store: ReplayStore; readonly clock: Clock },
  ) {
    this.#leaseMicros = Math.ceil(options.leaseMs * 1000);
    this.#store = modules.store;
    this.#clock = modules.clock;
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
    const mark = { epoch: header.epoch, seq: header.seq, at: this.#clock.monotonic() };
    while (this.#isBelow(header.from, mark)) {
      if (this.#raising !== null) {
        await this.#raising.catch(() => {});
        continue;
      }
      this.#raising = this.#raise(new Map(this.#marks).set(header.from, mark)).finally(() => {
        this.#raising = null;
      });
      await this.#raising;
    }
    this.#marks.set(header.from, mark);
  }

  /** Whether the peer's ceiling is lower than `mark`. */
  #isBelow(peer: NodeIndex, mark: Mark): boolean {
    const ceiling = this.#ceilings.get(peer);
    return ceiling === undefined || isAbove(mark, ceiling);
  }

  async #raise(marks: ReadonlyMap<NodeIndex, Accepted>): Promise<void> {
    const now = this.#clock.monotonic();
    const raised = [...marks].map(([peer, { epoch, seq, at }]) => {
      const next = seq + Math.round((now - at) * 1000) + this.#leaseMicros;
      return [peer, { epoch, seq: Math.min(next, Number.MAX_SAFE_INTEGER) }] as const;
    });
    const higher = raised.filter(([peer, mark]) => this.#isBelow(peer, mark));
    await this.#store.commit(higher.map(([peer, mark]) => write(peer, mark)));
    for (const [peer, mark] of higher) this.#ceilings.set(peer, mark);
  }

  async #load(peer: NodeIndex): Promise<void> {
    const kept = await this.#store.meta(key(peer));
    if (kept !== null) {
      const mark = decodeCanonical(markSchema, kept);
      this.#marks.set(peer, { ...mark, at: this.#clock.monotonic() });
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

function write(peer: NodeIndex, { epoch, seq }: Mark): StoreWrite {
  return { write: "meta", key: key(peer), value: encodeCanonical({ epoch, seq }) };
}
