import { type KeyPath, MAX_MONEY, type Txid, txidSchema } from "@cairn/core";
import { bytesToHex, concatBytes } from "@noble/hashes/utils.js";
import { base64 } from "@scure/base";
import { RawOldTx } from "@scure/btc-signer/script.js";
import { bitcoinError } from "./bitcoin-error.ts";
import { ByteReader } from "./byte-reader.ts";
import { dataOutputScript } from "./data-output.ts";
import { type Descriptor, deriveKey, fullDerivation } from "./descriptor.ts";
import { atOnce } from "./in-turns.ts";
import { psbtFieldForms, psbtGlobalType, psbtInputType, psbtOutputType } from "./psbt-field.ts";
import {
  encodeUnsignedTransaction,
  parseTransaction,
  type TransactionInput,
  type TransactionOutput,
  type UnsignedTransaction,
} from "./transaction.ts";
import { wire } from "./wire.ts";

/** BIP-174 (version 0) or BIP-370 (version 2). */
export type PsbtVersion = 0 | 2;

/** One key-value pair of a PSBT map. */
export interface PsbtRecord {
  readonly type: number;
  readonly keyData: Uint8Array;
  readonly value: Uint8Array;
}

/** One map of a PSBT; no two records share type and key data. */
export type PsbtMap = readonly PsbtRecord[];

/**
 * A decoded PSBT. The transaction stands apart; the maps hold everything else, known or not, so both versions of one
 * PSBT look the same here.
 */
export interface Psbt {
  readonly version: PsbtVersion;
  readonly transaction: UnsignedTransaction;
  readonly global: PsbtMap;
  /** One map for each input of the transaction. */
  readonly inputs: readonly PsbtMap[];
  /** One map for each output of the transaction. */
  readonly outputs: readonly PsbtMap[];
}

/** The most bytes a PSBT may have; it travels inside structures that end at 4 MiB. */
export const MAX_PSBT_BYTES = 4_000_000;

/** Sequence of every input that Cairn makes: replaceable (BIP-125), and the locktime counts. */
export const PSBT_SEQUENCE = 0xfffffffd;

const magic = Uint8Array.of(0x70, 0x73, 0x62, 0x74, 0xff);
const finalSequence = 0xffffffff;
const noKey = new Uint8Array();

/** Global fields that say the same as the transaction or the version; they are made anew when encoding. */
const structuralGlobal: readonly number[] = [
  psbtGlobalType.unsignedTransaction,
  psbtGlobalType.transactionVersion,
  psbtGlobalType.fallbackLockTime,
  psbtGlobalType.inputCount,
  psbtGlobalType.outputCount,
  psbtGlobalType.version,
];
const structuralInput: readonly number[] = [
  psbtInputType.previousTxid,
  psbtInputType.outputIndex,
  psbtInputType.sequence,
];
const structuralOutput: readonly number[] = [psbtOutputType.amount, psbtOutputType.script];
/** Input fields that BIP-370 brought and version 0 can't express. */
const onlyV2Input: readonly number[] = [psbtInputType.requiredTime, psbtInputType.requiredHeight];

function malformed(why: string, cause?: unknown): Error {
  return bitcoinError(
    "psbt-malformed",
    `${why} Export the PSBT again from the wallet that made it.`,
    {},
    cause,
  );
}

/** The value of the only record of `type`, or `undefined`. For types whose key carries no data. */
export function psbtValue(map: PsbtMap, type: number): Uint8Array | undefined {
  return map.find((record) => record.type === type)?.value;
}

/** All records of `type`. */
export function psbtRecords(map: PsbtMap, type: number): PsbtMap {
  return map.filter((record) => record.type === type);
}

/**
 * Decodes a PSBT of version 0 or 2, binary or base64. Checks its form only: whether it does what was asked is the
 * business of `checkPsbt`.
 *
 * @throws CairnError `psbt-too-large`, `psbt-version`, `psbt-malformed`
 */
export function parsePsbt(input: Uint8Array | string): Psbt {
  return atOnce(parsingPsbt(input));
}

