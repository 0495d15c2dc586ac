import assert from "node:assert/strict";
import { test } from "node:test";
import * as btc from "@scure/btc-signer";
import fc from "fast-check";
import {
  bitcoinErrorReason,
  buildPsbt,
  type DescriptorKind,
  encodePsbt,
  encodeUnsignedTransaction,
  MAX_PSBT_BYTES,
  type Psbt,
  type PsbtMap,
  type PsbtRecord,
  parsePsbt,
  psbtToBase64,
  unsignedTransactionId,
  wire,
} from "../src/index.ts";
import { throwsReason } from "./assert-reason.ts";
import { fundedChain, strangerKey, testWallet } from "./test-wallet.ts";
import fields from "./vectors/bip370.json" with { type: "json" };

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));

for (const { name, psbt } of fields.published) {
  test(`BIP-370: refuses a PSBT with ${name}`, () => {
    throwsReason(() => parsePsbt(psbt), "psbt-malformed");
  });
}

function samplePsbt(kind: DescriptorKind, coinCount = 2, change = true): Psbt {
  const { descriptor } = testWallet(kind);
  const { coins } = fundedChain(
    descriptor,
    Array.from({ length: coinCount }, (_, i) => 100_000n + BigInt(i)),
  );
  return buildPsbt({
    descriptor,
    coins,
    recipients: [{ script: strangerKey("wpkh", 1).script, amountSats: 40_000n }],
    change: change ? { amountSats: 50_000n, index: 3, position: 1 } : undefined,
    lockTime: 1,
  });
}

/** `psbt`, encoded in its version, with `edit` made to the first map of a kind before it is encoded. */
function rawEdit(psbt: Psbt, where: string, edit: (map: PsbtMap) => PsbtMap): Uint8Array {
  const encoded = encodePsbt(psbt);
  const { maps, magic } = splitMaps(encoded);
  const at = where === "global" ? 0 : where === "input" ? 1 : 1 + psbt.inputs.length;
  return Uint8Array.from(
    Buffer.concat([magic, ...maps.map((map, i) => encodeMap(i === at ? edit(map) : map))]),
  );
}

function encodeMap(map: PsbtMap): Buffer {
  const records = [...map]
    .sort((a, b) => a.type - b.type)
    .map(({ type, keyData, value }) => [
      wire.varBytes(Uint8Array.of(...wire.compactSize(type), ...keyData)),
      wire.varBytes(value),
    ]);
  return Buffer.concat([...records.flat(), Uint8Array.of(0)]);
}

/** The maps of a PSBT, without any knowledge of what they mean. */
function splitMaps(psbt: Uint8Array): { magic: Uint8Array; maps: PsbtRecord[][] } {
  let at = 5;
  const size = () => {
    const first = psbt[at] ?? 0;
    at += 1;
    if (first < 0xfd) return first;
    const length = first === 0xfd ? 2 : 4;
    const value = Buffer.from(psbt).readUIntLE(at, length);
    at += length;
    return value;
  };
  const maps: PsbtRecord[][] = [];
  let map: PsbtRecord[] = [];
  while (at < psbt.length) {
    const keyLength = size();
    if (keyLength === 0) {
      maps.push(map);
      map = [];
      continue;
    }
    const key = psbt.slice(at, at + keyLength);
    at += keyLength;
    const valueLength = size();
    map.push({ type: key[0] ?? 0, keyData: key.slice(1), value: psbt.slice(at, at + valueLength) });
    at += valueLength;
  }
  return { magic: psbt.slice(0, 5), maps };
}

const withRecord = (type: number, value: string) => (map: PsbtMap) => [
  ...map.filter((record) => record.type !== type),
  { type, keyData: new Uint8Array(), value: bytes(value) },
];

for (const { name, map, type, value } of fields.addedToVersion0) {
  test(`BIP-370: refuses version 0 with the ${map} field ${name}`, () => {
    throwsReason(
      () => parsePsbt(rawEdit(samplePsbt("wpkh"), map, withRecord(type, value))),
      "psbt-malformed",
    );
  });
}

for (const { name, map, type } of fields.removedFromVersion2) {
  test(`BIP-370: refuses version 2 without the ${map} field ${name}`, () => {
    const psbt = { ...samplePsbt("wpkh"), version: 2 as const };
    const edited = rawEdit(psbt, map, (records) => records.filter((record) => record.type !== type));
    throwsReason(() => parsePsbt(edited), "psbt-malformed");
  });
}

for (const { name, map, type, value } of fields.badValuesInVersion2) {
  test(`BIP-370: refuses version 2 with ${name}`, () => {
    const psbt = { ...samplePsbt("wpkh"), version: 2 as const };
    throwsReason(() => parsePsbt(rawEdit(psbt, map, withRecord(type, value))), "psbt-malformed");
  });
}

test("BIP-370: refuses version 2 with an unsigned transaction", () => {
  const psbt = { ...samplePsbt("wpkh"), version: 2 as const };
  const unsigned = Buffer.from(encodeUnsignedTransaction(psbt.transaction)).toString("hex");
  throwsReason(() => parsePsbt(rawEdit(psbt, "global", withRecord(0x00, unsigned))), "psbt-malformed");
});

for (const { name, value } of fields.modifiableFlags) {
  test(`BIP-370: reads version 2 with the modifiable flags: ${name}`, () => {
    const psbt = { ...samplePsbt("wpkh"), version: 2 as const };
    const edited = rawEdit(psbt, "global", value === null ? (map) => map : withRecord(0x06, value));
    const parsed = parsePsbt(edited);
    assert.deepEqual(parsed.transaction, psbt.transaction);
    const flags = parsed.global.find((record) => record.type === 0x06)?.value;
    assert.deepEqual(flags === undefined ? null : Buffer.from(flags).toString("hex"), value);
    assert.deepEqual(parsePsbt(encodePsbt(parsed)), parsed);
  });
}

