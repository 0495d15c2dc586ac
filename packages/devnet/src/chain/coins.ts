import { type Outpoint, outpointText, type Txid } from "@cairn/core";
import { isUnspendable } from "./output-script.ts";
import type { Transaction } from "./transaction.ts";

/** An unspent output with what its spender must know. */
export interface Coin {
  readonly amountSats: bigint;
  readonly scriptPubKey: Uint8Array;
  /** Height of the block that holds it; undefined while only the mempool does. */
  readonly height: number | undefined;
  readonly isCoinbase: boolean;
}

/** A coin that a block spent, kept so that the block can be taken back. */
export interface SpentCoin {
  readonly outpoint: Outpoint;
  readonly coin: Coin;
}

/** Something that knows unspent outputs. */
export interface CoinView {
  /** The coin at `outpoint`, or undefined when it does not exist or is spent. */
  get(outpoint: Outpoint): Coin | undefined;
}

/** The set of unspent outputs of a chain of blocks. */
export class Coins implements CoinView {
  readonly #coins: Map<string, Coin>;

  constructor(coins: ReadonlyMap<string, Coin> = new Map()) {
    this.#coins = new Map(coins);
  }

  get(outpoint: Outpoint): Coin | undefined {
    return this.#coins.get(outpointText(outpoint));
  }

  /** How many outputs are unspent. */
  get size(): number {
    return this.#coins.size;
  }

  /** Whether any output of `txid` up to position `outputs` is unspent. */
  holdsOutputOf(txid: Txid, outputs: number): boolean {
    for (let vout = 0; vout < outputs; vout++) {
      if (this.#coins.has(`${txid}:${vout}`)) return true;
    }
    return false;
  }

  /**
   * Spends the inputs of `transaction` and adds its outputs at `height`.
   * @returns the coins that it spent, for {@link Coins.revert}
   * @throws RangeError when an input is not unspent: check first
   */
  apply(transaction: Transaction, height: number): SpentCoin[] {
    const spent: SpentCoin[] = [];
    if (!transaction.isCoinbase) {
      for (const { outpoint } of transaction.inputs) {
        const coin = this.get(outpoint);
        if (coin === undefined) throw new RangeError(`${outpointText(outpoint)} is not unspent`);
        this.#coins.delete(outpointText(outpoint));
        spent.push({ outpoint, coin });
      }
    }
    transaction.outputs.forEach((output, vout) => {
      if (isUnspendable(output.scriptPubKey)) return;
      this.#coins.set(`${transaction.txid}:${vout}`, {
        ...output,
        height,
        isCoinbase: transaction.isCoinbase,
      });
    });
    return spent;
  }

  /** Takes back {@link Coins.apply}; transactions must come back in reverse order. */
  revert(transaction: Transaction, spent: readonly SpentCoin[]): void {
    transaction.outputs.forEach((_, vout) => {
      this.#coins.delete(`${transaction.txid}:${vout}`);
    });
    for (const { outpoint, coin } of spent) this.#coins.set(outpointText(outpoint), coin);
  }
}
