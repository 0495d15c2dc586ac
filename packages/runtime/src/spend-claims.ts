import {
  type Claim,
  type HistoryEntry,
  historyOf,
  isPaid,
  markDead,
  ReservationBook,
  type ReserveResult,
  recordCertified,
  reserve,
  settlePaid,
} from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  type IntentHash,
  type LineageId,
  type NodeStore,
  outpointText,
  type ReservationRow,
  type Sats,
  type TransactionRow,
  type UnixMs,
  type WalletId,
} from "@cairn/core";
import { type PaidHistory, PaidWindow } from "@cairn/policy";
import type { LiveSpend, LiveSpends } from "./live-spends.ts";
import type { Batch } from "./loop.ts";

export interface SpendClaimsModules {
  readonly store: Pick<NodeStore, "reservation" | "openReservations" | "endedReservations">;
  readonly live: LiveSpends;
  readonly clock: Clock;
}

/** Rows that are read at once. */
const PAGE = 1_000;

/**
 * Limits and coins that this node holds for spends: each lineage's claim, made durable with the vote or Ack that implies it.
 *
 * Memory holds the lineages that may still be paid, and of those that were paid the sums that policy looks back on. A lineage that
 * ended stays in the store, and is taken into memory again while a further intent of it is here.
 */
export class SpendClaims {
  readonly #store: SpendClaimsModules["store"];
  readonly #live: LiveSpends;
  readonly #clock: Clock;
  readonly #book = new ReservationBook();
  /** Lineages of the book that had been paid when they were read: `#paid` counts them where they count, and they never change. */
  readonly #recalled = new Set<LineageId>();
  /** Lineages that must stay in memory until whoever asked for them is done, and by how many. */
  readonly #awaited = new Map<LineageId, number>();
  #paid = new PaidWindow();
  /** How far back `#paid` reaches, in milliseconds. */
  #windowMs = 0;
  #covering: Promise<void> = Promise.resolve();
  /** Lineages that came to be counted while the store is read, or null. */
  #meanwhile: Map<LineageId, ReservationRow> | null = null;

  constructor(modules: SpendClaimsModules) {
    this.#store = modules.store;
    this.#live = modules.live;
    this.#clock = modules.clock;
  }

