import {
  type Checkpoint,
  type KeyPath,
  MAX_MONEY,
  type Outpoint,
  outpointText,
  type Sats,
  type SpendRequest,
  satsSchema,
  type Txid,
} from "@cairn/core";
import { equalBytes } from "@noble/curves/utils.js";
import { decodeAddress, encodeAddress } from "./address.ts";
import { anchoredIn } from "./anchored-in.ts";
import { type BitcoinErrorReason, bitcoinError } from "./bitcoin-error.ts";
import { ByteReader } from "./byte-reader.ts";
import { MAX_STANDARD_WEIGHT } from "./coin-selection.ts";
import { readDataOutput } from "./data-output.ts";
import { type DerivedKey, type Descriptor, deriveKey, fullDerivation } from "./descriptor.ts";
import { dustThreshold } from "./dust.ts";
import { feeFor, feeRatePerKvb } from "./fee-rate.ts";
import { atOnce, inTurns } from "./in-turns.ts";
import { PSBT_SEQUENCE, type Psbt, type PsbtMap, parsingPsbt, psbtRecords, psbtValue } from "./psbt.ts";
import { psbtGlobalType, psbtInputType, psbtOutputType } from "./psbt-field.ts";
import { type Sighash, SighashBuilder } from "./sighash.ts";
import {
  parseTransaction,
  type TransactionOutput,
  type UnsignedTransaction,
  unsignedTransactionId,
} from "./transaction.ts";
import { transactionWeight, virtualSize } from "./transaction-size.ts";

/** How far past the next unused index a key may lie, so that a wallet restored elsewhere still finds it (BIP-44). */
export const GAP_LIMIT = 20;

/** Bitcoin Core 29 relays nothing below 0.1 sat/vB; a spend that pays less only ties up its coins. */
const relayFloor = feeRatePerKvb(100n);

/** Locktimes from here on are times, not heights. */
const locktimeThreshold = 500_000_000;

/** What a PSBT is held against. All of it is the checking node's own knowledge. */
export interface PsbtRules {
  readonly descriptor: Descriptor;
  /** What the owner signed. */
  readonly request: Pick<SpendRequest, "network" | "wallet" | "outputs" | "maxFeeSats">;
  /** The checkpoint that the last output must anchor; where none is named, there must be no such output. */
  readonly anchor?: Checkpoint | null;
  /** Height of the best block this node knows. */
  readonly tipHeight: number;
  /** First index of the change branch that this node has never seen used. */
  readonly nextChangeIndex: number;
}

export interface CheckedInput {
  readonly outpoint: Outpoint;
  readonly amountSats: Sats;
  readonly script: Uint8Array;
  readonly path: KeyPath;
  /** What the signature must verify under: 33 bytes for `wpkh`, 32 for `tr`. */
  readonly signingKey: Uint8Array;
  readonly sighash: Sighash;
}

export interface CheckedOutput {
  readonly address: string;
  readonly amountSats: Sats;
  readonly script: Uint8Array;
}

/** A PSBT that does what its request asks, and nothing else. */
export interface CheckedSpend {
  readonly psbt: Psbt;
  /** Does not change when signatures are added: every input is native segwit. */
  readonly txid: Txid;
  readonly inputs: readonly CheckedInput[];
  /** All outputs in order, change included, without the anchor, which comes after them. */
  readonly outputs: readonly CheckedOutput[];
  readonly change:
    | {
        readonly position: number;
        readonly path: KeyPath;
        readonly amountSats: Sats;
        readonly address: string;
      }
    | undefined;
  readonly feeSats: Sats;
  /** Most that the signed transaction can measure, in virtual bytes. */
  readonly vsize: number;
}

