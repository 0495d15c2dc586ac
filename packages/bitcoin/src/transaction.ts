import { type Outpoint, type Txid, txidSchema } from "@cairn/core";
import { bytesToHex } from "@noble/hashes/utils.js";
import { RawOldTx, RawTx } from "@scure/btc-signer/script.js";
import { bitcoinError } from "./bitcoin-error.ts";
import { hash } from "./hash.ts";

/** An output: how much, to which scriptPubKey. */
export interface TransactionOutput {
  readonly amountSats: bigint;
  readonly script: Uint8Array;
}

export interface TransactionInput extends Outpoint {
  readonly sequence: number;
}

/** What a signature commits to: a transaction without scriptSigs and witnesses. */
export interface UnsignedTransaction {
  readonly version: number;
  readonly lockTime: number;
  readonly inputs: readonly TransactionInput[];
  readonly outputs: readonly TransactionOutput[];
}

/** A transaction as it stands in a block, or waits for one. */
export interface ParsedTransaction extends UnsignedTransaction {
  readonly txid: Txid;
  /** Whole serialisation, witnesses included. */
  readonly raw: Uint8Array;
  /** Weight units (BIP-141): three times the size without witnesses plus the whole size. */
  readonly weight: number;
  /** One stack an input; empty stacks without witnesses. */
  readonly witnesses: readonly (readonly Uint8Array[])[];
}

type RawTransaction = ReturnType<typeof RawTx.decode>;

function stripped(raw: Pick<RawTransaction, "version" | "inputs" | "outputs" | "lockTime">): Uint8Array {
  const { version, inputs, outputs, lockTime } = raw;
  return RawOldTx.encode({ version, inputs, outputs, lockTime });
}

function txidOf(serialised: Uint8Array): Txid {
  return txidSchema.parse(bytesToHex(hash.sha256d(serialised).reverse()));
}

/**
 * Reads a serialised transaction, with witnesses (BIP-144) or without. The id is computed from the bytes, so whoever
 * compares it with the id that was asked for need not trust where the bytes came from.
 *
 * @throws CairnError `transaction-malformed`
 */
export function parseTransaction(bytes: Uint8Array): ParsedTransaction {
  let raw: RawTransaction;
  try {
    raw = RawTx.decode(bytes);
  } catch (cause) {
    throw bitcoinError(
      "transaction-malformed",
      "These bytes are no Bitcoin transaction.",
      { bytes: bytes.length },
      cause,
    );
  }
  const base = stripped(raw);
  return {
    version: raw.version,
    lockTime: raw.lockTime,
    inputs: raw.inputs.map((input) => ({
      txid: txidSchema.parse(bytesToHex(input.txid)),
      vout: input.index,
      sequence: input.sequence,
    })),
    outputs: raw.outputs.map((output) => ({ amountSats: output.amount, script: output.script })),
    witnesses: raw.witnesses ?? raw.inputs.map(() => []),
    txid: txidOf(base),
    raw: bytes,
    weight: base.length * 3 + bytes.length,
  };
}

/** Serialisation of an unsigned transaction with empty scriptSigs: what PSBT v0 carries, and whose hash is the id. */
export function encodeUnsignedTransaction(transaction: UnsignedTransaction): Uint8Array {
  return RawOldTx.encode({
    version: transaction.version,
    lockTime: transaction.lockTime,
    inputs: transaction.inputs.map((input) => ({
      txid: Uint8Array.from(Buffer.from(input.txid, "hex")),
      index: input.vout,
      finalScriptSig: new Uint8Array(),
      sequence: input.sequence,
    })),
    outputs: transaction.outputs.map((output) => ({ amount: output.amountSats, script: output.script })),
  });
}

/** The id of a transaction whose inputs are all native segwit: signatures don't change it. */
export function unsignedTransactionId(transaction: UnsignedTransaction): Txid {
  return txidOf(encodeUnsignedTransaction(transaction));
}

/** Serialisation with one witness stack an input (BIP-144). */
export function encodeSignedTransaction(
  transaction: UnsignedTransaction,
  witnesses: readonly (readonly Uint8Array[])[],
): Uint8Array {
  const { version, inputs, outputs, lockTime } = RawOldTx.decode(encodeUnsignedTransaction(transaction));
  return RawTx.encode({
    version,
    segwitFlag: true,
    inputs,
    outputs,
    witnesses: witnesses.map((stack) => [...stack]),
    lockTime,
  });
}
