import assert from "node:assert/strict";
import { test } from "node:test";
import { type Txid, txidSchema } from "@cairn/core";
import { hexToBytes } from "@noble/hashes/utils.js";
import { checkInclusion, type Inclusion, meetsTarget, parseBlockHeader } from "../src/index.ts";
import { throwsReason } from "./assert-reason.ts";

/** Bitcoin's block 170, the first with a payment in it. */
const HEADER =
  "0100000055bd840a78798ad0da853f68974f3d183e2bd1db6a842c1feecf222a00000000" +
  "ff104ccb05421ab93e63f8c3ce5c2c2e9dbb37de2764b3a3175c8166562cac7d51b96a49ffff001d283e9e70";
const HASH = "00000000d1145790a8694403d4063f323d499e655c83426834d4ce2f8dd4a2ee";
const [coinbase, payment] = [
  "b1fea52486ce0c62bb442b530a3f0132b826c74e473d1f2c220bfa78111c5082",
  "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16",
].map((txid) => txidSchema.parse(txid)) as [Txid, Txid];
const inclusion: Inclusion = {
  blockHeight: 170,
  blockHash: HASH,
  header: HEADER,
  position: 1,
  siblings: [coinbase],
};

test("a block header tells its hash, merkle root, time and target", () => {
  const header = parseBlockHeader(hexToBytes(HEADER));
  assert.equal(header.hash, HASH);
  assert.equal(header.previousHash, "000000002a22cfee1f2c846adbd12b3e183d4f97683f85dad08a79780a84bd55");
  assert.equal(header.merkleRoot, "7dac2c5666815c17a3b36427de37bb9d2e2c5ccec3f8633eb91a4205cb4c10ff");
  assert.equal(header.time, 1_231_731_025);
  assert.equal(header.target, 0xffffn << 208n);
  assert.ok(meetsTarget(header, "mainnet"));
});

test("a header whose hash misses its target, or whose target is easier than the network's, took no work", () => {
  const bytes = hexToBytes(HEADER);
  assert.ok(!meetsTarget(parseBlockHeader(bytes.with(79, 0)), "mainnet"));
  const easy = parseBlockHeader(
    Uint8Array.from([...bytes.slice(0, 72), 0xff, 0xff, 0x7f, 0x20, ...bytes.slice(76)]),
  );
  assert.ok(!meetsTarget({ ...easy, hash: HASH }, "mainnet"));
  assert.ok(meetsTarget({ ...easy, hash: HASH }, "regtest"));
});

test("bytes of another length, and targets that are none, are refused", () => {
  const bytes = hexToBytes(HEADER);
  for (const wrong of [bytes.slice(1), Uint8Array.of(...bytes, 0), new Uint8Array(80)])
    throwsReason(() => parseBlockHeader(wrong), "block-header-malformed");
  for (const compact of [0x1d80ffff, 0x21000001, 0x1d000000, 0x01000001]) {
    const target = new Uint8Array(4);
    new DataView(target.buffer).setUint32(0, compact, true);
    const header = Uint8Array.from([...bytes.slice(0, 72), ...target, ...bytes.slice(76)]);
    throwsReason(() => parseBlockHeader(header), "block-header-malformed");
  }
});

test("a merkle proof leads from the transaction to the block, from either side", () => {
  checkInclusion(payment, inclusion);
  checkInclusion(coinbase, { ...inclusion, position: 0, siblings: [payment] });
});

test("whatever is altered in a merkle proof, it proves nothing", () => {
  const wrong: readonly [Txid, Partial<Inclusion>][] = [
    [coinbase, {}],
    [payment, { position: 0 }],
    [payment, { position: 3 }],
    [payment, { siblings: [] }],
    [payment, { siblings: [payment] }],
    [payment, { siblings: [coinbase, coinbase] }],
    [payment, { blockHash: "00".repeat(32) }],
    [payment, { header: HEADER.replace("51b96a49", "52b96a49") }],
  ];
  for (const [txid, change] of wrong)
    throwsReason(() => checkInclusion(txid, { ...inclusion, ...change }), "inclusion-wrong");
});
