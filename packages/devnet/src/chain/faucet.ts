import { CairnError, type Random, type Txid } from "@cairn/core";
import { p2wpkh, Transaction as SigningTransaction } from "@scure/btc-signer";
import { pubECDSA } from "@scure/btc-signer/utils.js";
import type { Chain, ChainBlock } from "./chain.ts";
import { coinbaseMaturity } from "./consensus-rules.ts";
import { addressScript, dustThresholdSats } from "./output-script.ts";
import { regtest } from "./regtest.ts";
import { scriptHash } from "./script-history.ts";

/** Choices of a {@link Faucet}. */
export interface FaucetOptions {
  /** Fee rate of its transactions in sat/vB; default 2. */
  readonly satsPerVbyte?: number;
}

/** What a {@link Faucet} needs. */
export interface FaucetModules {
  readonly chain: Chain;
  readonly random: Random;
}

interface FaucetCoin {
  readonly txid: Txid;
  readonly vout: number;
  readonly amountSats: bigint;
}

const keyBytes = 32;
const transactionVbytes = 11;
const inputVbytes = 68;
const outputVbytes = 43;

/** Owns one P2WPKH key, earns by mining, and pays out in real signed transactions. */
export class Faucet {
  readonly #chain: Chain;
  readonly #secret: Uint8Array;
  readonly #satsPerVbyte: number;
  /** Locking script of the faucet's only key. */
  readonly scriptPubKey: Uint8Array;
  /** Regtest address of the faucet's only key. */
  readonly address: string;

  constructor(options: FaucetOptions, modules: FaucetModules) {
    this.#chain = modules.chain;
    this.#satsPerVbyte = options.satsPerVbyte ?? 2;
    this.#secret = modules.random.bytes(keyBytes);
    const payment = p2wpkh(pubECDSA(this.#secret), { ...regtest });
    if (payment.address === undefined) throw new RangeError("a P2WPKH script always has an address");
    this.scriptPubKey = payment.script;
    this.address = payment.address;
  }

  /** Mines `blocks` whose reward goes to the faucet, with what waits in the mempool. */
  mine(blocks: number): ChainBlock[] {
    return this.#chain.mine({ blocks, scriptPubKey: this.scriptPubKey });
  }

  /**
   * Pays `amountSats` to a regtest address. The transaction waits in the mempool for the next block.
   * @throws CairnError `address-invalid`, `dust`, `insufficient-funds` (mine more blocks), or `chain-rejected`
   */
  pay(address: string, amountSats: bigint): Txid {
    const script = addressScript(address);
    if (script === undefined) {
      throw new CairnError(
        "address-invalid",
        "not a regtest address; ask the wallet for one that starts with bcrt1",
      );
    }
    if (amountSats < dustThresholdSats(script)) {
      const least = Number(dustThresholdSats(script));
      throw new CairnError("dust", `the amount is dust; pay at least ${least} satoshis`, { least });
    }
    const chosen: FaucetCoin[] = [];
    let inSats = 0n;
    for (const coin of this.#spendable()) {
      if (inSats >= amountSats + this.#feeSats(chosen.length)) break;
      chosen.push(coin);
      inSats += coin.amountSats;
    }
    const feeSats = this.#feeSats(chosen.length);
    if (inSats < amountSats + feeSats) {
      throw new CairnError("insufficient-funds", "the faucet has too few mature coins; mine more blocks", {
        availableSats: Number(inSats),
      });
    }
    const transaction = new SigningTransaction();
    for (const { txid, vout, amountSats: amount } of chosen) {
      transaction.addInput({ txid, index: vout, witnessUtxo: { script: this.scriptPubKey, amount } });
    }
    transaction.addOutput({ script, amount: amountSats });
    const change = inSats - amountSats - feeSats;
    if (change >= dustThresholdSats(this.scriptPubKey)) {
      transaction.addOutput({ script: this.scriptPubKey, amount: change });
    }
    transaction.sign(this.#secret);
    transaction.finalize();
    return this.#chain.broadcast(transaction.extract()).transaction.txid;
  }

  #feeSats(inputs: number): bigint {
    return BigInt(
      Math.ceil((transactionVbytes + inputs * inputVbytes + 2 * outputVbytes) * this.#satsPerVbyte),
    );
  }

  /** Coins that nothing spends yet, confirmed ones first; young coinbases are left out. */
  *#spendable(): Generator<FaucetCoin> {
    const nextHeight = this.#chain.tip.height + 1;
    for (const txid of this.#chain.confirmedHistory(scriptHash(this.scriptPubKey))) {
      const found = this.#chain.confirmation(txid);
      const transaction = this.#chain.transaction(txid);
      if (found === undefined || transaction === undefined) continue;
      if (transaction.isCoinbase && nextHeight - found.block.height < coinbaseMaturity) continue;
      yield* this.#ownOutputs(txid);
    }
    for (const { transaction } of this.#chain.mempool.entries()) yield* this.#ownOutputs(transaction.txid);
  }

  *#ownOutputs(txid: Txid): Generator<FaucetCoin> {
    const own = Buffer.from(this.scriptPubKey);
    for (const [vout, output] of (this.#chain.transaction(txid)?.outputs ?? []).entries()) {
      if (!own.equals(output.scriptPubKey) || output.amountSats === 0n) continue;
      if (this.#chain.spender({ txid, vout }) === undefined)
        yield { txid, vout, amountSats: output.amountSats };
    }
  }
}