/** The steps of {@link parsePsbt}, one an input or output: each checks the public keys of its map, which takes time. */
export function* parsingPsbt(input: Uint8Array | string): Generator<void, Psbt> {
  const bytes = typeof input === "string" ? fromBase64(input) : input;
  if (bytes.length > MAX_PSBT_BYTES) throw tooLarge(bytes.length);
  try {
    return yield* read(new ByteReader(bytes));
  } catch (error) {
    if (error instanceof RangeError)
      throw malformed(`The PSBT is cut off or damaged: ${error.message}.`, error);
    throw error;
  }
}

function* read(reader: ByteReader): Generator<void, Psbt> {
  if (!reader.bytes(magic.length).every((byte, i) => byte === magic[i])) {
    throw malformed("A PSBT begins with “psbt” and 0xff, and this does not.");
  }
  const global = readMap(reader, "global");
  const version = new ByteReader(psbtValue(global, psbtGlobalType.version) ?? wire.u32(0)).u32();
  if (version !== 0 && version !== 2) {
    throw bitcoinError("psbt-version", `PSBT version ${version} is unknown; export it as version 0 or 2.`, {
      version,
    });
  }
  const counted = version === 0 ? readHeadV0(global) : readHeadV2(global);
  const inputs = yield* readMaps(reader, "input", counted.inputs);
  const outputs = yield* readMaps(reader, "output", counted.outputs);
  if (reader.remaining > 0) throw malformed("Bytes follow the last map of the PSBT.");
  const transaction = counted.transaction ?? transactionOfV2(global, inputs, outputs);
  if (version === 0) {
    const foreign = (map: PsbtMap, types: readonly number[]) =>
      map.some((record) => types.includes(record.type));
    if (
      foreign(
        global,
        structuralGlobal.filter((type) => type > 0 && type !== psbtGlobalType.version),
      ) ||
      foreign(global, [psbtGlobalType.modifiable]) ||
      inputs.some((map) => foreign(map, [...structuralInput, ...onlyV2Input])) ||
      outputs.some((map) => foreign(map, structuralOutput))
    ) {
      throw malformed("A PSBT of version 0 has fields that only version 2 may have (BIP-370).");
    }
  }
  const without = (map: PsbtMap, types: readonly number[]) =>
    map.filter((record) => !types.includes(record.type));
  return {
    version,
    transaction,
    global: without(global, structuralGlobal),
    inputs: inputs.map((map) => without(map, structuralInput)),
    outputs: outputs.map((map) => without(map, structuralOutput)),
  };
}

function* readMaps(reader: ByteReader, kind: "input" | "output", count: number): Generator<void, PsbtMap[]> {
  const maps: PsbtMap[] = [];
  while (maps.length < count) {
    maps.push(readMap(reader, kind));
    yield;
  }
  return maps;
}

function readMap(reader: ByteReader, kind: keyof typeof psbtFieldForms): PsbtMap {
  const records: PsbtRecord[] = [];
  const seen = new Set<string>();
  for (;;) {
    const key = reader.varBytes();
    if (key.length === 0) return records;
    const keyText = bytesToHex(key);
    if (seen.has(keyText)) throw malformed("A map of the PSBT has the same key twice (BIP-174).");
    seen.add(keyText);
    const keyReader = new ByteReader(key);
    const type = keyReader.compactSize();
    const keyData = keyReader.bytes(keyReader.remaining);
    const value = reader.varBytes();
    const form = psbtFieldForms[kind].get(type);
    if (form !== undefined && !(form.key(keyData) && form.value(value))) {
      throw malformed(`The ${kind} field 0x${type.toString(16).padStart(2, "0")} of the PSBT is damaged.`);
    }
    records.push({ type, keyData, value });
  }
}

interface Head {
  readonly inputs: number;
  readonly outputs: number;
  readonly transaction?: UnsignedTransaction;
}