test("BIP-370: without sequence and fallback locktime, an input is final and the locktime 0", () => {
  const psbt = { ...samplePsbt("wpkh"), version: 2 as const };
  const noSequence = rawEdit(psbt, "input", (map) => map.filter((record) => record.type !== 0x10));
  assert.equal(parsePsbt(noSequence).transaction.inputs[0]?.sequence, 0xffffffff);
  const noFallback = rawEdit(psbt, "global", (map) => map.filter((record) => record.type !== 0x03));
  assert.equal(parsePsbt(noFallback).transaction.lockTime, 0);
});

for (const { name, fallback, inputs, lockTime } of fields.lockTimes) {
  test(`BIP-370 locktime: ${name}`, () => {
    const plain = samplePsbt("wpkh");
    const asking = inputs as readonly { readonly height?: number; readonly time?: number }[];
    const psbt: Psbt = {
      ...plain,
      version: 2,
      transaction: { ...plain.transaction, lockTime: fallback },
      inputs: plain.inputs.map((map, i) => [
        ...map,
        ...[
          { type: 0x11, asked: asking[i]?.time },
          { type: 0x12, asked: asking[i]?.height },
        ].flatMap(({ type, asked }) =>
          asked === undefined ? [] : [{ type, keyData: new Uint8Array(), value: wire.u32(asked) }],
        ),
      ]),
    };
    const encoded = encodePsbt(psbt);
    if (lockTime === null) throwsReason(() => parsePsbt(encoded), "psbt-malformed");
    else assert.equal(parsePsbt(encoded).transaction.lockTime, lockTime);
  });
}

for (const kind of ["wpkh", "tr"] as const) {
  test(`${kind}: what is built is read by @scure/btc-signer, in both versions, as the same transaction`, () => {
    for (const version of [0, 2] as const) {
      const psbt = samplePsbt(kind);
      const other = btc.Transaction.fromPSBT(encodePsbt(psbt, version), {
        unknown: "strict",
        proprietary: "strict",
        strictPrevoutValidation: true,
      });
      assert.equal(other.id, unsignedTransactionId(psbt.transaction));
      assert.equal(other.inputsLength, 2);
      assert.equal(other.fee, 110_001n);
      const input = other.getInput(0);
      assert.ok(input.nonWitnessUtxo && input.witnessUtxo);
      assert.deepEqual(
        (kind === "tr"
          ? input.tapBip32Derivation?.[0]?.[1].der.path
          : input.bip32Derivation?.[0]?.[1].path) ?? [],
        [0, 0],
      );
      // Its own encoding comes back to ours.
      assert.deepEqual(parsePsbt(other.toPSBT(0)).transaction, psbt.transaction);
    }
  });
}

test("both versions hold the same, and the way there and back changes no byte", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("wpkh" as const, "tr" as const),
      fc.integer({ min: 1, max: 4 }),
      fc.boolean(),
      fc.constantFrom(0 as const, 2 as const),
      fc.array(
        fc.tuple(
          fc.integer({ min: 0x40, max: 0xf0 }),
          fc.uint8Array({ maxLength: 40 }),
          fc.uint8Array({ maxLength: 300 }),
        ),
        {
          maxLength: 4,
        },
      ),
      (kind, coins, change, version, extra) => {
        const plain = samplePsbt(kind, coins, change);
        const unknown = [
          ...new Map(
            extra.map(([type, keyData, value]) => [
              `${type}/${Buffer.from(keyData).toString("hex")}`,
              { type, keyData, value },
            ]),
          ).values(),
        ];
        const first = encodePsbt({ ...plain, global: unknown }, version);
        const there = encodePsbt(parsePsbt(first), version === 0 ? 2 : 0);
        const back = encodePsbt(parsePsbt(there), version);
        assert.deepEqual(back, first);
        assert.deepEqual(parsePsbt(there).transaction, plain.transaction);
        assert.deepEqual(parsePsbt(psbtToBase64(there)), parsePsbt(there));
      },
    ),
    { numRuns: 40 },
  );
});

test("any bytes are a PSBT or a typed refusal", () => {
  const valid = encodePsbt(samplePsbt("tr"));
  const spoilt = fc
    .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 })
    .map((edits) => {
      const copy = valid.slice();
      for (const [at, value] of edits) copy[at] = value;
      return copy;
    });
  const cut = fc.nat(valid.length).map((length) => valid.slice(0, length));
  const prefixed = fc
    .uint8Array({ maxLength: 200 })
    .map((rest) => Uint8Array.of(...valid.slice(0, 5), ...rest));
  fc.assert(
    fc.property(fc.oneof(spoilt, cut, prefixed, fc.uint8Array()), (input) => {
      try {
        parsePsbt(input);
      } catch (error) {
        assert.ok(bitcoinErrorReason(error)?.startsWith("psbt-"), String(error));
      }
    }),
    { numRuns: 1000 },
  );
});

test("a PSBT beyond the size limit is refused before it is read", () => {
  throwsReason(() => parsePsbt(new Uint8Array(MAX_PSBT_BYTES + 1)), "psbt-too-large");
  throwsReason(() => parsePsbt("A".repeat(MAX_PSBT_BYTES * 2)), "psbt-too-large");
});

test("a coin whose transaction has no such output can't be built into a PSBT", () => {
  const { descriptor } = testWallet("wpkh");
  const { coins } = fundedChain(descriptor, [10_000n]);
  throwsReason(
    () =>
      buildPsbt({
        descriptor,
        coins: coins.map((coin) => ({ ...coin, vout: 1 })),
        recipients: [],
        lockTime: 0,
      }),
    "psbt-previous-output-missing",
  );
});