/**
 * Holds a PSBT against the request it claims to carry out (architecture §5.3). It passes only if
 *
 * - the request names this wallet and network, and the recipients and amounts are exactly the request's, in its order;
 * - beside them there is one change output at most, on the change branch, no further than the gap, above dust, and as the last one
 *   exactly the anchor that the rules name, without an amount, where they name one;
 * - every input spends an output of this wallet, named once, with the full previous transaction that hashes to the
 *   outpoint's id; amounts and scripts come from there, and the witness UTXO agrees;
 * - version 2, every sequence 0xfffffffd, a locktime in blocks no higher than the tip;
 * - nothing asks for another sighash type than ALL (`wpkh`) or DEFAULT (`tr`);
 * - the fee is within the request's maximum and above what nodes relay, the weight within what they relay;
 * - there are no signatures yet, and no fields that this check does not understand.
 *
 * @param bytes binary PSBT of version 0 or 2, or its base64
 * @throws CairnError, each violation under its own reason (`error.data.reason`)
 */
export function checkPsbt(bytes: Uint8Array | string, rules: PsbtRules): CheckedSpend {
  return atOnce(checking(bytes, rules));
}

/** Steps before the event loop gets a turn. Each input takes three: reading, checking, its sighash; a millisecond at most. */
const STEPS_PER_TURN = 32;

/** {@link checkPsbt}, a few inputs at a time, so that a PSBT of hundreds does not hold up everything else. */
export function checkPsbtInTurns(bytes: Uint8Array | string, rules: PsbtRules): Promise<CheckedSpend> {
  return inTurns(checking(bytes, rules), STEPS_PER_TURN);
}

function* checking(bytes: Uint8Array | string, rules: PsbtRules): Generator<void, CheckedSpend> {
  const { descriptor, request } = rules;
  if (request.network !== descriptor.network) {
    throw reject(
      "psbt-wrong-network",
      `The request is for ${request.network}, the wallet lives on ${descriptor.network}.`,
    );
  }
  if (request.wallet !== descriptor.wallet) {
    throw reject("psbt-wrong-wallet", "The request names another wallet.");
  }
  const psbt = yield* parsingPsbt(bytes);
  checkGlobal(psbt);
  checkFrame(psbt.transaction, rules.tipHeight);
  const inputs: OwnInput[] = [];
  for (const [i, map] of psbt.inputs.entries()) {
    inputs.push(checkInput(psbt, map, i, descriptor));
    yield;
  }
  const outputs = splitAnchor(psbt, rules.anchor ?? null);
  const change = checkOutputs(outputs, psbt, rules);

  const spent = inputs.reduce((sum, input) => sum + input.amountSats, 0n);
  const paid = psbt.transaction.outputs.reduce((sum, output) => sum + output.amountSats, 0n);
  const fee = spent - paid;
  if (fee < 0n) throw reject("psbt-fee-negative", "The outputs are worth more than the inputs.");
  if (fee > request.maxFeeSats) {
    throw reject(
      "psbt-fee-above-maximum",
      "The fee is higher than the request allows. Raise its maximum, or lower the rate.",
      {
        feeSats: fee.toString(),
        maxFeeSats: request.maxFeeSats.toString(),
      },
    );
  }
  const scripts = psbt.transaction.outputs.map((output) => output.script);
  const weight = transactionWeight(descriptor.kind, inputs.length, scripts);
  if (weight > MAX_STANDARD_WEIGHT) {
    throw reject("psbt-weight", "The transaction is heavier than nodes relay. Spend fewer coins at a time.", {
      weight,
    });
  }
  const vsize = virtualSize(weight);
  if (fee < feeFor(vsize, relayFloor)) {
    throw reject("psbt-fee-below-relay", "No node would relay a transaction with so low a fee.", {
      feeSats: fee.toString(),
      vsize,
    });
  }

  const builder = new SighashBuilder(psbt.transaction, inputs);
  const checked: CheckedInput[] = [];
  for (const [i, { outpoint, amountSats, script, key }] of inputs.entries()) {
    const sighash = descriptor.kind === "wpkh" ? builder.segwitV0(i) : builder.taprootKeyPath(i);
    const { path, signingKey } = key;
    checked.push({ outpoint, amountSats: toSats(amountSats), script, path, signingKey, sighash });
    yield;
  }
  return {
    psbt,
    txid: unsignedTransactionId(psbt.transaction),
    inputs: checked,
    outputs: outputs.map(({ amountSats, script }) => ({
      // Recipients were decoded from addresses, and change is the wallet's: each has one.
      address: encodeAddress(script, descriptor.network) ?? "",
      amountSats: toSats(amountSats),
      script,
    })),
    change,
    feeSats: toSats(fee),
    vsize,
  };
}

