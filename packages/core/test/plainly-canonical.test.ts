import assert from "node:assert/strict";
import { test } from "node:test";
import * as dagCbor from "@ipld/dag-cbor";
import fc from "fast-check";
import { encodeCanonical, equalBytes, fromHex, toHex } from "../src/index.ts";
import { isPlainlyCanonical } from "../src/plainly-canonical.ts";
import { readProtocolExamples } from "../test-support/index.ts";

const ascii = fc.string({ unit: "binary-ascii", maxLength: 30 });
const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.maxSafeInteger(),
    fc.nat(300),
    fc.boolean(),
    fc.constant(null),
    ascii,
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie("value"), { maxLength: 30 }),
    fc.dictionary(ascii, tie("value"), { maxKeys: 30 }),
  ),
})).value;

/** The whole check: reading the bytes and encoding what was read gives them again. */
function isCanonical(bytes: Uint8Array): boolean {
  try {
    return equalBytes(dagCbor.encode(dagCbor.decode(bytes)), bytes);
  } catch {
    return false;
  }
}

test("what Cairn encodes is plainly canonical", () => {
  fc.assert(fc.property(plain, (value) => isPlainlyCanonical(encodeCanonical(value))));
  const { examples } = readProtocolExamples();
  for (const [name, { encoded }] of Object.entries(examples)) {
    if (encoded !== undefined) assert.equal(isPlainlyCanonical(fromHex(encoded)), true, name);
  }
});

test("altered bytes are plainly canonical only if the whole check says so", () => {
  const altered = fc.record({
    value: plain,
    edits: fc.array(
      fc.record({ at: fc.nat(), byte: fc.nat(255), put: fc.constantFrom("over", "in", "out") }),
      {
        minLength: 1,
        maxLength: 4,
      },
    ),
  });
  fc.assert(
    fc.property(altered, ({ value, edits }) => {
      const bytes = [...encodeCanonical(value)];
      for (const { at, byte, put } of edits) {
        const place = at % (bytes.length + 1);
        if (put === "over") bytes[Math.min(place, bytes.length - 1)] = byte;
        else if (put === "in") bytes.splice(place, 0, byte);
        else bytes.splice(place, 1);
      }
      const made = Uint8Array.from(bytes);
      return !isPlainlyCanonical(made) || isCanonical(made);
    }),
    { numRuns: 3000 },
  );
});

test("short byte strings are plainly canonical only if the whole check says so", () => {
  const check = (...bytes: number[]) => {
    const made = Uint8Array.from(bytes);
    if (isPlainlyCanonical(made)) assert.equal(isCanonical(made), true, toHex(made));
  };
  for (let first = 0; first < 256; first += 1) {
    check(first);
    for (let second = 0; second < 256; second += 1) {
      check(first, second);
      for (const third of [0, 0x17, 0x18, 0x60, 0x61, 0x80, 0xa0, 0xf6, 0xff]) check(first, second, third);
    }
  }
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 24 }),
      (bytes) => !isPlainlyCanonical(bytes) || isCanonical(bytes),
    ),
    { numRuns: 5000 },
  );
});

test("each second way to say the same is not plainly canonical", () => {
  const ways = {
    "longer head of an integer": "1800",
    "two bytes for one": "190017",
    "four bytes for two": "1a00001234",
    "eight bytes for four": "1b0000000012345678",
    "longer length of text": "780161",
    "longer length of bytes": "580100",
    "longer length of an array": "980100",
    "longer length of a map": "b801616100",
    "keys in another order": "a2616200616100",
    "a longer key first": "a262616100616200",
    "one key twice": "a2616100616101",
    "a key that is no text": "a10000",
    "an indefinite array": "9fff",
    "indefinite text": "7f6161ff",
    "a float for an integer": "fb3ff0000000000000",
    undefined: "f7",
    "text that is no UTF-8": "61ff",
    "a tag": "c000",
    "something after the end": "0000",
    "less than was said": "6261",
    nothing: "",
  };
  for (const [way, hex] of Object.entries(ways)) assert.equal(isPlainlyCanonical(fromHex(hex)), false, way);
});
