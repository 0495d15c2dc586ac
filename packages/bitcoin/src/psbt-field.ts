import { secp256k1 } from "@noble/curves/secp256k1.js";
import { ByteReader } from "./byte-reader.ts";
import { isXOnlyKey } from "./x-only-key.ts";

/** Key types of the global map (BIP-174, BIP-370). */
export const psbtGlobalType = {
  unsignedTransaction: 0x00,
  extendedKey: 0x01,
  transactionVersion: 0x02,
  fallbackLockTime: 0x03,
  inputCount: 0x04,
  outputCount: 0x05,
  modifiable: 0x06,
  version: 0xfb,
} as const;

/** Key types of input maps (BIP-174, BIP-370, BIP-371). */
export const psbtInputType = {
  nonWitnessUtxo: 0x00,
  witnessUtxo: 0x01,
  partialSignature: 0x02,
  sighashType: 0x03,
  redeemScript: 0x04,
  witnessScript: 0x05,
  derivation: 0x06,
  finalScriptSig: 0x07,
  finalScriptWitness: 0x08,
  proofOfReserves: 0x09,
  ripemd160: 0x0a,
  sha256: 0x0b,
  hash160: 0x0c,
  hash256: 0x0d,
  previousTxid: 0x0e,
  outputIndex: 0x0f,
  sequence: 0x10,
  requiredTime: 0x11,
  requiredHeight: 0x12,
  tapKeySignature: 0x13,
  tapScriptSignature: 0x14,
  tapLeafScript: 0x15,
  tapDerivation: 0x16,
  tapInternalKey: 0x17,
  tapMerkleRoot: 0x18,
} as const;

/** Key types of output maps (BIP-174, BIP-370, BIP-371). */
export const psbtOutputType = {
  redeemScript: 0x00,
  witnessScript: 0x01,
  derivation: 0x02,
  amount: 0x03,
  script: 0x04,
  tapInternalKey: 0x05,
  tapTree: 0x06,
  tapDerivation: 0x07,
} as const;

type Check = (bytes: Uint8Array) => boolean;
/** Which data a key of some type has, and which value. */
interface FieldForm {
  readonly key: Check;
  readonly value: Check;
}

const any: Check = () => true;
const length =
  (...allowed: readonly number[]): Check =>
  (bytes) =>
    allowed.includes(bytes.length);
const none = length(0);

/** Whether `read` consumes all of the bytes without failing. */
const reads =
  (read: (reader: ByteReader) => void): Check =>
  (bytes) => {
    const reader = new ByteReader(bytes);
    try {
      read(reader);
    } catch (error) {
      if (error instanceof RangeError) return false;
      throw error;
    }
    return reader.remaining === 0;
  };

const publicKey: Check = (bytes) =>
  (bytes.length === 33 || bytes.length === 65) &&
  secp256k1.utils.isValidPublicKey(bytes, bytes.length === 33);
const xOnlyKey: Check = (bytes) => bytes.length === 32 && isXOnlyKey(bytes);
/** Fingerprint and steps of 4 bytes each. */
const derivation: Check = (bytes) => bytes.length >= 4 && bytes.length % 4 === 0;
const output = reads((reader) => {
  reader.u64();
  reader.varBytes();
});
const tapDerivation = reads((reader) => {
  const hashes = reader.compactSize();
  reader.bytes(hashes * 32);
  const rest = reader.bytes(reader.remaining);
  if (!derivation(rest)) throw new RangeError("no derivation");
});
const controlBlock: Check = (bytes) =>
  bytes.length >= 33 && bytes.length <= 33 + 128 * 32 && bytes.length % 32 === 1;
const witnessStack = reads((reader) => {
  for (let items = reader.compactSize(); items > 0; items--) reader.varBytes();
});
/** Depth-first leaves of one whole binary tree: their weights 2^−depth add up to 1. */
const tapTree = reads((reader) => {
  const unit = 1n << 128n;
  let filled = 0n;
  while (reader.remaining > 0) {
    const depth = reader.u8();
    const leafVersion = reader.u8();
    reader.varBytes();
    if (depth > 128 || (leafVersion & 1) !== 0) throw new RangeError("no leaf");
    const weight = unit >> BigInt(depth);
    // Depth first, so a leaf starts where a subtree of its size can.
    if (filled % weight !== 0n) throw new RangeError("leaves out of order");
    filled += weight;
  }
  if (filled !== unit) throw new RangeError("an incomplete tree");
});
const ecdsaSignature: Check = (bytes) => bytes.length >= 9 && bytes.length <= 73;