function reject(
  reason: BitcoinErrorReason,
  message: string,
  data: Readonly<Record<string, string | number>> = {},
): Error {
  return bitcoinError(reason, message, data);
}

function toSats(amount: bigint): Sats {
  return satsSchema.parse(amount);
}

function checkGlobal(psbt: Psbt): void {
  for (const { type, value } of psbt.global) {
    switch (type) {
      case psbtGlobalType.extendedKey:
        // Says where keys come from; this check derives them itself.
        break;
      case psbtGlobalType.modifiable:
        if (value[0] !== 0) {
          throw reject(
            "psbt-modifiable",
            "The PSBT is marked as unfinished: inputs or outputs may still be added.",
          );
        }
        break;
      default:
        throw unknownField("global", type);
    }
  }
}

function unknownField(where: string, type: number, position?: number): Error {
  return reject(
    "psbt-unknown-field",
    "The PSBT has a field that Cairn does not know, and which could change what a signature means. Export it without extensions.",
    { where, type, ...(position === undefined ? {} : { position }) },
  );
}

function checkFrame(transaction: UnsignedTransaction, tipHeight: number): void {
  const { version, lockTime, inputs } = transaction;
  if (version !== 2) {
    throw reject("psbt-transaction-version", "Cairn signs transactions of version 2 only.", { version });
  }
  if (lockTime >= locktimeThreshold || lockTime > tipHeight) {
    throw reject("psbt-locktime", "The transaction is locked until later than the best block.", {
      lockTime,
      tipHeight,
    });
  }
  if (inputs.length === 0) throw reject("psbt-no-inputs", "The transaction spends nothing.");
  const seen = new Set<string>();
  inputs.forEach((input, i) => {
    const text = outpointText(input);
    if (seen.has(text)) {
      throw reject("psbt-duplicate-input", "The transaction spends the same coin twice.", { input: i });
    }
    seen.add(text);
    if (input.sequence !== PSBT_SEQUENCE) {
      throw reject(
        "psbt-sequence",
        "Every input has the sequence 0xfffffffd: replaceable, without a relative lock.",
        {
          input: i,
          sequence: input.sequence,
        },
      );
    }
  });
}

const signatureTypes: readonly number[] = [
  psbtInputType.partialSignature,
  psbtInputType.finalScriptSig,
  psbtInputType.finalScriptWitness,
  psbtInputType.tapKeySignature,
  psbtInputType.tapScriptSignature,
];
const knownInputTypes: readonly number[] = Object.values(psbtInputType);
const knownOutputTypes: readonly number[] = Object.values(psbtOutputType);

interface OwnInput extends TransactionOutput {
  readonly outpoint: Outpoint;
  readonly key: DerivedKey;
}