function readHeadV0(global: PsbtMap): Head {
  const bytes = psbtValue(global, psbtGlobalType.unsignedTransaction);
  if (bytes === undefined)
    throw malformed("A PSBT of version 0 carries its unsigned transaction, and this does not.");
  let raw: ReturnType<typeof RawOldTx.decode>;
  try {
    raw = RawOldTx.decode(bytes);
  } catch (cause) {
    throw malformed("The unsigned transaction of the PSBT can't be read.", cause);
  }
  if (raw.inputs.some((input) => input.finalScriptSig.length > 0)) {
    throw malformed("The unsigned transaction of a PSBT has empty scriptSigs (BIP-174).");
  }
  const transaction = {
    version: raw.version,
    lockTime: raw.lockTime,
    inputs: raw.inputs.map((input) => ({
      txid: txidSchema.parse(bytesToHex(input.txid)),
      vout: input.index,
      sequence: input.sequence,
    })),
    outputs: raw.outputs.map((output) => ({ amountSats: output.amount, script: output.script })),
  };
  return { inputs: raw.inputs.length, outputs: raw.outputs.length, transaction };
}

function readHeadV2(global: PsbtMap): Head {
  if (psbtValue(global, psbtGlobalType.unsignedTransaction) !== undefined) {
    throw malformed("A PSBT of version 2 carries no unsigned transaction (BIP-370).");
  }
  const inputs = psbtValue(global, psbtGlobalType.inputCount);
  const outputs = psbtValue(global, psbtGlobalType.outputCount);
  if (inputs === undefined || outputs === undefined) {
    throw malformed("A PSBT of version 2 counts its inputs and outputs (BIP-370).");
  }
  const counts = {
    inputs: new ByteReader(inputs).compactSize(),
    outputs: new ByteReader(outputs).compactSize(),
  };
  // Every map takes a byte at least: a larger count is a lie that would only cost memory.
  if (counts.inputs + counts.outputs > MAX_PSBT_BYTES)
    throw malformed("The PSBT counts more maps than it can hold.");
  return counts;
}

function transactionOfV2(
  global: PsbtMap,
  inputs: readonly PsbtMap[],
  outputs: readonly PsbtMap[],
): UnsignedTransaction {
  const version = u32(global, psbtGlobalType.transactionVersion);
  if (version === undefined) throw malformed("A PSBT of version 2 names its transaction version (BIP-370).");
  return {
    version: version | 0,
    lockTime: requiredLockTime(inputs) ?? u32(global, psbtGlobalType.fallbackLockTime) ?? 0,
    inputs: inputs.map((map): TransactionInput => {
      const txid = psbtValue(map, psbtInputType.previousTxid);
      const vout = u32(map, psbtInputType.outputIndex);
      if (txid === undefined || vout === undefined)
        throw malformed("An input of the PSBT names no coin (BIP-370).");
      return { txid: displayTxid(txid), vout, sequence: u32(map, psbtInputType.sequence) ?? finalSequence };
    }),
    outputs: outputs.map((map): TransactionOutput => {
      const amount = psbtValue(map, psbtOutputType.amount);
      const script = psbtValue(map, psbtOutputType.script);
      if (amount === undefined || script === undefined) {
        throw malformed("An output of the PSBT has no amount or no script (BIP-370).");
      }
      return { amountSats: new ByteReader(amount).u64(), script };
    }),
  };
}

/** Locktime that the inputs of a PSBT v2 ask for: the highest, heights before times (BIP-370). */
function requiredLockTime(inputs: readonly PsbtMap[]): number | undefined {
  const asking = inputs
    .map((map) => ({
      height: u32(map, psbtInputType.requiredHeight),
      time: u32(map, psbtInputType.requiredTime),
    }))
    .filter(({ height, time }) => height !== undefined || time !== undefined);
  if (asking.length === 0) return undefined;
  const heights = asking.flatMap(({ height }) => (height === undefined ? [] : [height]));
  if (heights.length === asking.length) return Math.max(...heights);
  const times = asking.flatMap(({ time }) => (time === undefined ? [] : [time]));
  if (times.length === asking.length) return Math.max(...times);
  throw malformed("The inputs of the PSBT ask for locktimes that exclude each other (BIP-370).");
}

function u32(map: PsbtMap, type: number): number | undefined {
  const value = psbtValue(map, type);
  return value === undefined ? undefined : new ByteReader(value).u32();
}

function displayTxid(internal: Uint8Array): Txid {
  return txidSchema.parse(bytesToHex(internal.slice().reverse()));
}

