import type { Txid } from "@cairn/core";
import { schnorr, secp256k1 } from "@noble/curves/secp256k1.js";
import { concatBytes } from "@noble/hashes/utils.js";
import { bitcoinError } from "./bitcoin-error.ts";
import type { CheckedInput, CheckedSpend } from "./check-psbt.ts";
import { encodePsbt, type PsbtMap, type PsbtVersion } from "./psbt.ts";
import { psbtInputType } from "./psbt-field.ts";
import { encodeSignedTransaction, parseTransaction } from "./transaction.ts";
import { virtualSize } from "./transaction-size.ts";
import { wire } from "./wire.ts";

/** A spend with all its signatures, ready to broadcast. */
export interface SignedSpend {
  readonly txid: Txid;
  /** Serialised transaction with witnesses (BIP-144). */
  readonly raw: Uint8Array;
  readonly hex: string;
  /** Real virtual size; at most that of the checked spend. */
  readonly vsize: number;
  /** The finalised PSBT. */
  readonly psbt: Uint8Array;
}

const halfOrder = secp256k1.Point.Fn.ORDER >> 1n;
const sighashAll = 1;

/**
 * Brings an ECDSA signature into the only form that Bitcoin nodes relay: strict DER (BIP-66), low S (BIP-146), and the
 * byte SIGHASH_ALL. (r, n − s) is as valid as (r, s), so a high S is turned.
 *
 * @param signature 64 bytes: r ‖ s, big-endian
 * @returns 9 to 72 bytes
 * @throws CairnError `signature-malformed`
 */
export function encodeEcdsaSignature(signature: Uint8Array): Uint8Array {
  const parsed = parseCompact(signature);
  const low =
    parsed.s > halfOrder ? new secp256k1.Signature(parsed.r, secp256k1.Point.Fn.neg(parsed.s)) : parsed;
  return concatBytes(low.toBytes("der"), Uint8Array.of(sighashAll));
}

function parseCompact(signature: Uint8Array) {
  try {
    return secp256k1.Signature.fromBytes(signature, "compact");
  } catch (cause) {
    throw bitcoinError(
      "signature-malformed",
      "An ECDSA signature is r and s, 32 bytes each, both between 1 and the order of the curve.",
      { length: signature.length },
      cause,
    );
  }
}

/**
 * Whether `signature` is valid for an input: ECDSA (`r ‖ s`, either S) under a 33-byte key, BIP-340 under a 32-byte key.
 * Never throws on malformed signatures; they are invalid.
 */
export function verifyInputSignature(
  input: Pick<CheckedInput, "signingKey" | "sighash">,
  signature: Uint8Array,
): boolean {
  if (signature.length !== 64) return false;
  const { digest } = input.sighash;
  return input.signingKey.length === 32
    ? schnorr.verify(signature, digest, input.signingKey)
    : secp256k1.verify(signature, digest, input.signingKey, {
        prehash: false,
        lowS: false,
        format: "compact",
      });
}

/**
 * Puts one signature an input into a checked spend and extracts the transaction. Each is verified under its own input's
 * key and sighash first, so what comes out is valid or nothing does.
 *
 * @param signatures in the order of the inputs, 64 bytes each: `r ‖ s` for ECDSA, BIP-340 for taproot
 * @param version of the finalised PSBT; that of the checked one by default
 * @throws CairnError `signature-missing`, `signature-malformed`, `signature-wrong` (data: `input`)
 */
export function finalizeSpend(
  spend: CheckedSpend,
  signatures: readonly Uint8Array[],
  version: PsbtVersion = spend.psbt.version,
): SignedSpend {
  if (signatures.length !== spend.inputs.length) {
    throw bitcoinError("signature-missing", "A spend needs exactly one signature for each input.", {
      inputs: spend.inputs.length,
      signatures: signatures.length,
    });
  }
  const witnesses = spend.inputs.map((input, i) => {
    const signature = signatures[i];
    if (signature === undefined || !verifyInputSignature(input, signature)) {
      throw bitcoinError("signature-wrong", "A signature does not fit its input; sign again.", { input: i });
    }
    return input.signingKey.length === 32 ? [signature] : [encodeEcdsaSignature(signature), input.signingKey];
  });
  const raw = encodeSignedTransaction(spend.psbt.transaction, witnesses);
  const { txid, weight } = parseTransaction(raw);
  const final = {
    ...spend.psbt,
    inputs: spend.psbt.inputs.map((map, i) => finalInput(map, witnesses[i] ?? [])),
  };
  return {
    txid,
    raw,
    hex: Buffer.from(raw).toString("hex"),
    vsize: virtualSize(weight),
    psbt: encodePsbt(final, version),
  };
}

/** The signatures that {@link finalizeSpend} put into a transaction, in the order and form in which it took them. */
export function signaturesOf(raw: Uint8Array): readonly Uint8Array[] {
  return parseTransaction(raw).witnesses.flatMap(([signature = new Uint8Array(), key]) =>
    key === undefined
      ? [signature]
      : [secp256k1.Signature.fromBytes(signature.subarray(0, -1), "der").toBytes("compact")],
  );
}

/** BIP-174: a final input keeps its UTXOs and its witness, and nothing else. */
function finalInput(map: PsbtMap, witness: readonly Uint8Array[]): PsbtMap {
  const kept: readonly number[] = [psbtInputType.nonWitnessUtxo, psbtInputType.witnessUtxo];
  const stack = concatBytes(wire.compactSize(witness.length), ...witness.map((item) => wire.varBytes(item)));
  return [
    ...map.filter((record) => kept.includes(record.type)),
    { type: psbtInputType.finalScriptWitness, keyData: new Uint8Array(), value: stack },
  ];
}
