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
 */
export interface ReservationBook {
  readonly rows: ReadonlyMap<LineageId, ReservationRow>;
}

export const emptyBook: ReservationBook = { rows: new Map() };

/** The book of stored rows. */
export function bookOf(rows: Iterable<ReservationRow>): ReservationBook {
  return { rows: new Map([...rows].map((row) => [row.lineage, row])) };
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
  /** Store `row` with the vote. `row` is unchanged when the intent was reserved before. */
  | { readonly kind: "reserved"; readonly book: ReservationBook; readonly row: ReservationRow }
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

/** Reserves for an approval, or says what stands in the way. */
export function reserve(book: ReservationBook, claim: Claim): ReserveResult {
  const current = book.rows.get(claim.lineage);
  if (current !== undefined && isPaid(current)) return { kind: "refused", code: "replayed" };
  const earlier = current?.intents ?? [];
  const same = earlier.find((entry) => entry.intent === claim.intent);
  if (same?.dead === true) return { kind: "refused", code: "wrong-state" };
  if (current !== undefined && same !== undefined) return { kind: "reserved", book, row: current };
  const holders = coinHolders(book, claim.outpoints, claim.lineage);
  if (holders.length > 0) return { kind: "conflict", code: "coin-reserved", blocking: holders };
  const disjoint = earlier.filter((entry) => !entry.dead && !shareCoin(entry.outpoints, claim.outpoints));
  if (disjoint.length > 0) {
    return {
      kind: "conflict",
      code: "lineage-open",
      blocking: disjoint.map((entry) => entry.intent).toSorted(),
    };
  }
  const row = extended(current, claim);
  return { kind: "reserved", book: withRow(book, row), row };
}

/**
 * Enters an intent that the others certified without this node: it may be paid whatever this node thinks of it, so its limits
 * and coins count here too. Conflicts do not matter; an intent that is already in the book stays as it is.
 */
export function recordCertified(
  book: ReservationBook,
  claim: Claim,
): { readonly book: ReservationBook; readonly row: ReservationRow | null } {
  const current = book.rows.get(claim.lineage);
  if (current?.intents.some((entry) => entry.intent === claim.intent)) return { book, row: null };
  if (current !== undefined && isPaid(current)) return { book, row: null };
  const row = extended(current, claim);
  return { book: withRow(book, row), row };
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

/** Live intents of other lineages that hold any of these coins, ascending. */
export function coinHolders(
  book: ReservationBook,
  outpoints: readonly Outpoint[],
  lineage: LineageId,
): IntentHash[] {
  const found: IntentHash[] = [];
  for (const row of book.rows.values()) {
    if (row.lineage === lineage || row.freedAt !== null) continue;
    for (const entry of row.intents) {
      if (!entry.dead && shareCoin(entry.outpoints, outpoints)) found.push(entry.intent);
    }
  }
  return found.toSorted();
}

/** Marks an intent dead; the lineage is freed when it was the last that could be paid. Null row: nothing changed. */
export function markDead(
  book: ReservationBook,
  intent: IntentHash,
  at: UnixMs,
): { readonly book: ReservationBook; readonly row: ReservationRow | null } {
  const row = rowOfIntent(book, intent);
  if (row === null || row.freedAt !== null) return { book, row: null };
  const intents = row.intents.map((entry) => (entry.intent === intent ? { ...entry, dead: true } : entry));
  const freedAt = intents.every((entry) => entry.dead) ? at : null;
  const next: ReservationRow = { ...row, intents, freedAt };
  return { book: withRow(book, next), row: next };
}

/** Marks an intent paid for good (six deep): the lineage's others are dead, its coins are gone, its limits count for their window. */
export function settlePaid(
  book: ReservationBook,
  intent: IntentHash,
  at: UnixMs,
): { readonly book: ReservationBook; readonly row: ReservationRow | null } {
  const row = rowOfIntent(book, intent);
  if (row === null || isPaid(row)) return { book, row: null };
  const intents = row.intents.map((entry) => ({ ...entry, dead: entry.intent !== intent }));
  const next: ReservationRow = { ...row, intents, freedAt: at };
  return { book: withRow(book, next), row: next };
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
 * The history that policy evaluates: all that is not freed by death.
 * @param firm whether this node holds a certificate or a signed transaction of an intent
 */
export function historyOf(book: ReservationBook, firm: (intent: IntentHash) => boolean): HistoryEntry[] {
  return [...book.rows.values()]
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

function rowOfIntent(book: ReservationBook, intent: IntentHash): ReservationRow | null {
  for (const row of book.rows.values()) {
    if (row.intents.some((entry) => entry.intent === intent)) return row;
  }
  return null;
}

function withRow(book: ReservationBook, row: ReservationRow): ReservationBook {
  return { rows: new Map(book.rows).set(row.lineage, row) };
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
