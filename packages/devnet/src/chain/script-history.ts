import { createHash } from "node:crypto";
import { type Outpoint, outpointText, type Txid, toHex } from "@cairn/core";
import type { SpentCoin } from "./coins.ts";
import type { Spender } from "./mempool.ts";
import type { Transaction } from "./transaction.ts";

/** SHA-256 of a locking script in hex: Esplora's name for it. */
export function scriptHash(scriptPubKey: Uint8Array): string {
  return toHex(createHash("sha256").update(scriptPubKey).digest());
}

/** Which confirmed transactions touch a script, and which confirmed input spends an output. */
export class ScriptHistory {
  readonly #transactions = new Map<string, Txid[]>();
  readonly #spenders = new Map<string, Spender>();

  /** Ids of the transactions that pay to or spend from the script, oldest first. */
  transactions(hash: string): readonly Txid[] {
    return this.#transactions.get(hash) ?? [];
  }

  /** The confirmed input that spends `outpoint`. */
  spender(outpoint: Outpoint): Spender | undefined {
    return this.#spenders.get(outpointText(outpoint));
  }

  /** Records a transaction that a block at the tip confirms. */
  add(transaction: Transaction, spent: readonly SpentCoin[]): void {
    for (const hash of touched(transaction, spent)) {
      const list = this.#transactions.get(hash);
      if (list === undefined) this.#transactions.set(hash, [transaction.txid]);
      else list.push(transaction.txid);
    }
    spent.forEach(({ outpoint }, vin) => {
      this.#spenders.set(outpointText(outpoint), { txid: transaction.txid, vin });
    });
  }

  /** Takes back the newest {@link ScriptHistory.add}. */
  remove(transaction: Transaction, spent: readonly SpentCoin[]): void {
    for (const hash of touched(transaction, spent)) this.#transactions.get(hash)?.pop();
    for (const { outpoint } of spent) this.#spenders.delete(outpointText(outpoint));
  }
}

function touched(transaction: Transaction, spent: readonly SpentCoin[]): Set<string> {
  const scripts = [...transaction.outputs, ...spent.map(({ coin }) => coin)];
  return new Set(scripts.map(({ scriptPubKey }) => scriptHash(scriptPubKey)));
}
