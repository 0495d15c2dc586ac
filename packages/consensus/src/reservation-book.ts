import {
  type IntentHash,
  type LineageId,
  type Outpoint,
  outpointText,
  type ReservationRow,
  type Sats,
  type UnixMs,
  type WalletId,
} from "@cairn/core";

/**
 * What this node's approvals hold: limits once a lineage, and coins (architecture §5.3). Each row is core's
 * {@link ReservationRow}; `freedAt` is null while any intent of the lineage may still be paid. Once it is set, a lineage whose
 * intents are all dead was freed by death and counts for nothing; one with an intent that is not dead was paid by it.
 *
 * The book need not hold every lineage that ever was: what counts is that it holds all that are not freed, and whatever is
 * stored of a lineage before that lineage is asked about.
 */
export class ReservationBook {
  readonly #rows = new Map<LineageId, ReservationRow>();
  readonly #lineages = new Map<IntentHash, LineageId>();
  /** Lineages whose live intents spend a coin, by the coin's text. */
  readonly #coins = new Map<string, Set<LineageId>>();

  constructor(rows: Iterable<ReservationRow> = []) {
    for (const row of rows) this.set(row);
  }

  get(lineage: LineageId): ReservationRow | undefined {
    return this.#rows.get(lineage);
  }

  /** The row of the lineage that the intent is of. */
  of(intent: IntentHash): ReservationRow | undefined {
    const lineage = this.#lineages.get(intent);
    return lineage === undefined ? undefined : this.#rows.get(lineage);
  }

  rows(): Iterable<ReservationRow> {
    return this.#rows.values();
  }

  /** Takes in a lineage's row in place of the one before. */
  set(row: ReservationRow): void {
    this.delete(row.lineage);
    this.#rows.set(row.lineage, row);
    for (const { intent } of row.intents) this.#lineages.set(intent, row.lineage);
    for (const coin of coinsOf(row)) {
      const holders = this.#coins.get(coin) ?? new Set();
      this.#coins.set(coin, holders.add(row.lineage));
    }
  }

  delete(lineage: LineageId): void {
    const row = this.#rows.get(lineage);
    if (row === undefined) return;
    this.#rows.delete(lineage);
    for (const { intent } of row.intents) this.#lineages.delete(intent);
    for (const coin of coinsOf(row)) {
      const holders = this.#coins.get(coin);
      holders?.delete(lineage);
      if (holders?.size === 0) this.#coins.delete(coin);
    }
  }

