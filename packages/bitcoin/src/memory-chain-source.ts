import { type Outpoint, outpointText, type Txid } from "@cairn/core";
import { bytesToHex, concatBytes, hexToBytes } from "@noble/hashes/utils.js";
import { bitcoinError } from "./bitcoin-error.ts";
import type {
  ChainSource,
  ChainTip,
  ChainUtxo,
  FeeEstimate,
  OutspendStatus,
  ScriptActivity,
  TransactionStatus,
} from "./chain-source.ts";
import { hash } from "./hash.ts";
import type { Inclusion } from "./inclusion.ts";
import { type ParsedTransaction, parseTransaction } from "./transaction.ts";
import { wire } from "./wire.ts";

interface Block {
  readonly hash: string;
  readonly header: Uint8Array;
  readonly txids: readonly Txid[];
}

type Seen = Exclude<TransactionStatus, { state: "unknown" }>;

/**
 * A chain in memory: blocks are lists of transactions under headers without proof of work; no scripts are checked. What it has of
 * Bitcoin is what a {@link ChainSource} can see: outputs are spent once, unknown inputs are refused (those that
 * {@link fund} makes excepted), a mempool, blocks, reorganisations.
 */
export class MemoryChainSource implements ChainSource {
  #blocks: Block[] = [blockOf(0, 0, [])];
  #forks = 0;
  #funded = 0;
  readonly #transactions = new Map<Txid, ParsedTransaction>();
  readonly #mempool = new Set<Txid>();
  #estimates: readonly FeeEstimate[] = [];

