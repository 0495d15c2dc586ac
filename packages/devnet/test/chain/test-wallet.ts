import { createHash } from "node:crypto";
import type { Outpoint } from "@cairn/core";
import { p2tr, p2wpkh, Transaction as SigningTransaction, utils } from "@scure/btc-signer";
import { pubECDSA } from "@scure/btc-signer/utils.js";
import { Chain, type ChainBlock, type ChainOptions } from "../../src/chain/chain.ts";
import { regtest } from "../../src/chain/regtest.ts";
import type { Transaction } from "../../src/chain/transaction.ts";
import { decodeTransaction } from "../../src/chain/transaction.ts";
import { FixedClock } from "./fixed-clock.ts";

/** A coin that a {@link TestWallet} can spend. */
export interface TestCoin extends Outpoint {
  readonly amountSats: bigint;
}

/** What to change about an ordinary spend. */
export interface SpendOptions {
  readonly version?: number;
  readonly lockTime?: number;
  readonly sequence?: number;
  /** Signs over this amount an input instead of the true ones. */
  readonly claimedSats?: bigint;
}

/** A single key with its P2WPKH or P2TR script; signs with btc-signer. */
export class TestWallet {
  readonly #secret: Uint8Array;
  readonly #kind: "wpkh" | "tr";
  readonly script: Uint8Array;
  readonly address: string;

  constructor(seed: string, kind: "wpkh" | "tr" = "wpkh") {
    this.#secret = new Uint8Array(createHash("sha256").update(seed).digest());
    this.#kind = kind;
    const payment =
      kind === "wpkh"
        ? p2wpkh(pubECDSA(this.#secret), { ...regtest })
        : p2tr(utils.pubSchnorr(this.#secret), undefined, { ...regtest });
    this.script = payment.script;
    this.address = payment.address ?? "";
  }

  /** Signs a spend of `coins` to `outputs`; the fee is what is left. */
  spend(
    coins: readonly TestCoin[],
    outputs: readonly (readonly [script: Uint8Array, amountSats: bigint])[],
    options: SpendOptions = {},
  ): Transaction {
    const { version = 2, lockTime = 0, sequence = 0xfffffffd } = options;
    const draft = new SigningTransaction({
      version,
      lockTime,
      allowUnknownOutputs: true,
      allowUnknownVersion: true,
      disableScriptCheck: true,
    });
    for (const { txid, vout, amountSats } of coins) {
      draft.addInput({
        txid,
        index: vout,
        sequence,
        witnessUtxo: { script: this.script, amount: options.claimedSats ?? amountSats },
        ...(this.#kind === "tr" && { tapInternalKey: utils.pubSchnorr(this.#secret) }),
      });
    }
    for (const [script, amount] of outputs) draft.addOutput({ script, amount });
    draft.sign(this.#secret, undefined, new Uint8Array(32));
    draft.finalize();
    return decodeTransaction(draft.extract());
  }
}

/** A chain whose blocks pay a wallet, with `mature` coinbases that it can spend. */
export function fundedChain(wallet: TestWallet, mature = 3, options: ChainOptions = {}) {
  const clock = new FixedClock();
  const chain = new Chain(options, { clock });
  const blocks = chain.mine({ blocks: 100 + mature - 1, scriptPubKey: wallet.script });
  return { chain, clock, coins: blocks.slice(0, mature).map(coinbaseCoin) };
}

/** The coin that a block's miner got. */
export function coinbaseCoin(block: ChainBlock): TestCoin {
  const [coinbase] = block.transactions;
  if (coinbase === undefined) throw new RangeError("every block has a coinbase");
  return coinOf(coinbase, 0);
}

/** Output `vout` of `transaction` as a coin. */
export function coinOf(transaction: Transaction, vout: number): TestCoin {
  const output = transaction.outputs[vout];
  if (output === undefined) throw new RangeError(`no output ${vout}`);
  return { txid: transaction.txid, vout, amountSats: output.amountSats };
}
