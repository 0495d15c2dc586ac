import { equalBytes, type Outpoint, outpointSchema, type Txid, txidSchema } from "@cairn/core";
import { RawTx } from "@scure/btc-signer";
import { RawOldTx } from "@scure/btc-signer/script.js";
import { sha256x2 } from "@scure/btc-signer/utils.js";
import { displayHash } from "./byte-order.ts";
import { rejection, rpcErrors } from "./rejection.ts";

/** One input of a {@link Transaction}. */
export interface TransactionInput {
  readonly outpoint: Outpoint;
  readonly scriptSig: Uint8Array;
  readonly sequence: number;
  readonly witness: readonly Uint8Array[];
}

/** One output of a {@link Transaction}. */
export interface TransactionOutput {
  /** Satoshis; negative where the signed 64-bit field says so, which no check lets through. */
  readonly amountSats: bigint;
  readonly scriptPubKey: Uint8Array;
}

/** A decoded transaction with what is worth computing once. */
export interface Transaction {
  readonly txid: Txid;
  /** BIP-141 hash over the witness too; equals `txid` where there is none. */
  readonly wtxid: string;
  /** The wire serialization, witness included. */
  readonly raw: Uint8Array;
  readonly version: number;
  readonly lockTime: number;
  readonly inputs: readonly TransactionInput[];
  readonly outputs: readonly TransactionOutput[];
  /** Bytes without the witness. */
  readonly strippedSize: number;
  /** BIP-141 weight units. */
  readonly weight: number;
  /** Virtual bytes: weight / 4, rounded up. */
  readonly vsize: number;
  readonly isCoinbase: boolean;
}

const nullTxid = "00".repeat(32);
const nullIndex = 0xffffffff;

/**
 * Decodes a wire transaction.
 * @throws CairnError `chain-rejected` with Bitcoin Core's `TX decode failed` when the bytes are no transaction, carry
 *   trailing bytes or a non-canonical length.
 */
export function decodeTransaction(raw: Uint8Array): Transaction {
  const decoded = decodeExactly(raw);
  const { version, lockTime } = decoded;
  const inputs = decoded.inputs.map((input, index) => ({
    outpoint: outpointSchema.parse({ txid: Buffer.from(input.txid).toString("hex"), vout: input.index }),
    scriptSig: input.finalScriptSig,
    sequence: input.sequence,
    witness: decoded.witnesses?.[index] ?? [],
  }));
  const outputs = decoded.outputs.map((output) => ({
    amountSats: BigInt.asIntN(64, output.amount),
    scriptPubKey: output.script,
  }));
  const stripped = RawOldTx.encode({
    version,
    lockTime,
    inputs: decoded.inputs,
    outputs: decoded.outputs,
  });
  const weight = stripped.length * 3 + raw.length;
  const first = inputs[0]?.outpoint;
  return {
    txid: txidSchema.parse(displayHash(sha256x2(stripped))),
    wtxid: displayHash(sha256x2(raw)),
    raw,
    version,
    lockTime,
    inputs,
    outputs,
    strippedSize: stripped.length,
    weight,
    vsize: Math.ceil(weight / 4),
    isCoinbase: inputs.length === 1 && first?.txid === nullTxid && first.vout === nullIndex,
  };
}

/** Whether `outpoint` is the one that only a coinbase may name. */
export function isNullOutpoint(outpoint: Outpoint): boolean {
  return outpoint.txid === nullTxid && outpoint.vout === nullIndex;
}

function decodeExactly(raw: Uint8Array) {
  try {
    const decoded = RawTx.decode(raw);
    if (equalBytes(RawTx.encode(decoded), raw)) return decoded;
  } catch (cause) {
    throw undecodable(cause);
  }
  throw undecodable();
}

function undecodable(cause?: unknown) {
  const error = rejection(
    "TX decode failed. Make sure the tx has at least one input.",
    undefined,
    rpcErrors.deserialization,
  );
  error.cause = cause;
  return error;
}
