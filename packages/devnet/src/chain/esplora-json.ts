import { toHex } from "@cairn/core";
import { regtestBits } from "./block-header.ts";
import type { ChainBlock } from "./chain.ts";
import type { ChainView, ScriptStats, ViewedCoin } from "./chain-view.ts";
import type { Spender } from "./mempool.ts";
import { lastPush, type OutputType, outputAddress, outputType, scriptAsm } from "./output-script.ts";
import type { Transaction, TransactionInput, TransactionOutput } from "./transaction.ts";

/** Confirmation status as Esplora tells it. */
export type EsploraStatus =
  | { confirmed: false }
  | { confirmed: true; block_height: number; block_hash: string; block_time: number };

/** Esplora's JSON of what a {@link ChainView} shows: field names and shapes of its API.md and of electrs. */
export class EsploraJson {
  readonly #view: ChainView;

  constructor(view: ChainView) {
    this.#view = view;
  }

  block(block: ChainBlock) {
    const { header } = block;
    return {
      id: block.hash,
      height: block.height,
      version: header.version,
      timestamp: header.time,
      tx_count: block.transactions.length,
      size: block.size,
      weight: block.weight,
      merkle_root: header.merkleRoot,
      previousblockhash: block.height === 0 ? null : header.previousHash,
      mediantime: block.medianTimePast,
      nonce: header.nonce,
      bits: header.bits,
      difficulty: regtestDifficulty,
    };
  }

  status(block: ChainBlock | undefined): EsploraStatus {
    if (block === undefined) return { confirmed: false };
    return {
      confirmed: true,
      block_height: block.height,
      block_hash: block.hash,
      block_time: block.header.time,
    };
  }

  transaction(transaction: Transaction) {
    const block = this.#view.confirmation(transaction.txid)?.block;
    return {
      txid: transaction.txid,
      version: transaction.version,
      locktime: transaction.lockTime,
      vin: transaction.inputs.map((input) => this.#input(input, transaction.isCoinbase)),
      vout: transaction.outputs.map((output) => this.#output(output)),
      size: transaction.raw.length,
      weight: transaction.weight,
      fee: transaction.isCoinbase ? 0 : Number(this.#feeSats(transaction)),
      status: this.status(block),
    };
  }

  coin({ txid, vout, valueSats, block }: ViewedCoin) {
    return { txid, vout, status: this.status(block), value: Number(valueSats) };
  }

  spender(spender: Spender | undefined) {
    if (spender === undefined) return { spent: false };
    const status = this.status(this.#view.confirmation(spender.txid)?.block);
    return { spent: true, txid: spender.txid, vin: spender.vin, status };
  }

  stats(stats: ScriptStats) {
    return {
      tx_count: stats.transactions,
      funded_txo_count: stats.fundedCount,
      funded_txo_sum: Number(stats.fundedSats),
      spent_txo_count: stats.spentCount,
      spent_txo_sum: Number(stats.spentSats),
    };
  }

  #input(input: TransactionInput, isCoinbase: boolean) {
    const prevout = isCoinbase ? undefined : this.#view.output(input.outpoint);
    const inner = prevout === undefined ? {} : innerScripts(input, prevout.scriptPubKey);
    return {
      txid: input.outpoint.txid,
      vout: input.outpoint.vout,
      prevout: prevout === undefined ? null : this.#output(prevout),
      scriptsig: toHex(input.scriptSig),
      scriptsig_asm: scriptAsm(input.scriptSig),
      ...(input.witness.length > 0 && { witness: input.witness.map(toHex) }),
      is_coinbase: isCoinbase,
      sequence: input.sequence,
      ...inner,
    };
  }

  #output(output: TransactionOutput) {
    const address = outputAddress(output.scriptPubKey);
    return {
      scriptpubkey: toHex(output.scriptPubKey),
      scriptpubkey_asm: scriptAsm(output.scriptPubKey),
      scriptpubkey_type: esploraType(outputType(output.scriptPubKey)),
      ...(address !== undefined && { scriptpubkey_address: address }),
      value: Number(this.#view.valueSats(output)),
    };
  }

  #feeSats(transaction: Transaction): bigint {
    const paid = transaction.outputs.reduce((sum, output) => sum + output.amountSats, 0n);
    const spent = transaction.inputs.reduce(
      (sum, { outpoint }) => sum + (this.#view.output(outpoint)?.amountSats ?? 0n),
      0n,
    );
    return spent - paid;
  }
}

const difficultyOneTarget = 0xffff * 2 ** 208;
const regtestDifficulty =
  difficultyOneTarget / ((regtestBits & 0x7fffff) * 2 ** (8 * ((regtestBits >>> 24) - 3)));

function esploraType(type: OutputType): string {
  return type === "p2a" || type === "witness_unknown" ? "unknown" : type;
}

/** The scripts that an input reveals: P2SH's redeem script, P2WSH's witness script, bare or nested. */
function innerScripts(input: TransactionInput, scriptPubKey: Uint8Array) {
  const redeem = outputType(scriptPubKey) === "p2sh" ? lastPush(input.scriptSig) : undefined;
  const inWitness = outputType(redeem ?? scriptPubKey) === "v0_p2wsh" ? input.witness.at(-1) : undefined;
  return {
    ...(redeem !== undefined && { inner_redeemscript_asm: scriptAsm(redeem) }),
    ...(inWitness !== undefined && { inner_witnessscript_asm: scriptAsm(inWitness) }),
  };
}
