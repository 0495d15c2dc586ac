import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import {
  decodeCanonical,
  domainBytes,
  domainHash,
  domainTags,
  Encoded,
  encodeCanonical,
  fromHex,
  isCairnError,
  MAX_CANONICAL_BYTES,
  parseShape,
  satsSchema,
  toHex,
} from "../src/index.ts";

const keys = fc.string().filter((key) => key !== "__proto__");

test("encoding is the same for every order of keys and survives a round trip", () => {
  assert.equal(toHex(encodeCanonical({ b: 1, a: [true, null] })), "a2616182f5f6616201");
  assert.deepEqual(encodeCanonical({ b: 1, a: 2 }), encodeCanonical({ a: 2, b: 1 }));
  fc.assert(
    fc.property(fc.dictionary(keys, fc.oneof(fc.string(), fc.integer(), fc.boolean())), (value) => {
      assert.deepEqual(decodeCanonical(z.record(z.string(), z.unknown()), encodeCanonical(value)), {
        ...value,
      });
    }),
  );
});

test("a map of what was encoded before is the map of the values, as bytes and under a signature", () => {
  fc.assert(
    fc.property(fc.dictionary(keys, fc.oneof(fc.string(), fc.uint8Array()), { maxKeys: 23 }), (value) => {
      const fields = Object.entries(value).map(([key, field]) => [key, Encoded.of(field)]);
      const map = Encoded.map(Object.fromEntries(fields));
      assert.equal(toHex(map.bytes), toHex(encodeCanonical({ ...value })));
      assert.equal(
        toHex(domainBytes("cairn/vote/v1", map)),
        toHex(domainBytes("cairn/vote/v1", { ...value })),
      );
    }),
  );
  const many = Array.from({ length: 24 }, (_, at) => [`k${at}`, Encoded.of(at)]);
  assert.throws(() => Encoded.map(Object.fromEntries(many)), RangeError);
});

test("a second encoding of the same value is refused", () => {
  const schema = z.unknown();
  for (const hex of ["1800", "b900016161f5", "a2616202616101", "7f6161ff", "fb3ff0000000000000"]) {
    assert.throws(() => decodeCanonical(schema, fromHex(hex)), isCairnError, hex);
  }
});

test("a key that shapes overlook is refused at any depth, and its name as a value is not", () => {
  const hidden = JSON.parse('{"a":[{"__proto__":{"approve":true}}]}');
  for (const value of [hidden, hidden.a, hidden.a[0]]) {
    assert.throws(
      () => decodeCanonical(z.unknown(), encodeCanonical(value)),
      (e) => isCairnError(e, "malformed"),
    );
  }
  assert.deepEqual(decodeCanonical(z.unknown(), encodeCanonical({ a: "__proto__" })), { a: "__proto__" });
});

test("trailing bytes, truncation and oversize are refused", () => {
  const good = encodeCanonical({ a: 1 });
  assert.throws(() => decodeCanonical(z.unknown(), Buffer.concat([good, Buffer.of(0)])), isCairnError);
  assert.throws(() => decodeCanonical(z.unknown(), good.subarray(0, -1)), isCairnError);
  assert.throws(
    () => decodeCanonical(z.unknown(), new Uint8Array(MAX_CANONICAL_BYTES + 1)),
    (e) => isCairnError(e, "too-large"),
  );
});

test("amounts keep their value through canonical bytes up to 21 million BTC and no further", () => {
  const schema = z.strictObject({ v: satsSchema });
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2_100_000_000_000_000n }), (v) => {
      assert.equal(decodeCanonical(schema, encodeCanonical({ v })).v, v);
    }),
  );
  for (const v of [-1n, 2_100_000_000_000_001n, 0.5, "1"]) {
    assert.throws(
      () => parseShape(schema, { v }),
      (e) => isCairnError(e, "malformed"),
    );
  }
});

test("no tag is a prefix of another, so no bytes are signed under two of them", () => {
  assert.equal(new Set(domainTags).size, domainTags.length);
  for (const tag of domainTags) {
    for (const other of domainTags) {
      assert.ok(tag === other || !`${other}\0`.startsWith(`${tag}\0`));
    }
  }
  assert.notEqual(domainHash("cairn/vote/v1", {}), domainHash("cairn/void/v1", {}));
  assert.equal(
    toHex(domainBytes("cairn/vote/v1", {})),
    `${Buffer.from("cairn/vote/v1").toString("hex")}00a0`,
  );
});

test("where one of several shapes was due, a refusal names the field of the one that fits best, or of each that fits as well", () => {
  const shape = z.union([
    z.strictObject({
      request: z.strictObject({ amount: z.string().regex(/^[0-9]+$/, "digits") }),
      signature: z.string(),
    }),
    z.strictObject({ recipient: z.string(), amount: z.union([z.string(), z.number()]) }),
  ]);
  const refusal = (value: unknown): string => {
    try {
      parseShape(shape, value);
    } catch (error) {
      assert.ok(isCairnError(error, "malformed"));
      return error.message;
    }
    return assert.fail("taken");
  };
  assert.match(refusal({ request: { amount: "-1" }, signature: "s" }), /fit: request\.amount: digits$/);
  assert.match(refusal({ recipient: "r", amount: true }), /fit: amount: .*string.*; or amount: .*number/);
  assert.match(refusal({}), /fit: request: .*; or recipient: /);
});
