import { CairnError, type Clock, equalBytes, type Outpoint, type Txid } from "@cairn/core";
import {
  type Block,
  blockSize,
  commitmentTag,
  genesisBlock,
  heightPush,
  mineBlock,
  transactionRoot,
  witnessCommitment,
} from "./block.ts";
import { headerHash, meetsTarget } from "./block-header.ts";
import { type Coin, Coins, type SpentCoin } from "./coins.ts";
import {
  checkInputs,
  checkScripts,
  checkTransaction,
  maxBlockWeight,
  subsidySats,
} from "./consensus-rules.ts";
import { isFinal, type LockContext, relativeLocksPassed } from "./finality.ts";
import { Mempool, type MempoolEntry, type Spender } from "./mempool.ts";
import { rejection } from "./rejection.ts";
import { ScriptHistory } from "./script-history.ts";
import { decodeTransaction, type Transaction } from "./transaction.ts";

/** Choices of a {@link Chain}. */
export interface ChainOptions {
  /** Whether any waiting transaction can be replaced, signalled or not. Default true, as in Bitcoin Core since 28. */
  readonly fullRbf?: boolean;
}

/** What a {@link Chain} needs. */
export interface ChainModules {
  readonly clock: Pick<Clock, "now">;
}

/** A block with its place among all blocks that were ever accepted. */
export interface ChainBlock extends Block {
  readonly height: number;
  /** Bytes of the wire form. */
  readonly size: number;
  readonly weight: number;
  /** Median time of this block and its ten predecessors, in seconds (BIP-113). */
  readonly medianTimePast: number;
}

/** Where a confirmed transaction is. */
export interface Confirmation {
  readonly block: ChainBlock;
  /** Position in the block. */
  readonly pos: number;
}

/** What to mine. */
export interface MineOptions {
  /** Who gets subsidy and fees. */
  readonly scriptPubKey: Uint8Array;
  /** How many blocks; default 1. */
  readonly blocks?: number;
  /** Hash of the block to build on; default the tip. On a fork, only `transactions` go in. */
  readonly parent?: string;
  /** What goes into the first block, parents before children, instead of the best of the mempool. */
  readonly transactions?: readonly Transaction[];
}

/** What a change of the best chain did. */
export interface Reorganisation {
  /** Hashes of the blocks taken back, newest first. */
  readonly disconnected: readonly string[];
  /** Hashes of the blocks put in their place, oldest first. */
  readonly connected: readonly string[];
  /** Transactions that neither chain nor mempool holds any more, with the reason. */
  readonly dropped: readonly { readonly txid: Txid; readonly reason: string }[];
}

interface BlockNode {
  readonly block: ChainBlock;
  readonly parent: BlockNode | undefined;
  readonly arrival: number;
  invalid: boolean;
  /** What each transaction spent; there while the block is part of the best chain. */
  undo: readonly (readonly SpentCoin[])[];
}

const reservedBlockWeight = 8_000;
const medianTimeSpan = 11;
const maxFutureSeconds = 7_200;

/**
 * A regtest blockchain in memory. It keeps every block it was given, follows the longest valid branch, and refuses
 * what Bitcoin Core refuses, with Bitcoin Core's reasons. Scripts are judged by libbitcoinconsensus.
 */
export class Chain {
  readonly #modules: ChainModules;
  readonly #nodes = new Map<string, BlockNode>();
  /** The best chain, by height. */
  readonly #active: BlockNode[] = [];
  readonly #coins = new Coins();
  readonly #history = new ScriptHistory();
  readonly #confirmations = new Map<Txid, { node: BlockNode; pos: number }>();
  readonly #mempool: Mempool;
  #arrivals = 0;
  #lastReorganisation: Reorganisation | undefined;

  constructor(options: ChainOptions, modules: ChainModules) {
    this.#modules = modules;
    this.#mempool = new Mempool(
      { fullRbf: options.fullRbf ?? true },
      { coins: this.#coins, lockContext: () => this.#lockContext(this.#tipNode) },
    );
    this.#active.push(this.#store(genesisBlock(), undefined));
    this.#confirm(this.#tipNode, []);
  }

