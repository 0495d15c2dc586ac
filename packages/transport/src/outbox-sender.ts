import type { Clock, NodeIndex, OutboxRow, StoreWrite, Timer } from "@cairn/core";
import type { TransportMetrics } from "./metrics.ts";

/** What delivery needs of the node's store. */
export interface OutboxStore {
  commit(writes: readonly StoreWrite[]): Promise<void>;
  outbox(query: {
    readonly to?: NodeIndex;
    readonly limit: number;
    readonly after?: number;
  }): Promise<readonly OutboxRow[]>;
}

/** A posted message before the store has given it its place. */
export type PostedRow = Omit<OutboxRow, "seq">;

export interface OutboxSenderOptions {
  readonly peer: NodeIndex;
  /** Posted messages without a receipt at one time. */
  readonly window: number;
  /** First wait for a receipt; doubles with each unanswered pass up to `resendMaxMs`. */
  readonly resendAfterMs: number;
  readonly resendMaxMs: number;
}

export interface OutboxSenderModules {
  readonly store: OutboxStore;
  readonly clock: Clock;
  readonly metrics: TransportMetrics;
  readonly send: (row: PostedRow) => void;
  readonly failed: (cause: unknown) => void;
}

/**
 * Delivers the posted messages of one peer in the order of their rows. Up to `window` of them are under way; without a receipt in
 * time, or after a reconnection, it begins again at the first row left (go-back-N), so their order stays. Rows go when
 * their receipts arrive, many in one commit. The store is read only for what this process has not just written itself.
 */
export class OutboxSender {
  readonly #options: OutboxSenderOptions;
  readonly #modules: OutboxSenderModules;
  /** Ids sent since the last beginning, without a receipt. */
  #waiting = new Set<string>();
  /** Ids sent lately, so that late receipts count and invented ones cost no commit. */
  readonly #sent = new Set<string>();
  #after: number | null = null;
  /** All rows of the peer in the store are under way: what is committed from now on is the next in their order. */
  #level = false;
  #passes = 0;
  #up = false;
  #timer: Timer | null = null;
  #pumping: Promise<void> | null = null;
  #again = false;
  #done: string[] = [];
  #committing: Promise<void> | null = null;

  constructor(options: OutboxSenderOptions, modules: OutboxSenderModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** The peer came up: all that is left goes again. */
  up(): void {
    this.#up = true;
    this.#passes = 0;
    this.#restart();
  }

  down(): void {
    this.#up = false;
    this.#level = false;
    this.#disarm();
  }

  /** Rows were added: these to this peer, or some that are read from the store. */
  kick(committed?: readonly PostedRow[]): void {
    if (!this.#up || committed?.length === 0) return;
    if (committed !== undefined && this.#level && this.#pumping === null) {
      const fresh = committed.filter((row) => !this.#waiting.has(row.id));
      if (this.#waiting.size + fresh.length <= this.#options.window) {
        for (const row of fresh) this.#dispatch(row);
        return this.#arm();
      }
    }
    this.#level = false;
    if (this.#pumping !== null) {
      this.#again = true;
      return;
    }
    this.#pumping = this.#pump()
      .catch((cause) => {
        // Rows stay where they are; the timer tries again.
        this.#modules.failed(cause);
        this.#arm();
      })
      .finally(() => {
        this.#pumping = null;
        if (this.#again) {
          this.#again = false;
          this.kick();
        }
      });
  }

  /** The peer says that it holds these. */
  receipt(ids: readonly string[]): void {
    const known = ids.filter((id) => this.#sent.has(id));
    if (known.length === 0) return;
    for (const id of known) {
      this.#waiting.delete(id);
      this.#sent.delete(id);
    }
    this.#done.push(...known);
    this.#passes = 0;
    this.#disarm();
    if (this.#waiting.size > 0) this.#arm();
    this.#committing ??= this.#commitDone().finally(() => {
      this.#committing = null;
    });
  }

  /** Stops, and resolves when what was under way has ended. */
  async close(): Promise<void> {
    this.down();
    await this.#pumping;
    await this.#committing;
  }

  async #commitDone(): Promise<void> {
    // Receipts of the same turn share the commit.
    await Promise.resolve();
    while (this.#done.length > 0) {
      const ids = this.#done;
      this.#done = [];
      try {
        await this.#modules.store.commit(
          ids.map((id) => ({ write: "outbox-done", to: this.#options.peer, id })),
        );
      } catch (cause) {
        // The rows are still there, so their messages go again and earn new receipts.
        this.#modules.failed(cause);
      }
    }
    if (!this.#level) this.kick();
  }

  async #pump(): Promise<void> {
    while (this.#up) {
      const room = this.#options.window - this.#waiting.size;
      if (room <= 0) break;
      const after = this.#after;
      const rows = await this.#modules.store.outbox({
        to: this.#options.peer,
        limit: room,
        ...(after === null ? {} : { after }),
      });
      // A new beginning meanwhile reads for itself.
      if (!this.#up || this.#after !== after) continue;
      for (const row of rows) {
        this.#after = row.seq;
        if (!this.#waiting.has(row.id)) this.#dispatch(row);
      }
      this.#level = rows.length < room;
      if (this.#level) break;
    }
    if (this.#up && this.#waiting.size > 0) this.#arm();
  }

  #dispatch(row: PostedRow): void {
    this.#waiting.add(row.id);
    this.#remember(row.id);
    this.#modules.send(row);
  }

  #remember(id: string): void {
    this.#sent.add(id);
    if (this.#sent.size <= 4 * this.#options.window) return;
    const [oldest] = this.#sent;
    if (oldest !== undefined) this.#sent.delete(oldest);
  }

  #restart(): void {
    this.#disarm();
    this.#waiting = new Set();
    this.#after = null;
    this.#level = false;
    this.kick();
  }

  #arm(): void {
    if (this.#timer !== null || !this.#up) return;
    const { resendAfterMs, resendMaxMs } = this.#options;
    const wait = Math.min(resendMaxMs, resendAfterMs * 2 ** Math.min(this.#passes, 16));
    this.#timer = this.#modules.clock.after(wait, () => {
      this.#timer = null;
      this.#passes++;
      if (this.#waiting.size > 0) this.#modules.metrics.messagesResent.inc({}, this.#waiting.size);
      this.#restart();
    });
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}