  /** Takes in what is stored and may still be paid. */
  async restore(): Promise<void> {
    for (const row of await this.#store.openReservations()) this.#book.set(row);
  }

  /** Resolves once all that was paid in the last `windowMs` milliseconds counts. @throws CairnError of the store */
  async cover(windowMs: number): Promise<void> {
    if (this.covers(windowMs)) return;
    const covered = this.#covering.then(() => this.#cover(windowMs));
    this.#covering = covered.catch(() => {});
    await covered;
  }

  /** Whether {@link SpendClaims.paid} reaches back so far. */
  covers(windowMs: number): boolean {
    return windowMs <= this.#windowMs;
  }

  /** Runs `work` with what is stored of a lineage in memory, where it stays as long as a spend of the lineage lives here. */
  async knowing<T>(lineage: LineageId, work: () => Promise<T>): Promise<T> {
    this.#awaited.set(lineage, (this.#awaited.get(lineage) ?? 0) + 1);
    try {
      await this.#recall(lineage);
      return await work();
    } finally {
      const others = (this.#awaited.get(lineage) ?? 1) - 1;
      if (others === 0) this.#awaited.delete(lineage);
      else this.#awaited.set(lineage, others);
      this.#forget(lineage);
    }
  }

  /** Intents that something is still held for. */
  heldFor(): readonly IntentHash[] {
    return [...this.#book.rows()].flatMap(({ freedAt, intents }) =>
      freedAt === null ? intents.filter(({ dead }) => !dead).map(({ intent }) => intent) : [],
    );
  }

  /** Coins that lineages other than `lineage` hold. */
  coinsBeside(lineage: LineageId): ReadonlySet<string> {
    const taken = new Set<string>();
    for (const row of this.#book.rows()) {
      if (row.freedAt !== null || row.lineage === lineage) continue;
      for (const entry of row.intents) {
        if (!entry.dead) for (const outpoint of entry.outpoints) taken.add(outpointText(outpoint));
      }
    }
    return taken;
  }

  /** Sum that this node's approvals hold of a wallet for spends that the chain has not seen yet, in satoshi. */
  reservedSats(wallet: WalletId): bigint {
    let sum = 0n;
    for (const row of this.#book.rows()) {
      const seen = row.intents.some(({ intent }) => this.#live.get(intent)?.row.signedTx != null);
      if (row.wallet === wallet && row.freedAt === null && !seen) sum += row.amountSats;
    }
    return sum;
  }

  /** Whether the lineage was paid for good, as far as memory tells: see {@link SpendClaims.knowing}. */
  isPaid(lineage: LineageId): boolean {
    const row = this.#book.get(lineage);
    return row !== undefined && isPaid(row);
  }

  /** What counts against the limits of policy, beside {@link SpendClaims.paid}. */
  history(): readonly HistoryEntry[] {
    const rows = [...this.#book.rows()].filter(({ lineage }) => !this.#recalled.has(lineage));
    return historyOf(rows, (intent) => this.isFirm(intent));
  }

  /** What settled lineages paid, as far back as {@link SpendClaims.cover} was asked for. */
  get paid(): PaidHistory {
    return this.#paid;
  }

  /** Whether an intent never gives way: certified here, or signed. */
  isFirm(intent: IntentHash): boolean {
    const row = this.#live.get(intent)?.row;
    return row === undefined || row.certificate !== null || row.signedTx !== null;
  }

  /** What holding limits and coins for a spend would come to now. Changes nothing. */
  weigh(hash: IntentHash): ReserveResult {
    return reserve(this.#book, this.#claim(this.#live.of(hash)));
  }

  /** Whether limits and coins are held for a spend since its vote or Ack, whatever has been restarted in between. */
  holds({ lineage, intent: hash }: Pick<TransactionRow, "lineage" | "intent">): boolean {
    const held = this.#book.get(lineage);
    return held?.freedAt === null && held.intents.some(({ intent, dead }) => intent === hash && !dead);
  }

  /** Holds limits and coins for a spend, in the batch of the vote or Ack that implies it. @throws CairnError `coin-reserved` */
  hold(batch: Batch, hash: IntentHash): void {
    const claimed = this.weigh(hash);
    if (claimed.kind !== "reserved") {
      throw new CairnError("coin-reserved", "another spend holds its coins", { intent: hash });
    }
    this.#take(batch, claimed.row);
    this.#live.set(batch, hash, { reserved: true });
  }

  /** A certified spend may be paid whatever this node thinks of it, so its coins and limits count here too. */
  count(batch: Batch, hash: IntentHash): void {
    this.#take(batch, recordCertified(this.#book, this.#claim(this.#live.of(hash))));
  }

  /** The spend is dead: what was held for it comes free. */
  free(batch: Batch, hash: IntentHash): void {
    this.#end(batch, hash, markDead(this.#book, hash, this.#clock.now()));
  }

  /** The spend is paid for good: its coins are gone, its limits stay counted for their window. */
  settle(batch: Batch, hash: IntentHash): void {
    this.#end(batch, hash, settlePaid(this.#book, hash, this.#clock.now()));
  }

  #end(batch: Batch, hash: IntentHash, row: ReservationRow | null): void {
    const { lineage } = this.#live.of(hash).row;
    this.#take(batch, row);
    // Not before the end is durable: what is no longer in memory is asked of the store.
    batch.afterwards(() => this.#forget(lineage));
  }

  #take(batch: Batch, row: ReservationRow | null): void {
    if (row === null) return;
    const { lineage } = row;
    const before = this.#book.get(lineage);
    if (before === row) return;
    this.#book.set(row);
    batch.undo(() => {
      if (before === undefined) this.#book.delete(lineage);
      else this.#book.set(before);
    });
    batch.write({ write: "reservation", row });
  }

  async #recall(lineage: LineageId): Promise<void> {
    if (this.#book.get(lineage) !== undefined) return;
    const row = await this.#store.reservation(lineage);
    // Whoever asked for the same lineage may have been faster; since then it is in memory, and may have changed there.
    if (row === null || this.#book.get(lineage) !== undefined) return;
    this.#book.set(row);
    if (isPaid(row)) this.#recalled.add(lineage);
  }

  /** A lineage that ended leaves memory, once nobody asks for it. */
  #forget(lineage: LineageId): void {
    const row = this.#book.get(lineage);
    if (row === undefined || row.freedAt === null) return;
    if (this.#awaited.has(lineage) || this.#live.ofLineage(lineage).length > 0) return;
    this.#book.delete(lineage);
    if (this.#recalled.delete(lineage) || !isPaid(row)) return;
    this.#paid.add(row, this.#clock.now(), this.#windowMs);
    this.#meanwhile?.set(lineage, row);
  }

  async #cover(windowMs: number): Promise<void> {
    if (windowMs <= this.#windowMs) return;
    const paid = new PaidWindow();
    const meanwhile = new Map<LineageId, ReservationRow>();
    this.#meanwhile = meanwhile;
    try {
      const since = (this.#clock.now() - windowMs) as UnixMs;
      let last: ReservationRow | undefined;
      do {
        const rows = await this.#store.endedReservations({
          since,
          limit: PAGE,
          ...(last && { after: last }),
        });
        for (const row of rows) {
          const here = this.#book.get(row.lineage) !== undefined && !this.#recalled.has(row.lineage);
          if (isPaid(row) && !here && !meanwhile.has(row.lineage)) paid.add(row, this.#clock.now(), windowMs);
        }
        last = rows.length < PAGE ? undefined : rows.at(-1);
      } while (last !== undefined);
      for (const row of meanwhile.values()) paid.add(row, this.#clock.now(), windowMs);
      this.#paid = paid;
      this.#windowMs = windowMs;
    } finally {
      this.#meanwhile = null;
    }
  }

  #claim(live: LiveSpend): Claim {
    const request = live.intent.request.body;
    return {
      lineage: live.row.lineage,
      wallet: live.row.wallet,
      intent: live.row.intent,
      outpoints: live.row.outpoints,
      amountSats: (live.row.amountSats + request.maxFeeSats) as Sats,
      destinations: request.outputs,
      // Nobody reserved later than that: what a node hears of only afterwards does not count for longer.
      at: Math.min(this.#clock.now(), live.row.expiry) as UnixMs,
    };
  }
}
