import {
  type BanRow,
  type HashHex,
  type Manifest,
  type NodeIndex,
  spendQuorum,
  type UnixMs,
} from "@cairn/core";

const DAY_MS = 24 * 60 * 60 * 1000;

/** Terms of a node's first and second ban, in milliseconds; the third is for good. */
export const BAN_TERMS_MS: readonly number[] = [DAY_MS, 7 * DAY_MS];

/** Every ban there ever was, in order. A ban ends by its time or by the operators. */
export interface BanLedger {
  readonly rows: readonly BanRow[];
}

export const emptyLedger: BanLedger = { rows: [] };

export function ledgerOf(rows: Iterable<BanRow>): BanLedger {
  return { rows: [...rows].toSorted((a, b) => a.from - b.from) };
}

export interface BanOrder {
  readonly node: NodeIndex;
  /** Id of the violation: `offenceOf`, or the node's own record's. */
  readonly violation: HashHex;
  readonly scope: BanRow["scope"];
  readonly at: UnixMs;
}

export type BanResult =
  | { readonly kind: "banned"; readonly ledger: BanLedger; readonly row: BanRow }
  /** This violation has had its ban. */
  | { readonly kind: "known" }
  /** Fewer than a quorum would be left: operators must decide. Alert them. */
  | { readonly kind: "floor"; readonly usable: number; readonly needed: number };

/**
 * Bans a node: 24 h, then 7 days, then for good (architecture §6). A further offence that comes to light during a ban joins it,
 * so that the order in which evidence arrives does not matter. Lifted bans and bans of the other scope do not lengthen a term:
 * what only this node saw never counts against a peer in the cluster.
 */
export function ban(ledger: BanLedger, order: BanOrder, manifest: Manifest): BanResult {
  const ofNode = ledger.rows.filter((row) => row.node === order.node);
  if (ofNode.some((row) => row.violation === order.violation)) return { kind: "known" };
  const ofScope = ofNode.filter((row) => row.scope === order.scope && row.liftedAt === null);
  const standing = ofScope.find((row) => inForce(row, order.at));
  if (standing !== undefined)
    return banned(ledger, { ...standing, violation: order.violation, from: order.at });
  const needed = spendQuorum(manifest);
  const usable = manifest.members.filter(
    (member) => member.index !== order.node && !isBanned(ledger, member.index, order.at),
  ).length;
  if (usable < needed && !isBanned(ledger, order.node, order.at)) return { kind: "floor", usable, needed };
  const count = Math.max(0, ...ofScope.map((row) => row.count)) + 1;
  const term = BAN_TERMS_MS[count - 1];
  const until = term === undefined ? null : ((order.at + term) as UnixMs);
  return banned(ledger, {
    node: order.node,
    violation: order.violation,
    from: order.at,
    until,
    scope: order.scope,
    count,
    liftedAt: null,
  });
}

function banned(ledger: BanLedger, row: BanRow): BanResult {
  return { kind: "banned", ledger: { rows: [...ledger.rows, row] }, row };
}

/** Whether a ban of either scope is in force. */
export function isBanned(ledger: BanLedger, node: NodeIndex, now: UnixMs): boolean {
  return ledger.rows.some((row) => row.node === node && inForce(row, now));
}

/** Bans in force, for lists and for the transport's refusals. */
export function bansInForce(ledger: BanLedger, now: UnixMs): BanRow[] {
  return ledger.rows.filter((row) => inForce(row, now));
}

/** Lifts the bans of `node` for `violations`. The caller has checked the operators' quorum (core's `verifyBanLift`) and waited its delay. */
export function lift(
  ledger: BanLedger,
  order: { readonly node: NodeIndex; readonly violations: readonly HashHex[]; readonly at: UnixMs },
): { readonly ledger: BanLedger; readonly rows: readonly BanRow[] } {
  const rows: BanRow[] = [];
  const next = ledger.rows.map((row) => {
    const meant = row.node === order.node && order.violations.includes(row.violation);
    if (!meant || row.liftedAt !== null) return row;
    const lifted: BanRow = { ...row, liftedAt: order.at };
    rows.push(lifted);
    return lifted;
  });
  return { ledger: { rows: next }, rows };
}

function inForce(row: BanRow, now: UnixMs): boolean {
  return row.liftedAt === null && row.from <= now && (row.until === null || now < row.until);
}
