import { CairnError, type Outpoint, outpointText, type Txid } from "@cairn/core";
import type { Coin, CoinView } from "./coins.ts";
import { bitcoins, checkInputs, checkScripts, checkTransaction } from "./consensus-rules.ts";
import { isFinal, type LockContext, relativeLocksPassed } from "./finality.ts";
import { rejection, rpcErrors } from "./rejection.ts";
import { checkNothingBurnt, checkStandard, checkStandardInputs } from "./standardness.ts";
import type { Transaction } from "./transaction.ts";

const minRelaySatsPerKvb = 1000n;
const incrementalRelaySatsPerKvb = 1000n;
const maxFeeSatsPerKvb = 10_000_000n;
const packageLimit = 25;
const packageVsizeLimit = 101_000;
const maxReplacedTransactions = 100;
const signalsReplacement = 0xfffffffd;
const trucVersion = 3;
const trucMaxVsize = 10_000;
const trucChildMaxVsize = 1_000;

/** A transaction in the mempool. */
export interface MempoolEntry {
  readonly transaction: Transaction;
  readonly feeSats: bigint;
  /** The coins that its inputs spend, in order. */
  readonly coins: readonly Coin[];
}

/** What the mempool must know of the chain that it sits on. */
export interface MempoolChain {
  /** Outputs that are unspent as of the tip. */
  readonly coins: CoinView & { holdsOutputOf(txid: Txid, outputs: number): boolean };
  /** Locks as the next block will measure them. */
  lockContext(): LockContext;
}

/** Choices of a {@link Mempool}. */
export interface MempoolOptions {
  /** Whether a transaction can be replaced without having signalled it (BIP-125), as Bitcoin Core does since 28. */
  readonly fullRbf: boolean;
}

/** Where an input that spends an output is. */
export interface Spender {
  readonly txid: Txid;
  readonly vin: number;
}

/**
 * Transactions that wait for a block, admitted by Bitcoin Core's default relay policy: standardness, minimum fee,
 * replacement (BIP-125 rules 1–5), TRUC (BIP-431), package limits, and every consensus rule for the next block.
 */
export class Mempool implements CoinView {
  readonly #options: MempoolOptions;
  readonly #chain: MempoolChain;
  /** In order of arrival, which puts parents before their children. */
  readonly #entries = new Map<Txid, MempoolEntry>();
  readonly #spenders = new Map<string, Spender>();
  /** Transactions whose scripts held; their inputs commit to what they spend, so this never grows stale. */
  readonly #checkedScripts = new Set<string>();

  constructor(options: MempoolOptions, chain: MempoolChain) {
    this.#options = options;
    this.#chain = chain;
  }