function checkInput(psbt: Psbt, map: PsbtMap, position: number, descriptor: Descriptor): OwnInput {
  const at = { input: position };
  const taproot = descriptor.kind === "tr";
  const expectedTypes: readonly number[] = [
    psbtInputType.nonWitnessUtxo,
    psbtInputType.witnessUtxo,
    psbtInputType.sighashType,
    ...(taproot ? [psbtInputType.tapDerivation, psbtInputType.tapInternalKey] : [psbtInputType.derivation]),
  ];
  for (const { type } of map) {
    if (signatureTypes.includes(type)) {
      throw reject(
        "psbt-already-signed",
        "An input carries a signature already. Hand in the unsigned PSBT.",
        at,
      );
    }
    if (!knownInputTypes.includes(type)) throw unknownField("input", type, position);
    if (!expectedTypes.includes(type)) {
      throw reject("psbt-unexpected-field", "An input has a field that a coin of this wallet can't need.", {
        ...at,
        type,
      });
    }
  }

  const sighashType = psbtValue(map, psbtInputType.sighashType);
  if (sighashType !== undefined && new ByteReader(sighashType).u32() !== (taproot ? 0 : 1)) {
    throw reject(
      "psbt-sighash-type",
      `Cairn signs the whole transaction only: SIGHASH ${taproot ? "DEFAULT" : "ALL"}.`,
      at,
    );
  }

  const outpoint = psbt.transaction.inputs[position];
  if (outpoint === undefined) throw new RangeError("a PSBT has one map for each input");
  const output = previousOutput(map, outpoint, position);
  const key = inputKey(map, descriptor, position);
  if (!equalBytes(output.script, key.script)) {
    throw reject("psbt-input-not-ours", "An input spends a coin that its derivation does not lead to.", at);
  }
  return { ...output, outpoint: { txid: outpoint.txid, vout: outpoint.vout }, key };
}

/** The output an input spends, taken from the full previous transaction, which hashes to the outpoint's id. */
function previousOutput(map: PsbtMap, outpoint: Outpoint, position: number): TransactionOutput {
  const at = { input: position, outpoint: outpointText(outpoint) };
  const raw = psbtValue(map, psbtInputType.nonWitnessUtxo);
  if (raw === undefined) {
    throw reject(
      "psbt-previous-transaction-missing",
      "An input lacks its full previous transaction, which alone proves its amount. Export the PSBT with it.",
      at,
    );
  }
  const previous = parseTransaction(raw);
  if (previous.txid !== outpoint.txid) {
    throw reject(
      "psbt-previous-transaction-mismatch",
      "The previous transaction of an input is another one.",
      at,
    );
  }
  const output = previous.outputs[outpoint.vout];
  if (output === undefined) {
    throw reject(
      "psbt-previous-output-missing",
      "The previous transaction of an input has no such output.",
      at,
    );
  }
  if (output.amountSats > MAX_MONEY) {
    throw reject("psbt-amount-out-of-range", "A previous output holds more than all bitcoin.", at);
  }
  const witnessUtxo = psbtValue(map, psbtInputType.witnessUtxo);
  if (witnessUtxo === undefined) {
    throw reject("psbt-witness-utxo-missing", "An input lacks its witness UTXO (BIP-174).", at);
  }
  const reader = new ByteReader(witnessUtxo);
  if (reader.u64() !== output.amountSats || !equalBytes(reader.varBytes(), output.script)) {
    throw reject(
      "psbt-witness-utxo-mismatch",
      "An input's witness UTXO says something else than its previous transaction.",
      at,
    );
  }
  return output;
}

function inputKey(map: PsbtMap, descriptor: Descriptor, position: number): DerivedKey {
  const key = declaredKey(map, descriptor, "input");
  if (key === "missing") {
    throw reject("psbt-input-derivation-missing", "An input does not say which key of the wallet it needs.", {
      input: position,
    });
  }
  if (key === "wrong") {
    throw reject(
      "psbt-input-derivation-wrong",
      "An input's derivation does not lead to its key in this wallet.",
      {
        input: position,
      },
    );
  }
  return key;
}