function fromBase64(text: string): Uint8Array {
  if (text.length > Math.ceil(MAX_PSBT_BYTES / 3) * 4 + 2) throw tooLarge(text.length);
  try {
    return base64.decode(text.trim());
  } catch (cause) {
    throw malformed("A PSBT in text form is base64, and this is not.", cause);
  }
}

function tooLarge(bytes: number): Error {
  return bitcoinError(
    "psbt-too-large",
    "The PSBT is larger than Cairn accepts. Spend fewer coins at a time, those from small transactions first.",
    { bytes, limit: MAX_PSBT_BYTES },
  );
}

/**
 * Binary form of `psbt`, in its own or the other version. Records come out in ascending order of their keys.
 *
 * @throws CairnError `psbt-malformed` where version 0 can't express a locktime that an input asks for,
 * `psbt-too-large`
 */
export function encodePsbt(psbt: Psbt, version: PsbtVersion = psbt.version): Uint8Array {
  const { transaction } = psbt;
  if (version === 0 && psbt.inputs.some((map) => map.some((record) => onlyV2Input.includes(record.type)))) {
    throw malformed("Version 0 can't express that an input asks for a locktime; keep version 2.");
  }
  const parts: Uint8Array[] = [magic];
  if (version === 0) {
    const kept = psbt.global.filter((record) => record.type !== psbtGlobalType.modifiable);
    parts.push(
      encodeMap([...kept, field(psbtGlobalType.unsignedTransaction, encodeUnsignedTransaction(transaction))]),
    );
    parts.push(...psbt.inputs.map(encodeMap), ...psbt.outputs.map(encodeMap));
  } else {
    parts.push(
      encodeMap([
        ...psbt.global,
        field(psbtGlobalType.transactionVersion, wire.u32(transaction.version)),
        field(psbtGlobalType.fallbackLockTime, wire.u32(transaction.lockTime)),
        field(psbtGlobalType.inputCount, wire.compactSize(transaction.inputs.length)),
        field(psbtGlobalType.outputCount, wire.compactSize(transaction.outputs.length)),
        field(psbtGlobalType.version, wire.u32(2)),
      ]),
    );
    transaction.inputs.forEach((input, i) => {
      const txid = Uint8Array.from(Buffer.from(input.txid, "hex")).reverse();
      parts.push(
        encodeMap([
          ...(psbt.inputs[i] ?? []),
          field(psbtInputType.previousTxid, txid),
          field(psbtInputType.outputIndex, wire.u32(input.vout)),
          field(psbtInputType.sequence, wire.u32(input.sequence)),
        ]),
      );
    });
    transaction.outputs.forEach((output, i) => {
      parts.push(
        encodeMap([
          ...(psbt.outputs[i] ?? []),
          field(psbtOutputType.amount, wire.u64(output.amountSats)),
          field(psbtOutputType.script, output.script),
        ]),
      );
    });
  }
  const bytes = concatBytes(...parts);
  if (bytes.length > MAX_PSBT_BYTES) throw tooLarge(bytes.length);
  return bytes;
}

function field(type: number, value: Uint8Array, keyData: Uint8Array = noKey): PsbtRecord {
  return { type, keyData, value };
}

function encodeMap(map: PsbtMap): Uint8Array {
  const sorted = [...map].sort((a, b) => a.type - b.type || Buffer.compare(a.keyData, b.keyData));
  const records = sorted.map((record) => {
    const key = concatBytes(wire.compactSize(record.type), record.keyData);
    return concatBytes(wire.varBytes(key), wire.varBytes(record.value));
  });
  return concatBytes(...records, Uint8Array.of(0));
}

/** Base64 of a binary PSBT, the form in which wallets exchange it. */
export function psbtToBase64(bytes: Uint8Array): string {
  return base64.encode(bytes);
}

/** A coin to spend, with the whole transaction that made it. */
export interface PsbtCoin {
  readonly previousTransaction: Uint8Array;
  readonly vout: number;
  readonly path: KeyPath;
}