  /** The newest block of the best chain. */
  get tip(): ChainBlock {
    return this.#tipNode.block;
  }

  get mempool(): Pick<Mempool, "entries" | "entry" | "spender"> {
    return this.#mempool;
  }

  /** What happened when blocks were last taken back. */
  get lastReorganisation(): Reorganisation | undefined {
    return this.#lastReorganisation;
  }

  /** The block of the best chain at `height`. */
  blockAt(height: number): ChainBlock | undefined {
    return this.#active[height]?.block;
  }

  /** Any block that was ever accepted, on the best chain or not. */
  block(hash: string): ChainBlock | undefined {
    return this.#nodes.get(hash)?.block;
  }

  /** A transaction of the best chain or the mempool. */
  transaction(txid: Txid): Transaction | undefined {
    const confirmation = this.confirmation(txid);
    if (confirmation !== undefined) return confirmation.block.transactions[confirmation.pos];
    return this.#mempool.entry(txid)?.transaction;
  }

  /** Where the best chain holds `txid`. */
  confirmation(txid: Txid): Confirmation | undefined {
    const found = this.#confirmations.get(txid);
    return found === undefined ? undefined : { block: found.node.block, pos: found.pos };
  }

  /** The unspent output of the best chain at `outpoint`, whatever the mempool does with it. */
  coin(outpoint: Outpoint): Coin | undefined {
    return this.#coins.get(outpoint);
  }

  /** The confirmed or waiting input that spends `outpoint`. */
  spender(outpoint: Outpoint): Spender | undefined {
    return this.#history.spender(outpoint) ?? this.#mempool.spender(outpoint);
  }

  /** Ids of the confirmed transactions that touch a script (see `scriptHash`), oldest first. */
  confirmedHistory(hash: string): readonly Txid[] {
    return this.#history.transactions(hash);
  }

  /**
   * Admits a wire transaction to the mempool.
   * @throws CairnError `chain-rejected`, whose data holds Bitcoin Core's `reason` and `rpcCode`
   */
  broadcast(raw: Uint8Array): MempoolEntry {
    return this.#mempool.submit(decodeTransaction(raw));
  }

  /**
   * Mines blocks on the tip or on a fork; a fork that becomes longer than the best chain takes its place.
   * @returns the new blocks
   * @throws CairnError `chain-rejected` when the given transactions make an invalid block; `not-found` for the parent
   */
  mine(options: MineOptions): ChainBlock[] {
    const mined: ChainBlock[] = [];
    let parent = options.parent === undefined ? this.#tipNode : this.#node(options.parent);
    for (let i = 0; i < (options.blocks ?? 1); i++) {
      const onTip = parent === this.#tipNode;
      const given = i === 0 ? options.transactions : undefined;
      const selected =
        given === undefined && onTip ? this.#mempool.select(maxBlockWeight - reservedBlockWeight) : [];
      const transactions = given ?? selected.map((entry) => entry.transaction);
      const height = parent.block.height + 1;
      const feeSats = given === undefined ? sumFees(selected) : this.#feesOnBranch(parent, given);
      const block = mineBlock({
        previousHash: parent.block.hash,
        height,
        time: this.#nextTime(parent),
        scriptPubKey: options.scriptPubKey,
        rewardSats: subsidySats(height) + feeSats,
        extraNonce: this.#arrivals,
        transactions,
      });
      mined.push(this.submitBlock(block));
      parent = this.#node(block.hash);
    }
    return mined;
  }