  /** Entries in order of arrival. */
  entries(): MempoolEntry[] {
    return [...this.#entries.values()];
  }

  entry(txid: Txid): MempoolEntry | undefined {
    return this.#entries.get(txid);
  }

  /** The input of a waiting transaction that spends `outpoint`. */
  spender(outpoint: Outpoint): Spender | undefined {
    return this.#spenders.get(outpointText(outpoint));
  }

  /** The coin at `outpoint` as of the tip and the waiting transactions, whether or not one of these spends it. */
  get(outpoint: Outpoint): Coin | undefined {
    const output = this.#entries.get(outpoint.txid)?.transaction.outputs[outpoint.vout];
    if (output !== undefined) return { ...output, height: undefined, isCoinbase: false };
    return this.#chain.coins.get(outpoint);
  }

  /**
   * Admits a transaction that somebody broadcasts. One that is already here is admitted again without effect.
   * @throws CairnError `chain-rejected` in Bitcoin Core's words
   */
  submit(transaction: Transaction): MempoolEntry {
    checkNothingBurnt(transaction);
    const known = this.#entries.get(transaction.txid);
    if (known?.transaction.wtxid === transaction.wtxid) return known;
    if (this.#chain.coins.holdsOutputOf(transaction.txid, transaction.outputs.length)) {
      throw rejection("Transaction outputs already in utxo set", undefined, rpcErrors.alreadyInChain);
    }
    return this.#accept(transaction, "relay");
  }

  /** Takes out what `transactions`, just confirmed, made obsolete: themselves and whatever conflicts with them. */
  confirm(transactions: readonly Transaction[]): void {
    for (const transaction of transactions) {
      this.#drop(transaction.txid);
      for (const { outpoint } of transaction.inputs) {
        const spender = this.spender(outpoint);
        if (spender !== undefined) for (const txid of this.#withDescendants([spender.txid])) this.#drop(txid);
      }
    }
  }

  /**
   * After a reorganisation: offers the transactions of the blocks that were taken back, then everything that waited,
   * to the new chain.
   * @returns the transactions that the new chain refuses, with the reason
   */
  rebuild(disconnected: readonly Transaction[]): { txid: Txid; reason: string }[] {
    const waiting = this.entries().map((entry) => entry.transaction);
    for (const { txid } of waiting) this.#drop(txid);
    const refused: { txid: Txid; reason: string }[] = [];
    for (const transaction of [...disconnected, ...waiting]) {
      if (this.#chain.coins.holdsOutputOf(transaction.txid, transaction.outputs.length)) continue;
      try {
        this.#accept(transaction, "reorg");
      } catch (error) {
        if (!(error instanceof CairnError)) throw error;
        refused.push({ txid: transaction.txid, reason: error.message });
      }
    }
    return refused;
  }

  /** The transactions for the next block, parents first, best fee rate of a transaction with its ancestors first. */
  select(maxWeight: number): MempoolEntry[] {
    const chosen = new Set<Txid>();
    let room = maxWeight;
    const left = new Set(this.#entries.keys());
    if (this.entries().reduce((sum, entry) => sum + entry.transaction.weight, 0) <= room)
      return this.entries();
    while (left.size > 0) {
      let best: { txids: Txid[]; rate: number; weight: number } | undefined;
      for (const txid of left) {
        const txids = [...this.#withAncestors([txid])].filter((id) => !chosen.has(id));
        const { feeSats, weight } = this.#total(txids);
        const rate = Number(feeSats) / weight;
        if (best === undefined || rate > best.rate) best = { txids, rate, weight };
      }
      if (best === undefined) break;
      const fits = best.weight <= room;
      for (const txid of best.txids) {
        if (fits) chosen.add(txid);
        left.delete(txid);
      }
      if (fits) room -= best.weight;
      else for (const txid of this.#withDescendants(best.txids)) left.delete(txid);
    }
    return this.entries().filter((entry) => chosen.has(entry.transaction.txid));
  }

  #accept(transaction: Transaction, origin: "relay" | "reorg"): MempoolEntry {
    const { txid } = transaction;
    checkTransaction(transaction);
    if (transaction.isCoinbase) throw rejection("coinbase");
    checkStandard(transaction);
    const context = this.#chain.lockContext();
    if (!isFinal(transaction, context)) throw rejection("non-final");
    if (this.#entries.has(txid)) throw rejection("txn-same-nonwitness-data-in-mempool");

    const conflicts = this.#conflicts(transaction);
    if (!this.#replaceable(conflicts)) {
      throw rejection("txn-mempool-conflict");
    }
    const { coins, feeSats } = checkInputs(transaction, this, context.height);
    if (!relativeLocksPassed(transaction, coins, context)) throw rejection("non-BIP68-final");
    checkStandardInputs(transaction, coins);
    if (origin === "relay") this.#checkMinimumFee(transaction, feeSats);

    const parents = this.#parents(transaction);
    const ancestors = this.#withAncestors(parents);
    const replaced = this.#withDescendants(conflicts);
    this.#checkPackageLimits(transaction, ancestors, replaced);
    this.#checkTruc(transaction, parents, replaced);
    if ([...ancestors].some((ancestor) => conflicts.has(ancestor))) {
      throw rejection("bad-txns-spends-conflicting-tx", `${txid} spends conflicting transaction`);
    }
    if (conflicts.size > 0) this.#checkReplacement(transaction, feeSats, conflicts, replaced);
    this.#checkScripts(transaction, coins);
    if (origin === "relay") this.#checkMaximumFee(transaction, feeSats);

    for (const old of replaced) this.#drop(old);
    const entry: MempoolEntry = { transaction, feeSats, coins };
    this.#entries.set(txid, entry);
    transaction.inputs.forEach(({ outpoint }, vin) => {
      this.#spenders.set(outpointText(outpoint), { txid, vin });
    });
    return entry;
  }

  #checkMinimumFee(transaction: Transaction, feeSats: bigint): void {
    const needed = feeAt(minRelaySatsPerKvb, transaction.vsize);
    if (feeSats < needed) throw rejection("min relay fee not met", `${feeSats} < ${needed}`);
  }

  #checkMaximumFee(transaction: Transaction, feeSats: bigint): void {
    if (feeSats <= feeAt(maxFeeSatsPerKvb, transaction.vsize)) return;
    throw rejection(
      "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)",
      undefined,
      rpcErrors.transaction,
    );
  }

  /** BIP-125 as Bitcoin Core enforces it; rule 1 (signalling) is checked before, in {@link Mempool.#replaceable}. */
  #checkReplacement(
    transaction: Transaction,
    feeSats: bigint,
    conflicts: ReadonlySet<Txid>,
    replaced: ReadonlySet<Txid>,
  ): void {
    const { txid, vsize } = transaction;
    const refuse = (reason: string, detail: string) =>
      rejection(reason, `rejecting replacement ${txid}${detail}`);
    if (replaced.size > maxReplacedTransactions) {
      const count = `(${replaced.size} > ${maxReplacedTransactions})`;
      throw refuse("too many potential replacements", `; too many potential replacements ${count}`);
    }
    const oldParents = new Set<Txid>();
    for (const conflict of conflicts) {
      const old = this.#entry(conflict);
      for (const parent of this.#parents(old.transaction)) oldParents.add(parent);
      if (feeSats * BigInt(old.transaction.vsize) <= old.feeSats * BigInt(vsize)) {
        const rates = `${feeRate(feeSats, vsize)} <= old feerate ${feeRate(old.feeSats, old.transaction.vsize)}`;
        throw refuse("insufficient fee", `; new feerate ${rates}`);
      }
    }
    for (const parent of this.#parents(transaction)) {
      if (!oldParents.has(parent)) {
        throw rejection("replacement-adds-unconfirmed", `replacement ${txid} adds unconfirmed input`);
      }
    }
    const { feeSats: oldFees } = this.#total([...replaced]);
    if (feeSats < oldFees) {
      throw refuse(
        "insufficient fee",
        `, less fees than conflicting txs; ${bitcoins(feeSats)} < ${bitcoins(oldFees)}`,
      );
    }
    const relay = feeAt(incrementalRelaySatsPerKvb, vsize);
    if (feeSats - oldFees < relay) {
      throw refuse(
        "insufficient fee",
        `, not enough additional fees to relay; ${bitcoins(feeSats - oldFees)} < ${bitcoins(relay)}`,
      );
    }
  }

  #checkPackageLimits(
    transaction: Transaction,
    ancestors: ReadonlySet<Txid>,
    replaced: ReadonlySet<Txid>,
  ): void {
    const refuse = (detail: string) => rejection("too-long-mempool-chain", detail);
    if (ancestors.size + 1 > packageLimit) {
      throw refuse(`too many unconfirmed ancestors [limit: ${packageLimit}]`);
    }
    if (this.#total([...ancestors]).vsize + transaction.vsize > packageVsizeLimit) {
      throw refuse(`exceeds ancestor size limit [limit: ${packageVsizeLimit}]`);
    }
    for (const ancestor of ancestors) {
      const family = [...this.#withDescendants([ancestor])].filter((txid) => !replaced.has(txid));
      if (family.length + 1 > packageLimit) {
        throw refuse(`too many descendants for tx ${ancestor} [limit: ${packageLimit}]`);
      }
      if (this.#total(family).vsize + transaction.vsize > packageVsizeLimit) {
        throw refuse(`exceeds descendant size limit for tx ${ancestor} [limit: ${packageVsizeLimit}]`);
      }
    }
  }

  /** BIP-431: version 3 transactions form pairs of one parent and one small child, among themselves. */
  #checkTruc(transaction: Transaction, parents: ReadonlySet<Txid>, replaced: ReadonlySet<Txid>): void {
    const { txid, vsize } = transaction;
    const isTruc = transaction.version === trucVersion;
    const refuse = (detail: string) => rejection("TRUC-violation", detail);
    for (const parent of parents) {
      const parentIsTruc = this.#entry(parent).transaction.version === trucVersion;
      if (isTruc && !parentIsTruc) {
        throw refuse(`version=3 tx ${txid} cannot spend from non-version=3 tx ${parent}`);
      }
      if (!isTruc && parentIsTruc) {
        throw refuse(`non-version=3 tx ${txid} cannot spend from version=3 tx ${parent}`);
      }
    }
    if (!isTruc) return;
    if (vsize > trucMaxVsize)
      throw refuse(`version=3 tx ${txid} is too big: ${vsize} > ${trucMaxVsize} virtual bytes`);
    if (parents.size === 0) return;
    if (vsize > trucChildMaxVsize) {
      throw refuse(`version=3 child tx ${txid} is too big: ${vsize} > ${trucChildMaxVsize} virtual bytes`);
    }
    if (this.#withAncestors(parents).size > 1) throw refuse(`tx ${txid} would have too many ancestors`);
    for (const parent of parents) {
      const children = [...this.#withDescendants([parent])].filter(
        (id) => id !== parent && !replaced.has(id),
      );
      if (children.length > 0) throw refuse(`tx ${parent} would exceed descendant count limit`);
    }
  }

  #checkScripts(transaction: Transaction, coins: readonly Coin[]): void {
    if (this.#checkedScripts.has(transaction.wtxid)) return;
    checkScripts(transaction, coins);
    this.#checkedScripts.add(transaction.wtxid);
  }

  #conflicts(transaction: Transaction): Set<Txid> {
    const conflicts = new Set<Txid>();
    for (const { outpoint } of transaction.inputs) {
      const spender = this.spender(outpoint);
      if (spender !== undefined) conflicts.add(spender.txid);
    }
    return conflicts;
  }

  #replaceable(conflicts: ReadonlySet<Txid>): boolean {
    return (
      this.#options.fullRbf ||
      [...conflicts].every((txid) =>
        [...this.#withAncestors([txid])].some((id) => {
          const { version, inputs } = this.#entry(id).transaction;
          return version === trucVersion || inputs.some((input) => input.sequence <= signalsReplacement);
        }),
      )
    );
  }

  #parents(transaction: Transaction): Set<Txid> {
    const parents = new Set<Txid>();
    for (const { outpoint } of transaction.inputs) {
      if (this.#entries.has(outpoint.txid)) parents.add(outpoint.txid);
    }
    return parents;
  }

  #withAncestors(txids: Iterable<Txid>): Set<Txid> {
    return closure(txids, (txid) => this.#parents(this.#entry(txid).transaction));
  }

  #withDescendants(txids: Iterable<Txid>): Set<Txid> {
    return closure(txids, (txid) =>
      this.#entry(txid).transaction.outputs.flatMap(
        (_, vout) => this.#spenders.get(outpointText({ txid, vout }))?.txid ?? [],
      ),
    );
  }

  #total(txids: readonly Txid[]): { feeSats: bigint; vsize: number; weight: number } {
    const total = { feeSats: 0n, vsize: 0, weight: 0 };
    for (const txid of txids) {
      const { feeSats, transaction } = this.#entry(txid);
      total.feeSats += feeSats;
      total.vsize += transaction.vsize;
      total.weight += transaction.weight;
    }
    return total;
  }

  #entry(txid: Txid): MempoolEntry {
    const entry = this.#entries.get(txid);
    if (entry === undefined) throw new RangeError(`${txid} is not in the mempool`);
    return entry;
  }

  #drop(txid: Txid): void {
    const entry = this.#entries.get(txid);
    if (entry === undefined) return;
    this.#entries.delete(txid);
    for (const { outpoint } of entry.transaction.inputs) {
      if (this.spender(outpoint)?.txid === txid) this.#spenders.delete(outpointText(outpoint));
    }
  }
}

function closure(from: Iterable<Txid>, next: (txid: Txid) => Iterable<Txid>): Set<Txid> {
  const found = new Set(from);
  for (const txid of found) for (const neighbour of next(txid)) found.add(neighbour);
  return found;
}

/** Fee in satoshis for `vsize` at a rate, rounded up as Bitcoin Core does. */
function feeAt(satsPerKvb: bigint, vsize: number): bigint {
  return (satsPerKvb * BigInt(vsize) + 999n) / 1000n;
}

function feeRate(feeSats: bigint, vsize: number): string {
  return `${bitcoins((feeSats * 1000n) / BigInt(vsize))} BTC/kvB`;
}
