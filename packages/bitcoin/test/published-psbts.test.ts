import assert from "node:assert/strict";
import { test } from "node:test";
import { txidSchema } from "@cairn/core";
import { base64 } from "@scure/base";
import {
  type BitcoinErrorReason,
  bitcoinErrorReason,
  checkPsbt,
  encodePsbt,
  encodeUnsignedTransaction,
  PSBT_SEQUENCE,
  type Psbt,
  type PsbtMap,
  parsePsbt,
  parseTransaction,
  psbtToBase64,
  psbtValue,
  wire,
} from "../src/index.ts";
import { throwsReason } from "./assert-reason.ts";
import { rulesFor, strangerKey, testWallet } from "./test-wallet.ts";
import bip174 from "./vectors/bip174.json" with { type: "json" };
import bip371 from "./vectors/bip371.json" with { type: "json" };

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));
const standards = [
  { standard: "BIP-174", vectors: bip174 },
  { standard: "BIP-371", vectors: bip371 },
];

for (const { standard, vectors } of standards) {
  for (const { name, psbt } of vectors.invalid) {
    test(`${standard}: refuses: ${name}`, () => {
      throwsReason(() => parsePsbt(psbt), "psbt-malformed");
      throwsReason(() => parsePsbt(base64.decode(psbt)), "psbt-malformed");
    });
  }
  for (const { name, psbt } of vectors.valid) {
    test(`${standard}: reads, and writes byte for byte: ${name}`, () => {
      assert.equal(psbtToBase64(encodePsbt(parsePsbt(psbt))), psbt);
      assert.equal(psbtToBase64(encodePsbt(parsePsbt(base64.decode(psbt)))), psbt);
    });
  }
}

const unsignedOf = (vector: string) => parsePsbt(vector).transaction;

test("BIP-174: refuses a value that is not of its stated size", () => {
  const [valid] = bip174.valid;
  assert.ok(valid);
  const whole = base64.decode(valid.psbt);
  // After the magic: a key of one byte, type 0, then the length of the unsigned transaction.
  for (const delta of [-1, 1, 50]) {
    const copy = whole.slice();
    copy[7] = (copy[7] ?? 0) + delta;
    throwsReason(() => parsePsbt(copy), "psbt-malformed");
  }
});

test("BIP-174: reads a PSBT of a transaction without inputs", () => {
  const [valid] = bip174.valid;
  assert.ok(valid);
  const transaction = { ...unsignedOf(valid.psbt), inputs: [] };
  // A transaction without inputs looks like the marker of a segwit one; inside a PSBT there are no witnesses.
  const value = wire.varBytes(encodeUnsignedTransaction(transaction));
  const encoded = Uint8Array.of(0x70, 0x73, 0x62, 0x74, 0xff, 1, 0, ...value, 0, 0, 0);
  const parsed = parsePsbt(encoded);
  assert.deepEqual(parsed.transaction, transaction);
  assert.deepEqual(encodePsbt(parsed), encoded);
});

test("BIP-174: the creator's PSBT comes out of its inputs and outputs", () => {
  const { inputs, outputs } = bip174.created;
  const created: Psbt = {
    version: 0,
    transaction: {
      version: 2,
      lockTime: 0,
      inputs: inputs.map(({ txid, vout }) => ({ txid: txidSchema.parse(txid), vout, sequence: 0xffffffff })),
      outputs: outputs.map(({ script, amountSats }) => ({
        script: bytes(script),
        amountSats: BigInt(amountSats),
      })),
    },
    global: [],
    inputs: inputs.map(() => []),
    outputs: outputs.map(() => []),
  };
  assert.equal(psbtToBase64(encodePsbt(created)), roleOf("creator"));
});

function roleOf(name: string): string {
  const role = bip174.roles.find((entry) => entry.name === name);
  if (role === undefined) throw new Error(`the vectors have no PSBT of the ${name}`);
  return role.psbt;
}

const sorted = (map: PsbtMap) =>
  [...map].sort((a, b) => a.type - b.type || Buffer.compare(a.keyData, b.keyData));

for (const { name, psbt } of bip174.roles) {
  test(`BIP-174: the PSBT of the ${name} is read whole, and written with its keys in order`, () => {
    const parsed = parsePsbt(psbt);
    const again = parsePsbt(encodePsbt(parsed));
    assert.deepEqual(again, {
      ...parsed,
      inputs: parsed.inputs.map(sorted),
      outputs: parsed.outputs.map(sorted),
    });
    // One published PSBT keeps its signatures in the order in which they came.
    if (name !== "combiner") assert.equal(psbtToBase64(encodePsbt(parsed)), psbt);
  });
}