  /**
   * Takes in a block, and makes it the tip when its branch is the longest valid one.
   * @throws CairnError `chain-rejected` with Bitcoin Core's reason when the block is invalid
   */
  submitBlock(block: Block): ChainBlock {
    const parent = this.#nodes.get(block.header.previousHash);
    if (this.#nodes.has(block.hash)) throw rejection("duplicate");
    if (parent === undefined) throw rejection("prev-blk-not-found");
    if (parent.invalid) throw rejection("bad-prevblk");
    this.#checkBlock(block, parent);
    const node = this.#store(block, parent);
    const refusal = this.#activateBest();
    if (refusal !== undefined && node.invalid) throw refusal;
    return node.block;
  }

  /**
   * Declares a block and all that builds on it invalid; the best other branch takes over, and the transactions of
   * the blocks taken back wait again.
   * @throws CairnError `not-found`; `wrong-state` for the first block
   */
  invalidateBlock(hash: string): void {
    const node = this.#node(hash);
    if (node.parent === undefined)
      throw new CairnError("wrong-state", "the first block cannot be made invalid");
    for (const other of this.#nodes.values()) {
      if (descends(other, node)) other.invalid = true;
    }
    this.#activateBest();
  }

  /** Takes back {@link Chain.invalidateBlock} for a block, its ancestors and its descendants. */
  reconsiderBlock(hash: string): void {
    const node = this.#node(hash);
    for (const other of this.#nodes.values()) {
      if (descends(other, node) || descends(node, other)) other.invalid = false;
    }
    const refusal = this.#activateBest();
    if (refusal !== undefined) throw refusal;
  }

  get #tipNode(): BlockNode {
    const node = this.#active.at(-1);
    if (node === undefined) throw new RangeError("a chain always holds its first block");
    return node;
  }

