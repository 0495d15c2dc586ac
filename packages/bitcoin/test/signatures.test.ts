import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { numberToBytesBE } from "@noble/curves/utils.js";
import fc from "fast-check";
import { encodeEcdsaSignature, verifyInputSignature } from "../src/index.ts";
import { throwsReason } from "./assert-reason.ts";
import { isBitcoinSignature } from "./is-bitcoin-signature.ts";
import bip143 from "./vectors/bip143.json" with { type: "json" };
import bip340 from "./vectors/bip340.json" with { type: "json" };
import bip341 from "./vectors/bip341.json" with { type: "json" };
import der from "./vectors/ecdsa-der.json" with { type: "json" };

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));
const order = secp256k1.Point.Fn.ORDER;

for (const { index, publicKey, message, signature, valid, comment } of bip340.cases) {
  test(`BIP-340 vector ${index}: ${valid ? "valid" : "invalid"}${comment === "" ? "" : `, ${comment}`}`, () => {
    const input = {
      signingKey: bytes(publicKey),
      sighash: { preimage: new Uint8Array(), digest: bytes(message) },
    };
    let accepted = false;
    try {
      accepted = verifyInputSignature(input, bytes(signature));
    } catch {
      assert.fail("an invalid signature or key is an answer, not a failure");
    }
    assert.equal(accepted, valid);
  });
}

test("BIP-143: the example's signature verifies, and its DER form comes back byte for byte", () => {
  const { publicKey, preimage, sighash, signature } = bip143.native;
  const input = {
    signingKey: bytes(publicKey),
    sighash: { preimage: bytes(preimage), digest: bytes(sighash) },
  };
  const compact = secp256k1.Signature.fromBytes(bytes(signature), "der").toBytes("compact");
  assert.equal(verifyInputSignature(input, compact), true);
  assert.equal(Buffer.from(encodeEcdsaSignature(compact)).toString("hex"), `${signature}01`);
});

for (const { given, inputSpending } of bip341.keyPathSpending) {
  for (const { given: input, intermediary, expected } of inputSpending) {
    test(`BIP-341: the key path signature of input ${input.txinIndex} verifies under its output key only`, () => {
      const script = given.utxosSpent[input.txinIndex]?.scriptPubKey ?? "";
      const sighash = { preimage: bytes(intermediary.sigMsg), digest: bytes(intermediary.sigHash) };
      const [witness = ""] = expected.witness;
      // Another type than DEFAULT follows the signature as a byte of its own.
      const signature = bytes(witness).slice(0, 64);
      assert.equal(verifyInputSignature({ signingKey: bytes(script.slice(4)), sighash }, signature), true);
      const untweaked = bytes(intermediary.internalPubkey);
      assert.equal(verifyInputSignature({ signingKey: untweaked, sighash }, signature), false);
      assert.equal(
        verifyInputSignature({ signingKey: bytes(script.slice(4)), sighash }, bytes(`${witness}01`)),
        false,
      );
    });
  }
}

const secret = numberToBytesBE(0x1234567890abcdefn, 32);
const publicKey = secp256k1.getPublicKey(secret, true);
const digest = new Uint8Array(createHash("sha256").update("message").digest());
const valid = secp256k1.Signature.fromBytes(
  secp256k1.sign(digest, secret, { prehash: false, lowS: true }),
  "compact",
);

function derInteger(value: bigint): Uint8Array {
  const hex = value.toString(16);
  const raw = bytes(hex.length % 2 === 0 ? hex : `0${hex}`);
  const padded = (raw[0] ?? 0) >= 0x80 ? Uint8Array.of(0, ...raw) : raw;
  return Uint8Array.of(2, padded.length, ...padded);
}

function derSequence(...parts: Uint8Array[]): Uint8Array {
  const body = Buffer.concat(parts);
  return Uint8Array.of(0x30, body.length, ...body);
}

function edited(edit: string): Uint8Array {
  const r = derInteger(valid.r);
  const s = derInteger(valid.s);
  const whole = derSequence(r, s);
  const pad = (integer: Uint8Array) => Uint8Array.of(2, (integer[1] ?? 0) + 1, 0, ...integer.slice(2));
  const set = (at: number, value: number) => whole.map((byte, i) => (i === at ? value : byte));
  switch (edit) {
    case "none":
      return whole;
    case "long-sequence-length":
      return Uint8Array.of(0x30, 0x81, ...whole.slice(1));
    case "indefinite-length":
      return Uint8Array.of(0x30, 0x80, ...whole.slice(2), 0, 0);
    case "length-minus-one":
      return set(1, whole.length - 3);
    case "length-plus-one":
      return set(1, whole.length - 1);
    case "append-byte":
      return Uint8Array.of(...whole, 0);
    case "truncate":
      return whole.slice(0, -1);
    case "empty":
      return new Uint8Array();
    case "wrong-sequence-tag":
      return set(0, 0x31);
    case "wrong-integer-tag":
      return set(2, 0x03);
    case "pad-r":
      return derSequence(valid.r >> 255n === 0n ? pad(r) : pad(pad(r)), s);
    case "pad-s":
      return derSequence(r, pad(s));
    case "empty-integer":
      return derSequence(r, Uint8Array.of(2, 0));
    case "third-integer":
      return derSequence(r, s, derInteger(1n));
    default:
      throw new Error(`the vectors name an unknown edit: ${edit}`);
  }
}

function numberNamed(name: string): bigint {
  const named: Readonly<Record<string, bigint>> = {
    R: valid.r,
    S: valid.s,
    n: order,
    "n-S": order - valid.s,
    "R+n": valid.r + order,
    "S+n": valid.s + order,
    "R+1": valid.r + 1n,
    "0": 0n,
    "1": 1n,
  };
  const value = named[name];
  if (value === undefined) throw new Error(`the vectors name an unknown number: ${name}`);
  return value;
}

for (const form of der.forms) {
  test(`strict DER: ${form.name} is ${form.valid ? "valid" : "invalid"}`, () => {
    assert.equal(isBitcoinSignature(edited(form.edit), digest, publicKey), form.valid);
  });
}

for (const { name, r, s, valid: expected } of der.numbers) {
  test(`ECDSA: ${name} is ${expected ? "valid" : "invalid"}`, () => {
    const signature = derSequence(derInteger(numberNamed(r)), derInteger(numberNamed(s)));
    assert.equal(isBitcoinSignature(signature, digest, publicKey), expected);
  });
}

test("what finalisation writes is strict DER with low S, whatever S comes in", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.boolean(), (message, high) => {
      const signature = secp256k1.Signature.fromBytes(
        secp256k1.sign(message, secret, { prehash: false, lowS: true }),
        "compact",
      );
      const given = high ? new secp256k1.Signature(signature.r, order - signature.s) : signature;
      const encoded = encodeEcdsaSignature(given.toBytes("compact"));
      assert.equal(encoded.at(-1), 1);
      assert.ok(encoded.length <= 72);
      assert.equal(isBitcoinSignature(encoded.slice(0, -1), message, publicKey), true);
    }),
  );
});

test("r or s outside 1 … n − 1, or a wrong length, is malformed", () => {
  const zero = new Uint8Array(32);
  const one = numberToBytesBE(1n, 32);
  const n = numberToBytesBE(order, 32);
  for (const parts of [[zero, one], [one, zero], [n, one], [one, n], [one]]) {
    throwsReason(() => encodeEcdsaSignature(Uint8Array.from(Buffer.concat(parts))), "signature-malformed");
  }
});
