import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeCanonical, type HashHex, type NodeIndex, toHex } from "@cairn/core";
import { alterations, refuses } from "@cairn/core/test-support";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import fc from "fast-check";
import {
  ecdsaR,
  isEcdsaPartialRight,
  readEcdsaPartial,
  readEcdsaPublicData,
  writeEcdsaPartial,
} from "../src/index.ts";
import { hash } from "./cluster.ts";
import { ecdsaPresignature } from "./ecdsa-presignature.ts";

const { Fn } = secp256k1.Point;
const signers = [1, 2, 4] as NodeIndex[];
const sighash = hash("sighash") as HashHex;
const made = ecdsaPresignature("presignature", signers);
const { data } = made;

test("partials that pass add up to a signature that an independent library verifies", () => {
  for (const from of signers)
    assert.ok(isEcdsaPartialRight(data, { from, sighash, partial: made.partial(from, sighash) }));
  const s = signers.reduce((sum, from) => Fn.add(sum, made.sigma(from, sighash)), 0n);
  const low = s > Fn.ORDER / 2n ? Fn.neg(s) : s;
  const signature = new secp256k1.Signature(ecdsaR(data), low).toBytes("compact");
  assert.ok(secp256k1.verify(signature, Buffer.from(sighash, "hex"), data.childKey, { prehash: false }));
});

test("a partial is right for its signer, sighash and presignature alone", () => {
  const partial = made.partial(signers[0] ?? assert.fail(), sighash);
  for (const from of [2, 4, 3] as NodeIndex[])
    assert.ok(!isEcdsaPartialRight(data, { from, sighash, partial }), `node ${from}`);
  const from = 1 as NodeIndex;
  assert.ok(!isEcdsaPartialRight(data, { from, sighash: hash("other") as HashHex, partial }));
  const other = ecdsaPresignature("other", signers);
  assert.ok(!isEcdsaPartialRight(other.data, { from, sighash, partial }));
  for (const { path, altered } of alterations(data).filter(({ path: at }) => at === "id"))
    assert.ok(!isEcdsaPartialRight(altered, { from, sighash, partial }), path);
});

test("no altered partial is right, whatever byte is altered", () => {
  const from = 2 as NodeIndex;
  const right = made.partial(from, sighash);
  fc.assert(
    fc.property(fc.nat(right.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const partial = right.with(at, (right[at] ?? 0) ^ flip);
      assert.ok(!isEcdsaPartialRight(data, { from, sighash, partial }));
    }),
    { numRuns: 100 },
  );
  for (const partial of [new Uint8Array(), right.subarray(0, 64), Uint8Array.of(...right, 0)])
    assert.equal(readEcdsaPartial(partial, data.id), null);
  const beyond = Uint8Array.of(...right.subarray(0, 33), ...new Uint8Array(32).fill(0xff));
  assert.equal(readEcdsaPartial(beyond, data.id), null, "σ lies below the order");
  assert.equal(readEcdsaPartial(writeEcdsaPartial(data.id, 7n), data.id), 7n);
  assert.ok(!isEcdsaPartialRight(data, { from, sighash, partial: writeEcdsaPartial(data.id, 0n) }));
});

test("public data that contradict themselves are refused", () => {
  assert.equal(toHex(readEcdsaPublicData(made.publicData).gamma), toHex(data.gamma));
  refuses("malformed", () => readEcdsaPublicData(Uint8Array.of(1)));
  const contradictions = [
    { ...data, commitments: data.commitments.slice(1) },
    { ...data, gamma: new Uint8Array(33) },
    { ...data, gamma: Uint8Array.of(2, ...new Uint8Array(32).fill(0xff)) },
    { ...data, id: data.id.slice(1) },
    { ...data, v: 2 },
  ];
  for (const wrong of contradictions) refuses("malformed", () => readEcdsaPublicData(encodeCanonical(wrong)));
});
