import {
  bookOf,
  type Claim,
  type HistoryEntry,
  historyOf,
  markDead,
  type ReservationBook,
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
  outpointText,
  type ReservationRow,
  type Sats,
  type WalletId,
} from "@cairn/core";
import type { LiveSpend, LiveSpends } from "./live-spends.ts";
import type { Batch, Cell } from "./loop.ts";

/** Limits and coins that this node holds for spends: each lineage's claim, made durable with the vote or Ack that implies it. */
export class SpendClaims {
  readonly #live: LiveSpends;
  readonly #clock: Clock;
  readonly #book: Cell<ReservationBook> = { value: bookOf([]) };

  constructor(modules: { readonly live: LiveSpends; readonly clock: Clock }) {
    this.#live = modules.live;
    this.#clock = modules.clock;
  }

  restore(rows: readonly ReservationRow[]): void {
    this.#book.value = bookOf(rows);
  }

  /** Intents that something is still held for. */
  heldFor(): readonly IntentHash[] {
    return [...this.#book.value.rows.values()].flatMap(({ freedAt, intents }) =>
      freedAt === null ? intents.filter(({ dead }) => !dead).map(({ intent }) => intent) : [],
    );
  }

  /** Coins that lineages other than `lineage` hold. */
  coinsBeside(lineage: LineageId): ReadonlySet<string> {
    const taken = new Set<string>();
    for (const row of this.#book.value.rows.values()) {
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
    for (const row of this.#book.value.rows.values()) {
      const seen = row.intents.some(({ intent }) => this.#live.get(intent)?.row.signedTx != null);
      if (row.wallet === wallet && row.freedAt === null && !seen) sum += row.amountSats;
    }
    return sum;
  }

  /** What counts against the limits of policy. */
  history(): readonly HistoryEntry[] {
    return historyOf(this.#book.value, (intent) => this.isFirm(intent));
  }

  /** Whether an intent never gives way: certified here, or signed. */
  isFirm(intent: IntentHash): boolean {
    const row = this.#live.get(intent)?.row;
    return row === undefined || row.certificate !== null || row.signedTx !== null;
  }

  /** What holding limits and coins for a spend would come to now. Changes nothing. */
  weigh(hash: IntentHash): ReserveResult {
    return reserve(this.#book.value, this.#claim(this.#live.of(hash)));
  }

  /** Holds limits and coins for a spend, in the batch of the vote or Ack that implies it. @throws CairnError `coin-reserved` */
  hold(batch: Batch, hash: IntentHash): void {
    const claimed = this.weigh(hash);
    if (claimed.kind !== "reserved") {
      throw new CairnError("coin-reserved", "another spend holds its coins", { intent: hash });
    }
    this.#take(batch, claimed);
    this.#live.set(batch, hash, { reserved: true });
  }

  /** A certified spend may be paid whatever this node thinks of it, so its coins and limits count here too. */
  count(batch: Batch, hash: IntentHash): void {
    this.#take(batch, recordCertified(this.#book.value, this.#claim(this.#live.of(hash))));
  }

  /** The spend is dead: what was held for it comes free. */
  free(batch: Batch, hash: IntentHash): void {
    this.#take(batch, markDead(this.#book.value, hash, this.#clock.now()));
  }

  /** The spend is paid for good: its coins are gone, its limits stay counted for their window. */
  settle(batch: Batch, hash: IntentHash): void {
    this.#take(batch, settlePaid(this.#book.value, hash, this.#clock.now()));
  }

  #take(batch: Batch, to: { readonly book: ReservationBook; readonly row: ReservationRow | null }): void {
    batch.assign(this.#book, to.book);
    if (to.row !== null) batch.write({ write: "reservation", row: to.row });
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
      at: this.#clock.now(),
    };
  }
}