/** What a combiner does: the records of both, each key once. */
function combined(a: Psbt, b: Psbt): Psbt {
  const keyOf = (record: PsbtMap[number]) => `${record.type}/${Buffer.from(record.keyData).toString("hex")}`;
  const merge = (one: PsbtMap, other: PsbtMap = []) => [
    ...new Map([...one, ...other].map((record) => [keyOf(record), record])).values(),
  ];
  return {
    ...a,
    global: merge(a.global, b.global),
    inputs: a.inputs.map((map, i) => merge(map, b.inputs[i])),
    outputs: a.outputs.map((map, i) => merge(map, b.outputs[i])),
  };
}

test("BIP-174: two PSBTs combine record by record to the published one", () => {
  for (const [first, second, both] of [
    ["first signer", "second signer", "combiner"],
    ["first of two with unknown keys", "second of two with unknown keys", "combiner of unknown keys"],
  ] as const) {
    const merged = combined(parsePsbt(roleOf(first)), parsePsbt(roleOf(second)));
    assert.deepEqual(encodePsbt(merged), encodePsbt(parsePsbt(roleOf(both))));
  }
});

test("BIP-174: the extracted transaction has the inputs and outputs of its PSBT", () => {
  const extracted = parseTransaction(bytes(bip174.extracted));
  const final = parsePsbt(roleOf("input finaliser"));
  const { version, lockTime, inputs, outputs } = extracted;
  assert.deepEqual({ version, lockTime, inputs, outputs }, final.transaction);
  assert.deepEqual(
    final.inputs.map((map) => {
      const stack = psbtValue(map, 0x08);
      return stack === undefined ? "" : Buffer.from(stack).toString("hex");
    }),
    extracted.witnesses.map((items) =>
      items.length === 0
        ? ""
        : Buffer.concat([wire.compactSize(items.length), ...items.map(wire.varBytes)]).toString("hex"),
    ),
  );
});

/**
 * The decoder takes every valid PSBT; the check before signing takes none of these, for it signs coins of its own wallet
 * only. Each reason is the first rule that refuses one of them, once the frame is such as Cairn makes.
 */
const refusals: readonly BitcoinErrorReason[] = [
  // A field that Cairn does not know could change what a signature means.
  "psbt-unknown-field",
  // Redeem and witness scripts, script trees and keys of another kind belong to coins that no wallet here has.
  "psbt-unexpected-field",
  // Signatures come from the threshold engine only; one that is there already hides what it covers.
  "psbt-already-signed",
  // Without the whole previous transaction, an amount is only somebody's word.
  "psbt-previous-transaction-missing",
  // A coin without witness UTXO is no segwit coin.
  "psbt-witness-utxo-missing",
  // SIGHASH_ALL in a taproot input: the wallet signs DEFAULT there.
  "psbt-sighash-type",
  // Nothing to sign.
  "psbt-no-inputs",
];

/** The same PSBT with the version, locktime and sequences that Cairn asks for, so that the rules behind them decide. */
function framed(psbt: Psbt): Uint8Array {
  const { transaction } = psbt;
  const inputs = transaction.inputs.map((input) => ({ ...input, sequence: PSBT_SEQUENCE }));
  return encodePsbt({ ...psbt, transaction: { ...transaction, version: 2, lockTime: 0, inputs } });
}

test("the check before signing refuses every published PSBT, each by a rule that is named here", () => {
  const seen = new Set<BitcoinErrorReason | undefined>();
  for (const { name, psbt } of [...bip174.signerFails, ...bip174.valid, ...bip174.roles, ...bip371.valid]) {
    for (const kind of ["wpkh", "tr"] as const) {
      const { descriptor } = testWallet(kind);
      const rules = rulesFor(descriptor, [{ address: strangerKey(kind, 1).address, amountSats: 50_000n }]);
      const reasonFor = (given: Uint8Array | string) => {
        try {
          checkPsbt(given, rules);
        } catch (error) {
          return bitcoinErrorReason(error);
        }
        return undefined;
      };
      assert.ok(reasonFor(psbt), name);
      const reason = reasonFor(framed(parsePsbt(psbt)));
      seen.add(reason);
    }
  }
  assert.deepEqual([...seen].sort(), [...refusals].sort());
});