export interface PsbtPlan {
  readonly descriptor: Descriptor;
  readonly coins: readonly PsbtCoin[];
  /** Recipients in the order of the request. */
  readonly recipients: readonly TransactionOutput[];
  /** Change to the wallet's change branch, and where it stands among the outputs (0 = first). */
  readonly change?:
    | { readonly amountSats: bigint; readonly index: number; readonly position: number }
    | undefined;
  /** What a last output carries that holds no amount: an anchor of 1..75 bytes. None by default. */
  readonly data?: Uint8Array | undefined;
  /** Block height; the tip's height keeps miners from reaching back for the fee. */
  readonly lockTime: number;
  /** 0 by default: every wallet reads it. */
  readonly version?: PsbtVersion;
}

/**
 * The PSBT of a spend: version-2 transaction, replaceable, every input with its full previous transaction (for taproot
 * too, so that nobody need believe an amount), its output and its key's derivation; the change output with its
 * derivation (BIP-174; BIP-371 fields for taproot).
 *
 * Whether nodes relay the amounts is the business of `selectCoins` and `checkPsbt`.
 *
 * @throws CairnError `output-amount`, `transaction-malformed`, `psbt-previous-output-missing`, `path-out-of-range`
 */
export function buildPsbt(plan: PsbtPlan): Psbt {
  const { descriptor, coins, recipients, change } = plan;
  for (const { amountSats } of [...recipients, ...(change === undefined ? [] : [change])]) {
    // Beyond these bounds the wire format would carry another amount.
    if (amountSats < 0n || amountSats > MAX_MONEY) {
      throw bitcoinError(
        "output-amount",
        "An output holds nothing less than 0 and no more than all bitcoin.",
        {
          amountSats: amountSats.toString(),
        },
      );
    }
  }
  const inputs = coins.map((coin) => {
    const previous = parseTransaction(coin.previousTransaction);
    const output = previous.outputs[coin.vout];
    if (output === undefined) {
      throw bitcoinError(
        "psbt-previous-output-missing",
        "A coin names an output that its transaction does not have. Scan the wallet again.",
        { txid: previous.txid, vout: coin.vout },
      );
    }
    const witnessUtxo = concatBytes(wire.u64(output.amountSats), wire.varBytes(output.script));
    const map: PsbtMap = [
      field(psbtInputType.nonWitnessUtxo, coin.previousTransaction),
      field(psbtInputType.witnessUtxo, witnessUtxo),
      ...(descriptor.kind === "wpkh" ? [field(psbtInputType.sighashType, wire.u32(1))] : []),
      ...psbtDerivation(descriptor, coin.path, "input"),
    ];
    return { map, input: { txid: previous.txid, vout: coin.vout, sequence: PSBT_SEQUENCE } };
  });
  const outputs: { output: TransactionOutput; map: PsbtMap }[] = recipients.map((output) => ({
    output,
    map: [],
  }));
  if (change !== undefined) {
    const path = [1, change.index] as const;
    outputs.splice(change.position, 0, {
      output: { amountSats: change.amountSats, script: deriveKey(descriptor, path).script },
      map: psbtDerivation(descriptor, path, "output"),
    });
  }
  if (plan.data !== undefined)
    outputs.push({ output: { amountSats: 0n, script: dataOutputScript(plan.data) }, map: [] });
  return {
    version: plan.version ?? 0,
    transaction: {
      version: 2,
      lockTime: plan.lockTime,
      inputs: inputs.map(({ input }) => input),
      outputs: outputs.map(({ output }) => output),
    },
    global: [],
    inputs: inputs.map(({ map }) => map),
    outputs: outputs.map(({ map }) => map),
  };
}

/**
 * The records by which an input or output map names a key of the wallet: BIP-174 derivation for `wpkh`; BIP-371 internal
 * key and derivation without leaf hashes for `tr`.
 */
export function psbtDerivation(descriptor: Descriptor, path: KeyPath, map: "input" | "output"): PsbtMap {
  const key = deriveKey(descriptor, path);
  const origin = fullDerivation(descriptor, path);
  const derivation = concatBytes(origin.fingerprint, ...origin.path.map((step) => wire.u32(step)));
  const types = map === "input" ? psbtInputType : psbtOutputType;
  return descriptor.kind === "wpkh"
    ? [field(types.derivation, derivation, key.publicKey)]
    : [
        field(types.tapDerivation, concatBytes(wire.compactSize(0), derivation), key.xOnlyKey),
        field(types.tapInternalKey, key.xOnlyKey),
      ];
}
