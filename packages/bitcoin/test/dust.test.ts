import assert from "node:assert/strict";
import { test } from "node:test";
import { dustThreshold, encodeOutputScript } from "../src/index.ts";

const cases = [
  { type: "p2pkh", length: 20, least: 546n },
  { type: "p2sh", length: 20, least: 540n },
  { type: "p2wpkh", length: 20, least: 294n },
  { type: "p2wsh", length: 32, least: 330n },
  { type: "p2tr", length: 32, least: 330n },
] as const;

for (const { type, length, least } of cases) {
  test(`dust of ${type} begins below ${least} sat, as in Bitcoin Core`, () => {
    assert.equal(dustThreshold(encodeOutputScript({ type, program: new Uint8Array(length) })), least);
  });
}

test("an unspendable output has no dust threshold", () => {
  assert.equal(dustThreshold(Uint8Array.of(0x6a, 1, 2)), 0n);
});