  #node(hash: string): BlockNode {
    const node = this.#nodes.get(hash);
    if (node === undefined) throw new CairnError("not-found", `no block ${hash} was ever accepted`, { hash });
    return node;
  }

  #store(block: Block, parent: BlockNode | undefined): BlockNode {
    const times = [block.header.time];
    for (let at = parent; at !== undefined && times.length < medianTimeSpan; at = at.parent) {
      times.push(at.block.header.time);
    }
    times.sort((a, b) => a - b);
    const node: BlockNode = {
      block: {
        ...block,
        ...blockSize(block),
        height: parent === undefined ? 0 : parent.block.height + 1,
        medianTimePast: times[times.length >> 1] ?? block.header.time,
      },
      parent,
      arrival: this.#arrivals++,
      invalid: false,
      undo: [],
    };
    this.#nodes.set(block.hash, node);
    return node;
  }

  #now(): number {
    return Math.floor(this.#modules.clock.now() / 1000);
  }

  #nextTime(parent: BlockNode): number {
    return Math.max(this.#now(), parent.block.medianTimePast + 1);
  }

  /** Locks as a block on top of `parent` measures them. */
  #lockContext(parent: BlockNode): LockContext {
    return {
      height: parent.block.height + 1,
      medianTimePast: parent.block.medianTimePast,
      medianTimePastAt: (height) => {
        let node: BlockNode | undefined = parent;
        while (node !== undefined && node.block.height > height) node = node.parent;
        return (node ?? parent).block.medianTimePast;
      },
    };
  }

  /** The checks that need the block and its ancestors' headers only. */
  #checkBlock(block: Block, parent: BlockNode): void {
    const { header, transactions } = block;
    if (headerHash(header) !== block.hash || !meetsTarget(header))
      throw rejection("high-hash", "proof of work failed");
    if (header.time <= parent.block.medianTimePast)
      throw rejection("time-too-old", "block's timestamp is too early");
    const latest = Math.max(this.#now(), parent.block.medianTimePast) + maxFutureSeconds;
    if (header.time > latest) throw rejection("time-too-new", "block timestamp too far in the future");
    if (transactionRoot(transactions) !== header.merkleRoot)
      throw rejection("bad-txnmrklroot", "hashMerkleRoot mismatch");
    if (new Set(transactions.map(({ txid }) => txid)).size !== transactions.length) {
      throw rejection("bad-txns-duplicate", "duplicate transaction");
    }
    const [coinbase, ...others] = transactions;
    if (coinbase?.isCoinbase !== true) throw rejection("bad-cb-missing", "first tx is not coinbase");
    if (others.some((transaction) => transaction.isCoinbase))
      throw rejection("bad-cb-multiple", "more than one coinbase");
    for (const transaction of transactions) checkTransaction(transaction);
    if (blockSize(block).weight > maxBlockWeight) throw rejection("bad-blk-weight", "weight limit failed");
    const context = this.#lockContext(parent);
    if (!transactions.every((transaction) => isFinal(transaction, context))) {
      throw rejection("bad-txns-nonfinal", "non-final transaction");
    }
    const push = heightPush(context.height);
    if (!equalBytes(coinbase.inputs[0]?.scriptSig.subarray(0, push.length) ?? new Uint8Array(), push)) {
      throw rejection("bad-cb-height", "block height mismatch in coinbase");
    }
    checkWitnessCommitment(transactions, coinbase);
  }

  /** Applies a block to the coins; on a refusal the coins are as before. */
  #connect(node: BlockNode): void {
    const context = this.#lockContext(node.parent ?? node);
    const undo: SpentCoin[][] = [];
    const { transactions, height } = node.block;
    try {
      let feeSats = 0n;
      for (const transaction of transactions) {
        if (!transaction.isCoinbase) {
          const checked = checkInputs(transaction, this.#coins, height);
          if (!relativeLocksPassed(transaction, checked.coins, context)) {
            throw rejection("bad-txns-nonfinal", "contains a non-BIP68-final transaction");
          }
          if (this.#mempool.entry(transaction.txid)?.transaction.wtxid !== transaction.wtxid) {
            checkScripts(transaction, checked.coins);
          }
          feeSats += checked.feeSats;
        }
        undo.push(this.#coins.apply(transaction, height));
      }
      const claimed = (transactions[0]?.outputs ?? []).reduce((sum, output) => sum + output.amountSats, 0n);
      const limit = feeSats + subsidySats(height);
      if (claimed > limit) {
        throw rejection("bad-cb-amount", `coinbase pays too much (actual=${claimed} vs limit=${limit})`);
      }
    } catch (error) {
      this.#revert(transactions.slice(0, undo.length), undo);
      throw error;
    }
    this.#active.push(node);
    this.#confirm(node, undo);
  }

  #confirm(node: BlockNode, undo: readonly (readonly SpentCoin[])[]): void {
    node.undo = undo;
    node.block.transactions.forEach((transaction, pos) => {
      this.#history.add(transaction, undo[pos] ?? []);
      this.#confirmations.set(transaction.txid, { node, pos });
    });
  }

  #disconnectTip(): BlockNode {
    const node = this.#tipNode;
    this.#active.pop();
    const { transactions } = node.block;
    for (const [pos, transaction] of [...transactions.entries()].reverse()) {
      this.#history.remove(transaction, node.undo[pos] ?? []);
      this.#confirmations.delete(transaction.txid);
    }
    this.#revert(transactions, node.undo);
    node.undo = [];
    return node;
  }

  #revert(transactions: readonly Transaction[], undo: readonly (readonly SpentCoin[])[]): void {
    for (const [pos, transaction] of [...transactions.entries()].reverse()) {
      this.#coins.revert(transaction, undo[pos] ?? []);
    }
  }

  /**
   * Makes the longest valid branch the best chain; of equals, the one seen first.
   * @returns why the last branch that turned out invalid was refused
   */
  #activateBest(): CairnError | undefined {
    const disconnected: BlockNode[] = [];
    const connected: BlockNode[] = [];
    let refusal: CairnError | undefined;
    for (;;) {
      const best = this.#bestNode();
      const branch: BlockNode[] = [];
      for (let at: BlockNode | undefined = best; at !== undefined && !this.#isActive(at); at = at.parent)
        branch.push(at);
      const fork = branch.at(-1)?.parent ?? best;
      while (this.#tipNode !== fork) {
        const node = this.#disconnectTip();
        if (connected.at(-1) === node) connected.pop();
        else disconnected.push(node);
      }
      const failed = branch.reverse().find((node) => {
        try {
          this.#connect(node);
          connected.push(node);
          return false;
        } catch (error) {
          if (!(error instanceof CairnError)) throw error;
          refusal = error;
          return true;
        }
      });
      if (failed === undefined) break;
      for (const node of this.#nodes.values()) if (descends(node, failed)) node.invalid = true;
    }
    this.#refreshMempool(disconnected, connected);
    return refusal;
  }

  #refreshMempool(disconnected: readonly BlockNode[], connected: readonly BlockNode[]): void {
    const back = disconnected.filter((node) => !this.#isActive(node));
    for (const { block } of connected) this.#mempool.confirm(block.transactions.slice(1));
    if (back.length === 0) return;
    const transactions = back.toReversed().flatMap((node) => node.block.transactions.slice(1));
    const dropped = this.#mempool.rebuild(transactions);
    this.#lastReorganisation = {
      disconnected: back.map((node) => node.block.hash),
      connected: connected.filter((node) => !disconnected.includes(node)).map((node) => node.block.hash),
      dropped,
    };
  }

  #bestNode(): BlockNode {
    let best: BlockNode | undefined;
    for (const node of this.#nodes.values()) {
      if (node.invalid) continue;
      const longer = best === undefined || node.block.height > best.block.height;
      const first =
        best !== undefined && node.block.height === best.block.height && node.arrival < best.arrival;
      if (longer || first) best = node;
    }
    return best ?? this.#tipNode;
  }

  #isActive(node: BlockNode): boolean {
    return this.#active[node.block.height] === node;
  }

  /** Fees of `transactions` in a block on `parent`, whose branch need not be the best one. */
  #feesOnBranch(parent: BlockNode, transactions: readonly Transaction[]): bigint {
    const outputs = new Map<Txid, Transaction>(
      transactions.map((transaction) => [transaction.txid, transaction]),
    );
    const amount = ({ txid, vout }: Outpoint): bigint => {
      let source = outputs.get(txid);
      for (let at: BlockNode | undefined = parent; at !== undefined && source === undefined; at = at.parent) {
        source = at.block.transactions.find((transaction) => transaction.txid === txid);
      }
      return source?.outputs[vout]?.amountSats ?? 0n;
    };
    let feeSats = 0n;
    for (const { inputs, outputs: paid } of transactions) {
      for (const { outpoint } of inputs) feeSats += amount(outpoint);
      for (const { amountSats } of paid) feeSats -= amountSats;
    }
    return feeSats > 0n ? feeSats : 0n;
  }
}