/** The wallet's key that a map declares by its derivation fields; `wrong` where they contradict the descriptor. */
function declaredKey(
  map: PsbtMap,
  descriptor: Descriptor,
  kind: "input" | "output",
): DerivedKey | "missing" | "wrong" {
  const types = kind === "input" ? psbtInputType : psbtOutputType;
  const taproot = descriptor.kind === "tr";
  const [record, another] = psbtRecords(map, taproot ? types.tapDerivation : types.derivation);
  const internalKey = psbtValue(map, types.tapInternalKey);
  if (record === undefined || (taproot && internalKey === undefined)) return "missing";
  if (another !== undefined) return "wrong";
  const reader = new ByteReader(record.value);
  // Leaf hashes belong to script paths, and this wallet has none.
  if (taproot && reader.compactSize() !== 0) return "wrong";
  const fingerprint = reader.bytes(4);
  const steps = Array.from({ length: Math.floor(reader.remaining / 4) }, () => reader.u32());
  const [change, index] = steps.slice(-2);
  if ((change !== 0 && change !== 1) || index === undefined || index > 0x7fffffff) return "wrong";
  const path: KeyPath = [change, index];
  const full = fullDerivation(descriptor, path);
  const samePath = full.path.length === steps.length && full.path.every((step, i) => step === steps[i]);
  if (!samePath || !equalBytes(fingerprint, full.fingerprint)) return "wrong";
  const key = deriveKey(descriptor, path);
  const declared = taproot ? key.xOnlyKey : key.publicKey;
  if (!equalBytes(record.keyData, declared)) return "wrong";
  if (internalKey !== undefined && !equalBytes(internalKey, key.xOnlyKey)) return "wrong";
  return key;
}

/** The outputs but the anchor, which must be the last where there is to be one. */
function splitAnchor(psbt: Psbt, anchor: Checkpoint | null): readonly TransactionOutput[] {
  const { outputs } = psbt.transaction;
  if (anchor === null) return outputs;
  const last = outputs.at(-1);
  if (last === undefined || readDataOutput(last.script) === null)
    throw reject(
      "psbt-anchor-missing",
      "The transaction's last output is no anchor, though it is to carry one.",
    );
  if (!anchoredIn(psbt.transaction, anchor)) {
    throw reject(
      "psbt-anchor-changed",
      "The last output carries other data than the checkpoint's anchor, or an amount.",
      { output: outputs.length - 1 },
    );
  }
  return outputs.slice(0, -1);
}

function checkOutputs(
  outputs: readonly TransactionOutput[],
  psbt: Psbt,
  rules: PsbtRules,
): CheckedSpend["change"] {
  const { descriptor, request, nextChangeIndex } = rules;
  const wanted = request.outputs.map((output) => ({
    script: decodeAddress(output.address, request.network).script,
    amountSats: BigInt(output.amountSats),
  }));
  outputs.forEach((output, i) => {
    if (output.amountSats > MAX_MONEY) {
      throw reject("psbt-amount-out-of-range", "An output holds more than all bitcoin.", { output: i });
    }
  });
  if (outputs.length < wanted.length) {
    throw reject("psbt-recipient-missing", "The transaction leaves out a recipient of the request.");
  }
  if (outputs.length > wanted.length + 1) {
    throw reject("psbt-too-many-outputs", "Beside the request's recipients there may be one change output.");
  }
  const position =
    outputs.length === wanted.length ? undefined : changePosition(outputs, wanted, psbt, descriptor);
  const recipients = outputs.filter((_, i) => i !== position);
  recipients.forEach((output, i) => {
    const want = wanted[i];
    if (want === undefined || !equalBytes(output.script, want.script)) {
      throw reject(
        "psbt-recipient-changed",
        "An output does not pay the recipient that the request names there.",
        {
          recipient: i,
        },
      );
    }
    if (output.amountSats !== want.amountSats) {
      throw reject("psbt-amount-changed", "An output does not pay the amount that the request names.", {
        recipient: i,
      });
    }
    if (output.amountSats < dustThreshold(output.script) || output.amountSats === 0n) {
      throw reject("output-dust", "The request pays an amount that no node relays.", { recipient: i });
    }
  });
  psbt.outputs.forEach((map, i) => {
    checkOutputFields(map, psbt.transaction.outputs[i], i, descriptor);
  });
  if (position === undefined) return undefined;
  return checkChange(psbt, position, descriptor, nextChangeIndex);
}