  /** Live intents of other lineages that hold any of these coins, ascending. */
  holders(outpoints: readonly Outpoint[], lineage: LineageId): IntentHash[] {
    const lineages = new Set(
      outpoints.flatMap((outpoint) => [...(this.#coins.get(outpointText(outpoint)) ?? [])]),
    );
    lineages.delete(lineage);
    return [...lineages]
      .flatMap((other) => this.#rows.get(other)?.intents ?? [])
      .filter((entry) => !entry.dead && shareCoin(entry.outpoints, outpoints))
      .map((entry) => entry.intent)
      .toSorted();
  }
}

/** What approving an intent asks for. */
export interface Claim {
  readonly lineage: LineageId;
  readonly wallet: WalletId;
  readonly intent: IntentHash;
  readonly outpoints: readonly Outpoint[];
  /** All outputs to recipients plus the request's `maxFeeSats`. */
  readonly amountSats: Sats;
  readonly destinations: readonly { readonly address: string; readonly amountSats: Sats }[];
  readonly at: UnixMs;
}

export type ReserveResult =
  /** Store `row` with the vote and take it into the book. It is the book's own when the intent was reserved before. */
  | { readonly kind: "reserved"; readonly row: ReservationRow }
  /**
   * `coin-reserved`: another lineage's live intents hold a coin. `lineage-open`: earlier intents of this lineage share no coin
   * with this one and may still be paid. Both defer.
   */
  | {
      readonly kind: "conflict";
      readonly code: "coin-reserved" | "lineage-open";
      readonly blocking: readonly IntentHash[];
    }
  /** The lineage has been paid, or the intent is dead: final. */
  | { readonly kind: "refused"; readonly code: "replayed" | "wrong-state" };

/** What reserving for an approval comes to, or what stands in the way. */
export function reserve(book: ReservationBook, claim: Claim): ReserveResult {
  const current = book.get(claim.lineage);
  if (current !== undefined && isPaid(current)) return { kind: "refused", code: "replayed" };
  const earlier = current?.intents ?? [];
  const same = earlier.find((entry) => entry.intent === claim.intent);
  if (same?.dead === true) return { kind: "refused", code: "wrong-state" };
  if (current !== undefined && same !== undefined) return { kind: "reserved", row: current };
  const holders = book.holders(claim.outpoints, claim.lineage);
  if (holders.length > 0) return { kind: "conflict", code: "coin-reserved", blocking: holders };
  const disjoint = earlier.filter((entry) => !entry.dead && !shareCoin(entry.outpoints, claim.outpoints));
  if (disjoint.length > 0) {
    return {
      kind: "conflict",
      code: "lineage-open",
      blocking: disjoint.map((entry) => entry.intent).toSorted(),
    };
  }
  return { kind: "reserved", row: extended(current, claim) };
}

/**
 * The row with an intent that the others certified without this node: it may be paid whatever this node thinks of it, so its
 * limits and coins count here too. Conflicts do not matter. Null where the intent is in the book already, or its lineage is paid.
 */
export function recordCertified(book: ReservationBook, claim: Claim): ReservationRow | null {
  const current = book.get(claim.lineage);
  if (current?.intents.some((entry) => entry.intent === claim.intent)) return null;
  return current !== undefined && isPaid(current) ? null : extended(current, claim);
}

/** The lineage's row with one more live intent. Limits are its maximum; time is the latest, so that no window forgets it early. */
function extended(current: ReservationRow | undefined, claim: Claim): ReservationRow {
  const live = current !== undefined && current.freedAt === null ? current : null;
  return {
    lineage: claim.lineage,
    wallet: claim.wallet,
    amountSats: largest(live?.amountSats, claim.amountSats),
    destinations: mergeDestinations(live?.destinations ?? [], claim.destinations),
    intents: [...(current?.intents ?? []), { intent: claim.intent, outpoints: claim.outpoints, dead: false }],
    reservedAt: live === null || claim.at > live.reservedAt ? claim.at : live.reservedAt,
    freedAt: null,
  };
}

/** The row with an intent dead; the lineage is freed when it was the last that could be paid. Null: nothing changes. */
export function markDead(book: ReservationBook, intent: IntentHash, at: UnixMs): ReservationRow | null {
  const row = book.of(intent);
  if (row === undefined || row.freedAt !== null) return null;
  const intents = row.intents.map((entry) => (entry.intent === intent ? { ...entry, dead: true } : entry));
  return { ...row, intents, freedAt: intents.every((entry) => entry.dead) ? at : null };
}

/**
 * The row with an intent paid for good (six deep): the lineage's others are dead, its coins are gone, its limits count for their
 * window. Null: nothing changes.
 */
export function settlePaid(book: ReservationBook, intent: IntentHash, at: UnixMs): ReservationRow | null {
  const row = book.of(intent);
  if (row === undefined || isPaid(row)) return null;
  const intents = row.intents.map((entry) => ({ ...entry, dead: entry.intent !== intent }));
  return { ...row, intents, freedAt: at };
}

/** Whether the lineage was paid: see {@link ReservationBook}. */
export function isPaid(row: ReservationRow): boolean {
  return row.freedAt !== null && row.intents.some((entry) => !entry.dead);
}

/** One lineage as policy counts it. */
export interface HistoryEntry {
  readonly lineage: LineageId;
  readonly wallet: WalletId;
  readonly reservedAt: UnixMs;
  readonly amountSats: Sats;
  readonly destinations: readonly { readonly address: string; readonly amountSats: Sats }[];
  /** Paid for good; otherwise it may be paid at any time and counts whenever it was reserved. */
  readonly paid: boolean;
  /** Certified, signed or paid: it does not give way to another. */
  readonly firm: boolean;
  /** Its intents that may still be paid, ascending. */
  readonly intents: readonly IntentHash[];
}

/**
 * The history that policy evaluates: all of these lineages that are not freed by death.
 * @param firm whether this node holds a certificate or a signed transaction of an intent
 */
export function historyOf(
  rows: Iterable<ReservationRow>,
  firm: (intent: IntentHash) => boolean,
): HistoryEntry[] {
  return [...rows]
    .filter((row) => row.freedAt === null || isPaid(row))
    .map((row) => {
      const intents = row.intents.filter((entry) => !entry.dead).map((entry) => entry.intent);
      return {
        lineage: row.lineage,
        wallet: row.wallet,
        reservedAt: row.reservedAt,
        amountSats: row.amountSats,
        destinations: row.destinations,
        paid: isPaid(row),
        firm: isPaid(row) || intents.some(firm),
        intents: intents.toSorted(),
      };
    });
}

/** Coins that the lineage's live intents spend, each once. */
function coinsOf(row: ReservationRow): Set<string> {
  if (row.freedAt !== null) return new Set();
  const live = row.intents.filter((entry) => !entry.dead);
  return new Set(live.flatMap((entry) => entry.outpoints.map(outpointText)));
}

function shareCoin(a: readonly Outpoint[], b: readonly Outpoint[]): boolean {
  const texts = new Set(a.map(outpointText));
  return b.some((outpoint) => texts.has(outpointText(outpoint)));
}

function largest(a: Sats | undefined, b: Sats): Sats {
  return a !== undefined && a > b ? a : b;
}

/** The most that any one request of the lineage pays to each address. */
function mergeDestinations(
  before: ReservationRow["destinations"],
  added: Claim["destinations"],
): ReservationRow["destinations"] {
  const merged = new Map(before.map((entry) => [entry.address, entry.amountSats]));
  for (const [address, amount] of sumByAddress(added))
    merged.set(address, largest(merged.get(address), amount));
  return [...merged].map(([address, amountSats]) => ({ address, amountSats }));
}

function sumByAddress(destinations: Claim["destinations"]): Map<string, Sats> {
  const sums = new Map<string, Sats>();
  for (const { address, amountSats } of destinations) {
    sums.set(address, ((sums.get(address) ?? 0n) + amountSats) as Sats);
  }
  return sums;
}
