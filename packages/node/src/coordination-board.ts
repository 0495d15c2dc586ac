import {
  type BanRow,
  type Clock,
  type IntentHash,
  isCairnError,
  type Manifest,
  type NodeIndex,
  type NodeStore,
  type Timer,
  transactionStates,
  type UnixMs,
} from "@cairn/core";
import type { NodeEvent } from "@cairn/runtime";
import type { Coordination } from "@cairn/storage";

/** A node that fell silent is gone from `/peers` after three of these. */
const HEARTBEAT_MS = 10_000;
/** For how long transactions and votes are shown after their last change. */
const KEEP_MS = 7 * 24 * 60 * 60 * 1_000;
const RETRY_MS = 1_000;
/** Most keys that wait to be written while the store can't be reached; the oldest give way. */
const MAX_WAITING = 1_000;
const MAX_SWAPS = 5;

export interface CoordinationBoardModules {
  readonly coordination: Coordination;
  readonly store: Pick<NodeStore, "votes" | "bans">;
  readonly clock: Clock;
  readonly report: (cause: unknown) => void;
}

/**
 * Shows operators and other programs what this node knows: `/config`, `/peers`, `/tx`, `/votes` and `/bans`. It only ever writes, never
 * waits and never decides: with the store gone, nothing is missing but the view. Of several nodes' words on one transaction the furthest
 * stands.
 */
export class CoordinationBoard {
  readonly #me: NodeIndex;
  readonly #manifest: () => Manifest;
  readonly #modules: CoordinationBoardModules;
  /** What is to be written, the last word for each key. */
  readonly #waiting = new Map<string, () => Promise<void>>();
  #writing: Promise<void> | null = null;
  /** Since when the store can't be written to; null while it can. */
  #failingSince: UnixMs | null = null;
  #closed = false;
  #heartbeat: Timer | null = null;
  #retry: { readonly timer: Timer; readonly resume: () => void } | null = null;

  constructor(
    { me, manifest }: { readonly me: NodeIndex /** In force now. */; readonly manifest: () => Manifest },
    modules: CoordinationBoardModules,
  ) {
    this.#me = me;
    this.#manifest = manifest;
    this.#modules = modules;
  }