function checkWitnessCommitment(transactions: readonly Transaction[], coinbase: Transaction): void {
  const found = coinbase.outputs.findLast(
    ({ scriptPubKey }) => scriptPubKey.length >= 38 && equalBytes(scriptPubKey.subarray(0, 6), commitmentTag),
  );
  if (found === undefined) {
    const hasWitness = transactions.some(({ inputs }) => inputs.some(({ witness }) => witness.length > 0));
    if (hasWitness) throw rejection("unexpected-witness", "unexpected witness data found");
    return;
  }
  const [reserved, ...rest] = coinbase.inputs[0]?.witness ?? [];
  if (reserved === undefined || reserved.length !== 32 || rest.length > 0) {
    throw rejection("bad-witness-nonce-size", "invalid witness reserved value size");
  }
  if (!equalBytes(found.scriptPubKey.subarray(0, 38), witnessCommitment(transactions, reserved))) {
    throw rejection("bad-witness-merkle-match", "witness merkle commitment mismatch");
  }
}

function descends(node: BlockNode, ancestor: BlockNode): boolean {
  let at: BlockNode | undefined = node;
  while (at !== undefined && at.block.height > ancestor.block.height) at = at.parent;
  return at === ancestor;
}

function sumFees(entries: readonly MempoolEntry[]): bigint {
  return entries.reduce((sum, entry) => sum + entry.feeSats, 0n);
}
