import { type Outpoint, type Txid, txidSchema } from "@cairn/core";
import type { Chain, ChainBlock, Confirmation } from "./chain.ts";
import type { EndpointFaults } from "./endpoint-faults.ts";
import type { MempoolEntry, Spender } from "./mempool.ts";
import { scriptHash } from "./script-history.ts";
import type { Transaction, TransactionOutput } from "./transaction.ts";

/** An unspent output as an endpoint tells it. */
export interface ViewedCoin {
  readonly txid: Txid;
  readonly vout: number;
  readonly valueSats: bigint;
  /** The block that holds it; undefined while it waits. */
  readonly block: ChainBlock | undefined;
}

/** Sums over the transactions of a script. */
export interface ScriptStats {
  readonly transactions: number;
  readonly fundedCount: number;
  readonly fundedSats: bigint;
  readonly spentCount: number;
  readonly spentSats: bigint;
}

/** The transactions of a script, confirmed or waiting, newest first. */
export interface ScriptTransactions {
  readonly confirmed: readonly Transaction[];
  readonly waiting: readonly Transaction[];
}

/** The chain as one endpoint shows it, faults and all. */
export class ChainView {
  readonly #chain: Chain;
  readonly #faults: () => EndpointFaults;

  /** @param faults asked at every call, so that a test can change them */
  constructor(chain: Chain, faults: () => EndpointFaults) {
    this.#chain = chain;
    this.#faults = faults;
  }

  /** The newest block that this endpoint admits to know. */
  get tip(): ChainBlock {
    const height = Math.max(this.#chain.tip.height - (this.#faults().hideBlocks ?? 0), 0);
    return this.#chain.blockAt(height) ?? this.#chain.tip;
  }

  blockAt(height: number): ChainBlock | undefined {
    return height > this.tip.height ? undefined : this.#chain.blockAt(height);
  }

  block(hash: string): ChainBlock | undefined {
    const block = this.#chain.block(hash);
    return block !== undefined && this.#isHidden(block) ? undefined : block;
  }

  /** Whether `block` is part of the best chain. */
  isActive(block: ChainBlock): boolean {
    return this.blockAt(block.height)?.hash === block.hash;
  }

  transaction(txid: Txid): Transaction | undefined {
    return this.#chain.transaction(txid);
  }

  confirmation(txid: Txid): Confirmation | undefined {
    const found = this.#chain.confirmation(txid);
    return found === undefined || this.#isHidden(found.block) ? undefined : found;
  }

  /** The output at `outpoint`, spent or not. */
  output(outpoint: Outpoint): TransactionOutput | undefined {
    return this.#chain.transaction(outpoint.txid)?.outputs[outpoint.vout];
  }

  spender(outpoint: Outpoint): Spender | undefined {
    return this.#faults().hideSpends === true ? undefined : this.#chain.spender(outpoint);
  }

  /** What an output is worth, as this endpoint tells it. */
  valueSats(output: TransactionOutput): bigint {
    return output.amountSats + BigInt(this.#faults().inflateSats ?? 0);
  }

  /** Waiting transactions in order of arrival. */
  mempool(): MempoolEntry[] {
    return this.#chain.mempool.entries();
  }

  /** The transactions that pay to or spend from a script (see `scriptHash`). */
  scriptTransactions(hash: string): ScriptTransactions {
    const history = this.#chain.confirmedHistory(hash).toReversed();
    const known = history
      .flatMap((txid) => this.#chain.transaction(txid) ?? [])
      .filter((tx) => this.#shows(tx, hash));
    const touching = this.mempool()
      .map((entry) => entry.transaction)
      .filter((tx) => this.#pays(tx, hash) || this.#spends(tx, hash))
      .filter((tx) => this.#shows(tx, hash))
      .reverse();
    const confirmed = known.filter((tx) => this.confirmation(tx.txid) !== undefined);
    const hidden = known.filter((tx) => this.confirmation(tx.txid) === undefined);
    return { confirmed, waiting: [...touching, ...hidden] };
  }

  /** The unspent outputs of a script, oldest first. */
  unspent(hash: string): ViewedCoin[] {
    const { confirmed, waiting } = this.scriptTransactions(hash);
    const coins = [...waiting, ...confirmed].reverse().flatMap(({ txid, outputs }) =>
      [...outputs.entries()]
        .filter(([, output]) => scriptHash(output.scriptPubKey) === hash)
        .filter(([vout]) => this.spender({ txid, vout }) === undefined)
        .map(([vout, output]): ViewedCoin => {
          return { txid, vout, valueSats: this.valueSats(output), block: this.confirmation(txid)?.block };
        }),
    );
    const { phantomSats } = this.#faults();
    if (phantomSats !== undefined) {
      coins.push({ txid: phantomTxid(hash), vout: 0, valueSats: BigInt(phantomSats), block: this.tip });
    }
    return coins;
  }

  /** Sums over `transactions` from the side of a script. */
  stats(hash: string, transactions: readonly Transaction[]): ScriptStats {
    const funded = transactions
      .flatMap((tx) => tx.outputs)
      .filter((output) => scriptHash(output.scriptPubKey) === hash);
    const spent =
      this.#faults().hideSpends === true ? [] : transactions.flatMap((tx) => this.#spentBy(tx, hash));
    const sum = (outputs: readonly TransactionOutput[]) =>
      outputs.reduce((total, output) => total + this.valueSats(output), 0n);
    return {
      transactions: transactions.length,
      fundedCount: funded.length,
      fundedSats: sum(funded),
      spentCount: spent.length,
      spentSats: sum(spent),
    };
  }

  #isHidden(block: ChainBlock): boolean {
    return block.height > this.tip.height && this.#chain.blockAt(block.height)?.hash === block.hash;
  }

  #shows(transaction: Transaction, hash: string): boolean {
    return this.#faults().hideSpends !== true || this.#pays(transaction, hash);
  }

  #pays(transaction: Transaction, hash: string): boolean {
    return transaction.outputs.some((output) => scriptHash(output.scriptPubKey) === hash);
  }

  #spends(transaction: Transaction, hash: string): boolean {
    return this.#spentBy(transaction, hash).length > 0;
  }

  #spentBy(transaction: Transaction, hash: string): TransactionOutput[] {
    if (transaction.isCoinbase) return [];
    return transaction.inputs
      .flatMap((input) => this.output(input.outpoint) ?? [])
      .filter((output) => scriptHash(output.scriptPubKey) === hash);
  }
}

/** An id that no transaction has: the hash of a script's hash. */
function phantomTxid(hash: string): Txid {
  return txidSchema.parse(scriptHash(Buffer.from(hash, "hex")));
}
