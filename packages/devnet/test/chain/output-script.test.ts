import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromHex, toHex } from "@cairn/core";
import {
  addressScript,
  dustThresholdSats,
  lastPush,
  outputAddress,
  outputType,
  pushesOnly,
  scriptAsm,
} from "../../src/chain/output-script.ts";

const key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const twenty = "751e76e8199196d454941c45d1b3a323f1433bd6";
const thirtyTwo = key.slice(2);

const kinds: readonly (readonly [script: string, type: string, asm: string, address: string | undefined])[] =
  [
    [
      `76a914${twenty}88ac`,
      "p2pkh",
      `OP_DUP OP_HASH160 OP_PUSHBYTES_20 ${twenty} OP_EQUALVERIFY OP_CHECKSIG`,
      "mrCDrCybB6J1vRfbwM5hemdJz73FwDBC8r",
    ],
    [
      `a914${twenty}87`,
      "p2sh",
      `OP_HASH160 OP_PUSHBYTES_20 ${twenty} OP_EQUAL`,
      "2N3vVYSK5XRgVSGWy21PnsRmBUywSQNdCsf",
    ],
    [
      `0014${twenty}`,
      "v0_p2wpkh",
      `OP_0 OP_PUSHBYTES_20 ${twenty}`,
      "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    ],
    [
      `5120${thirtyTwo}`,
      "v1_p2tr",
      `OP_PUSHNUM_1 OP_PUSHBYTES_32 ${thirtyTwo}`,
      "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6",
    ],
    ["51024e73", "p2a", "OP_PUSHNUM_1 OP_PUSHBYTES_2 4e73", "bcrt1pfeesnyr2tx"],
    [`21${key}ac`, "p2pk", `OP_PUSHBYTES_33 ${key} OP_CHECKSIG`, undefined],
    [
      `5121${key}51ae`,
      "multisig",
      `OP_PUSHNUM_1 OP_PUSHBYTES_33 ${key} OP_PUSHNUM_1 OP_CHECKMULTISIG`,
      undefined,
    ],
    ["6a0568656c6c6f", "op_return", "OP_RETURN OP_PUSHBYTES_5 68656c6c6f", undefined],
    ["6a4c0161", "op_return", "OP_RETURN OP_PUSHDATA1 61", undefined],
    ["6aac", "unknown", "OP_RETURN OP_CHECKSIG", undefined],
    [`5220${thirtyTwo}`, "witness_unknown", `OP_PUSHNUM_2 OP_PUSHBYTES_32 ${thirtyTwo}`, undefined],
    ["0003aabbcc", "unknown", "OP_0 OP_PUSHBYTES_3 aabbcc", undefined],
    ["", "empty", "", undefined],
    ["51", "unknown", "OP_PUSHNUM_1", undefined],
    ["b1b24f", "unknown", "OP_CLTV OP_CSV OP_PUSHNUM_NEG1", undefined],
    ["05aabb", "unknown", "<unexpected end>", undefined],
  ];

describe("output scripts", () => {
  for (const [script, type, asm, address] of kinds) {
    it(`classify ${script === "" ? "an empty script" : script.slice(0, 16)} as ${type}`, () => {
      assert.equal(outputType(fromHex(script)), type);
      assert.equal(scriptAsm(fromHex(script)), asm);
      assert.equal(outputAddress(fromHex(script)), address);
      if (address !== undefined) assert.equal(toHex(addressScript(address) ?? new Uint8Array()), script);
    });
  }

  it("have no address of another network", () => {
    for (const address of [
      "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
      "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH",
      "",
      "x",
    ]) {
      assert.equal(addressScript(address), undefined);
    }
  });

  it("let data outputs carry nothing and anchors little", () => {
    assert.equal(dustThresholdSats(fromHex("6a0568656c6c6f")), 0n);
    assert.equal(dustThresholdSats(fromHex("51024e73")), 240n);
  });

  it("tell pushes from other operations, damaged ones included", () => {
    assert.ok(pushesOnly(fromHex(`0051${"4c02aabb"}4d0100cc`)));
    assert.ok(!pushesOnly(fromHex("61")));
    assert.ok(!pushesOnly(fromHex("4d01")));
    assert.ok(!pushesOnly(fromHex("4effffffffaa")));
    assert.deepEqual(lastPush(fromHex("510201024c020304")), fromHex("0304"));
    assert.equal(lastPush(fromHex("51ac")), undefined);
  });
});