/** The output without which the others are the request; where several would do, they are equal or the last decides. */
function changePosition(
  outputs: readonly TransactionOutput[],
  wanted: readonly TransactionOutput[],
  psbt: Psbt,
  descriptor: Descriptor,
): number {
  const matchesWithout = (position: number) => {
    const rest = outputs.filter((_, i) => i !== position);
    return rest.every((output, i) => {
      const want = wanted[i];
      return (
        want !== undefined && output.amountSats === want.amountSats && equalBytes(output.script, want.script)
      );
    });
  };
  const positions = outputs.map((_, i) => i).filter(matchesWithout);
  // Equal neighbours can each stand for the other: the one that declares a change key is meant.
  const declared = positions.filter((i) => {
    const key = declaredKey(psbt.outputs[i] ?? [], descriptor, "output");
    return typeof key === "object" && key.path[0] === 1;
  });
  const position = declared[0] ?? positions[0];
  if (position !== undefined) return position;
  // No position fits: name the first recipient that is not where it should be.
  const ownOnes = outputs.flatMap((_, i) =>
    typeof declaredKey(psbt.outputs[i] ?? [], descriptor, "output") === "object" ? [i] : [],
  );
  return ownOnes[0] ?? outputs.length - 1;
}

function checkOutputFields(
  map: PsbtMap,
  output: TransactionOutput | undefined,
  position: number,
  descriptor: Descriptor,
): void {
  const at = { output: position };
  const derivationTypes: readonly number[] =
    descriptor.kind === "tr"
      ? [psbtOutputType.tapDerivation, psbtOutputType.tapInternalKey]
      : [psbtOutputType.derivation];
  for (const { type } of map) {
    if (!knownOutputTypes.includes(type)) throw unknownField("output", type, position);
    if (!derivationTypes.includes(type)) {
      throw reject("psbt-unexpected-field", "An output has a field that this wallet's outputs can't need.", {
        ...at,
        type,
      });
    }
  }
  if (map.length === 0) return;
  // A label that lies would make a hardware signer or a person take an output for the wallet's own.
  const key = declaredKey(map, descriptor, "output");
  if (typeof key === "string" || output === undefined || !equalBytes(key.script, output.script)) {
    throw reject(
      "psbt-output-derivation-wrong",
      "An output claims a key of this wallet that it does not pay to.",
      at,
    );
  }
}

function checkChange(
  psbt: Psbt,
  position: number,
  descriptor: Descriptor,
  next: number,
): CheckedSpend["change"] {
  const output = psbt.transaction.outputs[position];
  const map = psbt.outputs[position];
  if (output === undefined || map === undefined) throw new RangeError("a PSBT has one map for each output");
  const at = { output: position };
  const key = declaredKey(map, descriptor, "output");
  if (typeof key === "string") {
    throw reject(
      "psbt-change-derivation-missing",
      "Beside the recipients there is an output that does not show itself as this wallet's change.",
      at,
    );
  }
  const [branch, index] = key.path;
  if (branch !== 1) {
    throw reject(
      "psbt-change-wrong-branch",
      "The change goes to a receive address; it belongs on the change branch.",
      at,
    );
  }
  if (index >= next + GAP_LIMIT) {
    throw reject(
      "psbt-change-beyond-gap",
      "The change goes to an address so far ahead that a restored wallet would not find it.",
      { ...at, index, nextChangeIndex: next, gapLimit: GAP_LIMIT },
    );
  }
  const least = dustThreshold(output.script);
  if (output.amountSats < least) {
    throw reject(
      "psbt-change-dust",
      "The change is so small that no node relays it; leave it to the fee.",
      at,
    );
  }
  return { position, path: key.path, amountSats: toSats(output.amountSats), address: key.address };
}