  async start(): Promise<void> {
    for (const row of await this.#modules.store.bans()) this.#postBan(row);
    this.#beat();
  }

  /** Since when the store can't be written to; null while it can. */
  get failingSince(): UnixMs | null {
    return this.#failingSince;
  }

  readonly onEvent = ({ type, subject, state, data }: NodeEvent): void => {
    if (type === "transaction") {
      const { intent } = data;
      this.#write(`/tx/${subject}/state`, () => this.#advance(`/tx/${subject}/state`, state, stateRank));
      if (typeof intent === "string") {
        this.#write(`/votes/${subject}`, () => this.#showVotes(subject, intent as IntentHash));
      }
    } else if (type === "ban") {
      this.#write(`/bans/${subject}`, async () => {
        for (const row of await this.#modules.store.bans()) {
          if (String(row.node) === subject) this.#postBan(row);
        }
      });
    } else if (type === "change" && state === "in-force") {
      this.#postConfig();
    }
  };

  /** Writes nothing more; what waits is let go. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#heartbeat?.cancel();
    this.#waiting.clear();
    this.#retry?.timer.cancel();
    this.#retry?.resume();
    await this.#modules.coordination.close();
    await this.#writing;
  }

  /** Puts right what others may have written there. */
  #postConfig(): void {
    const { threshold, members, network } = this.#manifest();
    const { coordination } = this.#modules;
    const facts = {
      threshold: String(threshold),
      total_nodes: String(members.length),
      bitcoin_network: network,
    };
    for (const [name, value] of Object.entries(facts)) {
      const key = `/config/${name}`;
      this.#write(key, async () => {
        if ((await coordination.get(key))?.value !== value) await coordination.put(key, value);
      });
    }
  }

  #beat(): void {
    if (this.#closed) return;
    this.#postConfig();
    const seen = new Date(this.#modules.clock.now()).toISOString();
    const value = JSON.stringify({ last_seen: seen, status: "up" });
    this.#post(`/peers/${this.#me}`, value, 3 * HEARTBEAT_MS);
    this.#heartbeat = this.#modules.clock.after(HEARTBEAT_MS, () => this.#beat());
  }

  #postBan({ node, until, scope, from, liftedAt }: BanRow): void {
    const { clock, coordination } = this.#modules;
    const left = until === null ? null : until - clock.now();
    const key = `/bans/${node}`;
    if (liftedAt !== null || (left !== null && left <= 0)) {
      if (liftedAt !== null) this.#write(key, () => coordination.remove(key));
      return;
    }
    this.#post(key, JSON.stringify({ from, until, scope, by: this.#me }), left ?? undefined);
  }

  /** This node's own vote, signed, and how many of each it has seen. */
  async #showVotes(txid: string, intent: IntentHash): Promise<void> {
    const votes = await this.#modules.store.votes(intent);
    const own = votes.findLast(({ voter }) => voter === this.#me);
    if (own !== undefined) {
      const { approve, reason, round, signature, receivedAt } = own;
      const value = approve ? "approve" : `reject: ${reason}`;
      const shown = JSON.stringify({ value, round, timestamp: receivedAt, signature });
      await this.#modules.coordination.put(`/votes/${txid}/${this.#me}`, shown, { ttlMs: KEEP_MS });
    }
    const round = votes.reduce((highest, vote) => Math.max(highest, vote.round), 0);
    const count = (approve: boolean) =>
      votes.filter((vote) => vote.round === round && vote.approve === approve).length;
    await this.#advance(`/tx/${txid}/votes/approve`, String(count(true)), Number);
    await this.#advance(`/tx/${txid}/votes/reject`, String(count(false)), Number);
  }

  /** Writes unless what stands there is as far or further. */
  async #advance(key: string, value: string, rank: (value: string) => number): Promise<void> {
    for (let swap = 0; swap < MAX_SWAPS; swap += 1) {
      const entry = await this.#modules.coordination.get(key);
      // What no node of this cluster wrote ranks as -1 or NaN, and gives way.
      if (entry !== null && rank(entry.value) >= rank(value)) return;
      const options = { ttlMs: KEEP_MS };
      if (await this.#modules.coordination.compareAndSwap(key, entry?.revision ?? 0, value, options)) return;
    }
  }

  #post(key: string, value: string, ttlMs?: number): void {
    const options = ttlMs === undefined ? {} : { ttlMs };
    this.#write(key, () => this.#modules.coordination.put(key, value, options));
  }

  #write(key: string, write: () => Promise<void>): void {
    if (this.#closed) return;
    this.#waiting.delete(key);
    this.#waiting.set(key, write);
    const [oldest] = this.#waiting.keys();
    if (this.#waiting.size > MAX_WAITING && oldest !== undefined) this.#waiting.delete(oldest);
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = null;
    });
  }

  async #writeAll(): Promise<void> {
    for (let next = this.#next(); next !== null; next = this.#next()) {
      const [key, write] = next;
      try {
        await write();
        this.#failingSince = null;
        // Unless something newer for the key came meanwhile.
        if (this.#waiting.get(key) === write) this.#waiting.delete(key);
      } catch (cause) {
        if (this.#closed) return;
        if (this.#failingSince === null || !isCairnError(cause)) this.#modules.report(cause);
        this.#failingSince ??= this.#modules.clock.now();
        await new Promise<void>((resume) => {
          this.#retry = { timer: this.#modules.clock.after(RETRY_MS, resume), resume };
        });
        this.#retry = null;
      }
    }
  }

  #next(): readonly [string, () => Promise<void>] | null {
    const [next] = this.#waiting;
    return next ?? null;
  }
}

/** What a node gave up may still be paid by the others. */
function stateRank(state: string): number {
  return state === "confirmed" ? Infinity : (transactionStates as readonly string[]).indexOf(state);
}