  /** Makes a waiting transaction that pays `amountSats` to `script` out of nothing. */
  fund(script: Uint8Array, amountSats: bigint): ParsedTransaction {
    this.#funded += 1;
    const raw = concatBytes(
      wire.u32(2),
      wire.compactSize(1),
      // A coinbase-like input, told apart by its scriptSig.
      new Uint8Array(32),
      wire.u32(0xffffffff),
      wire.varBytes(wire.u32(this.#funded)),
      wire.u32(0xffffffff),
      wire.compactSize(1),
      wire.u64(amountSats),
      wire.varBytes(script),
      wire.u32(0),
    );
    const transaction = parseTransaction(raw);
    this.#transactions.set(transaction.txid, transaction);
    this.#mempool.add(transaction.txid);
    return transaction;
  }

  /** Adds `count` blocks; the first takes all that waits. */
  mine(count = 1): void {
    for (let i = 0; i < count; i++) {
      this.#blocks.push(blockOf(this.#blocks.length, this.#forks, [...this.#mempool]));
      this.#mempool.clear();
    }
  }

  /** Takes the last `depth` blocks away again, never the first; their transactions wait once more. */
  reorganise(depth: number): void {
    this.#forks += 1;
    const kept = Math.max(1, this.#blocks.length - depth);
    for (const block of this.#blocks.slice(kept)) for (const txid of block.txids) this.#mempool.add(txid);
    this.#blocks = this.#blocks.slice(0, kept);
  }

  /** Drops a waiting transaction, as full mempools do. */
  evict(txid: Txid): void {
    if (this.#mempool.delete(txid)) this.#transactions.delete(txid);
  }

  setFeeEstimates(estimates: readonly FeeEstimate[]): void {
    this.#estimates = [...estimates].sort((a, b) => a.targetBlocks - b.targetBlocks);
  }

  /** The header of a block of the best chain, hex. */
  header(hash: string): string | undefined {
    const block = this.#blocks.find((each) => each.hash === hash);
    return block && bytesToHex(block.header);
  }

  async tip(): Promise<ChainTip> {
    const height = this.#blocks.length - 1;
    return { height, hash: this.#blocks[height]?.hash ?? "" };
  }

  async blockHash(height: number): Promise<string | undefined> {
    return this.#blocks[height]?.hash;
  }

  async scriptActivity(script: Uint8Array): Promise<ScriptActivity> {
    const wanted = bytesToHex(script);
    const utxos: ChainUtxo[] = [];
    const touching = new Map<Txid, Seen>();
    for (const { txid, outputs } of [...this.#transactions.values()]) {
      outputs.forEach(({ script: paid, amountSats }, vout) => {
        if (bytesToHex(paid) !== wanted) return;
        const outpoint = { txid, vout };
        const status = this.#statusOf(txid);
        touching.set(txid, status);
        const spender = this.#spender(outpoint);
        if (spender === undefined) utxos.push({ outpoint, amountSats, status });
        else touching.set(spender, this.#statusOf(spender));
      });
    }
    const waits = [...touching.values()].some(({ state }) => state === "mempool");
    return { used: touching.size > 0, utxos, ...(waits ? {} : { settled: touching.size }) };
  }

  async transactionStatus(txid: Txid): Promise<TransactionStatus> {
    return this.#transactions.has(txid) ? this.#statusOf(txid) : { state: "unknown" };
  }

  async outspend(outpoint: Outpoint): Promise<OutspendStatus> {
    this.#known(outpoint.txid);
    const by = this.#spender(outpoint);
    return by === undefined ? { spent: false } : { spent: true, by, status: this.#statusOf(by) };
  }

  async rawTransaction(txid: Txid): Promise<Uint8Array> {
    return this.#known(txid).raw;
  }

  async inclusion(txid: Txid): Promise<Inclusion | undefined> {
    const blockHeight = this.#blocks.findIndex((block) => block.txids.includes(txid));
    const block = this.#blocks[blockHeight];
    if (block === undefined) return undefined;
    const position = block.txids.indexOf(txid);
    const siblings = levels(block.txids)
      .slice(0, -1)
      .flatMap((row, height) => {
        const at = position >> height;
        const sibling = row[at ^ 1] ?? row[at];
        return sibling === undefined ? [] : [bytesToHex(sibling.toReversed())];
      });
    return { blockHeight, blockHash: block.hash, header: bytesToHex(block.header), position, siblings };
  }

  async feeEstimates(): Promise<readonly FeeEstimate[]> {
    return this.#estimates;
  }

  async broadcast(raw: Uint8Array): Promise<Txid> {
    const transaction = parseTransaction(raw);
    if (this.#transactions.has(transaction.txid)) return transaction.txid;
    const refuse = (detail: string) =>
      bitcoinError("chain-rejected", `The network refuses the transaction: ${detail}.`, { detail });
    let spent = 0n;
    for (const input of transaction.inputs) {
      const output = this.#transactions.get(input.txid)?.outputs[input.vout];
      if (output === undefined) throw refuse("bad-txns-inputs-missingorspent");
      if (this.#spender(input) !== undefined) throw refuse("txn-mempool-conflict");
      spent += output.amountSats;
    }
    const paid = transaction.outputs.reduce((sum, output) => sum + output.amountSats, 0n);
    if (paid > spent) throw refuse("bad-txns-in-belowout");
    this.#transactions.set(transaction.txid, transaction);
    this.#mempool.add(transaction.txid);
    return transaction.txid;
  }

  #known(txid: Txid): ParsedTransaction {
    const transaction = this.#transactions.get(txid);
    if (transaction === undefined) {
      throw bitcoinError("chain-not-found", "The chain knows no transaction of this id.", { txid });
    }
    return transaction;
  }

  #spender(outpoint: Outpoint): Txid | undefined {
    const text = outpointText(outpoint);
    for (const transaction of this.#transactions.values()) {
      if (transaction.inputs.some((input) => outpointText(input) === text)) return transaction.txid;
    }
    return undefined;
  }

  #statusOf(txid: Txid): Seen {
    const blockHeight = this.#blocks.findIndex((block) => block.txids.includes(txid));
    const block = this.#blocks[blockHeight];
    return block === undefined
      ? { state: "mempool" }
      : { state: "confirmed", blockHeight, blockHash: block.hash };
  }
}

/** Regtest's target, which the hash need not meet. */
const BITS = 0x207fffff;

function blockOf(height: number, fork: number, txids: readonly Txid[]): Block {
  const header = concatBytes(
    wire.u32(4),
    new Uint8Array(32),
    levels(txids).at(-1)?.[0] ?? new Uint8Array(32),
    wire.u32(height),
    wire.u32(BITS),
    wire.u32(fork),
  );
  return { hash: bytesToHex(hash.sha256d(header).reverse()), header, txids };
}

/** Rows of the merkle tree, leaves first; the last of an odd row is paired with itself. */
function levels(txids: readonly Txid[]): readonly (readonly Uint8Array[])[] {
  const rows: Uint8Array[][] = [txids.map((txid) => hexToBytes(txid).reverse())];
  for (let row = rows[0] ?? []; row.length > 1; ) {
    const above: Uint8Array[] = [];
    for (let at = 0; at < row.length; at += 2) {
      const left = row[at];
      if (left !== undefined) above.push(hash.sha256d(concatBytes(left, row[at + 1] ?? left)));
    }
    rows.push(above);
    row = above;
  }
  return rows;
}