/** Forms of the fields that this package knows; the others pass through as they are. */
export const psbtFieldForms: {
  readonly [map in "global" | "input" | "output"]: ReadonlyMap<number, FieldForm>;
} = {
  global: new Map([
    [psbtGlobalType.unsignedTransaction, { key: none, value: any }],
    [psbtGlobalType.extendedKey, { key: length(78), value: derivation }],
    [psbtGlobalType.transactionVersion, { key: none, value: length(4) }],
    [psbtGlobalType.fallbackLockTime, { key: none, value: length(4) }],
    [psbtGlobalType.inputCount, { key: none, value: reads((reader) => reader.compactSize()) }],
    [psbtGlobalType.outputCount, { key: none, value: reads((reader) => reader.compactSize()) }],
    [psbtGlobalType.modifiable, { key: none, value: length(1) }],
    [psbtGlobalType.version, { key: none, value: length(4) }],
  ]),
  input: new Map([
    [psbtInputType.nonWitnessUtxo, { key: none, value: any }],
    [psbtInputType.witnessUtxo, { key: none, value: output }],
    [psbtInputType.partialSignature, { key: publicKey, value: ecdsaSignature }],
    [psbtInputType.sighashType, { key: none, value: length(4) }],
    [psbtInputType.redeemScript, { key: none, value: any }],
    [psbtInputType.witnessScript, { key: none, value: any }],
    [psbtInputType.derivation, { key: publicKey, value: derivation }],
    [psbtInputType.finalScriptSig, { key: none, value: any }],
    [psbtInputType.finalScriptWitness, { key: none, value: witnessStack }],
    [psbtInputType.proofOfReserves, { key: none, value: any }],
    [psbtInputType.ripemd160, { key: length(20), value: any }],
    [psbtInputType.sha256, { key: length(32), value: any }],
    [psbtInputType.hash160, { key: length(20), value: any }],
    [psbtInputType.hash256, { key: length(32), value: any }],
    [psbtInputType.previousTxid, { key: none, value: length(32) }],
    [psbtInputType.outputIndex, { key: none, value: length(4) }],
    [psbtInputType.sequence, { key: none, value: length(4) }],
    [
      psbtInputType.requiredTime,
      { key: none, value: reads((reader) => requireRange(reader.u32(), 500_000_000, 0xffffffff)) },
    ],
    [
      psbtInputType.requiredHeight,
      { key: none, value: reads((reader) => requireRange(reader.u32(), 1, 499_999_999)) },
    ],
    [psbtInputType.tapKeySignature, { key: none, value: length(64, 65) }],
    [psbtInputType.tapScriptSignature, { key: length(64), value: length(64, 65) }],
    [psbtInputType.tapLeafScript, { key: controlBlock, value: (bytes) => bytes.length >= 1 }],
    [psbtInputType.tapDerivation, { key: xOnlyKey, value: tapDerivation }],
    [psbtInputType.tapInternalKey, { key: none, value: xOnlyKey }],
    [psbtInputType.tapMerkleRoot, { key: none, value: length(32) }],
  ]),
  output: new Map([
    [psbtOutputType.redeemScript, { key: none, value: any }],
    [psbtOutputType.witnessScript, { key: none, value: any }],
    [psbtOutputType.derivation, { key: publicKey, value: derivation }],
    [psbtOutputType.amount, { key: none, value: length(8) }],
    [psbtOutputType.script, { key: none, value: any }],
    [psbtOutputType.tapInternalKey, { key: none, value: xOnlyKey }],
    [psbtOutputType.tapTree, { key: none, value: tapTree }],
    [psbtOutputType.tapDerivation, { key: xOnlyKey, value: tapDerivation }],
  ]),
};

function requireRange(value: number, least: number, most: number): void {
  if (value < least || value > most) throw new RangeError("a locktime of the wrong kind");
}
