import assert from "node:assert/strict";
import { test } from "node:test";
import { networkSchema } from "@cairn/core";
import fc from "fast-check";
import { bitcoinErrorReason } from "../src/bitcoin-error.ts";
import { classifyOutputScript, decodeAddress, encodeAddress, encodeOutputScript } from "../src/index.ts";
import { throwsReason } from "./assert-reason.ts";
import { strangerKey } from "./test-wallet.ts";
import bip173 from "./vectors/bip173.json" with { type: "json" };
import bip341 from "./vectors/bip341.json" with { type: "json" };
import bip350 from "./vectors/bip350.json" with { type: "json" };

const standards = [
  { standard: "BIP-173", vectors: bip173 },
  { standard: "BIP-350", vectors: bip350 },
];

for (const { standard, vectors } of standards) {
  for (const vector of vectors.valid) {
    test(`${standard}: accepts ${vector.address}`, () => {
      const network = networkSchema.parse(vector.network);
      const address = decodeAddress(vector.address, network);
      assert.equal(Buffer.from(address.script).toString("hex"), vector.script);
      assert.equal(encodeAddress(address.script, network), vector.address.toLowerCase());
    });
  }
  for (const vector of vectors.invalid) {
    test(`${standard}: refuses ${vector.why}: ${vector.address}`, () => {
      assert.throws(
        () => decodeAddress(vector.address, networkSchema.parse(vector.network)),
        (error) => {
          assert.equal(bitcoinErrorReason(error), vector.reason, String(error));
          return true;
        },
      );
    });
  }
  for (const text of vectors.strings) {
    test(`${standard}: a valid string that is no address is refused: ${text}`, () => {
      for (const network of networkSchema.options) {
        assert.throws(
          () => decodeAddress(text, network),
          (error) => bitcoinErrorReason(error) !== undefined,
        );
      }
    });
  }
}

for (const { intermediary, expected } of bip341.scriptPubKey) {
  test(`BIP-341: the script and address of output key ${intermediary.tweakedPubkey}`, () => {
    const program = Uint8Array.from(Buffer.from(intermediary.tweakedPubkey, "hex"));
    const script = encodeOutputScript({ type: "p2tr", program });
    assert.equal(Buffer.from(script).toString("hex"), expected.scriptPubKey);
    assert.equal(encodeAddress(script, "mainnet"), expected.bip350Address);
    assert.deepEqual(decodeAddress(expected.bip350Address, "mainnet").script, script);
  });
}

test("an address of another network is refused and both networks are named", () => {
  const mainnet = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
  assert.throws(() => decodeAddress(mainnet, "regtest"), /mainnet.*regtest/s);
  throwsReason(() => decodeAddress(mainnet, "testnet4"), "address-wrong-network");
  throwsReason(() => decodeAddress("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "signet"), "address-wrong-network");
  throwsReason(() => decodeAddress("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "regtest"), "address-wrong-network");
});

test("base58 addresses decode to the classic scripts", () => {
  assert.equal(decodeAddress("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "mainnet").type, "p2pkh");
  assert.equal(decodeAddress("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "mainnet").type, "p2sh");
});

test("a mistyped character breaks the checksum", () => {
  throwsReason(() => decodeAddress("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3", "mainnet"), "address-bad-checksum");
  throwsReason(
    () => decodeAddress("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "mainnet"),
    "address-bad-checksum",
  );
});

test("a private key in wallet import format is refused without being repeated", () => {
  const wif = "5KYZdUEo39z3FPrtuX2QbbwGnNP5zTd7yyr2SC1j299sBCnWjss";
  assert.throws(
    () => decodeAddress(wif, "mainnet"),
    (error) => error instanceof Error && !JSON.stringify([error.message, error]).includes(wif),
  );
});

test("a taproot address whose key is no curve point is refused: its coins could never be spent", () => {
  const script = Uint8Array.of(0x51, 32, ...new Uint8Array(31).fill(0), 5);
  const address = encodeAddress(script, "regtest");
  assert.ok(address);
  throwsReason(() => decodeAddress(address, "regtest"), "address-invalid-key");
});

test("every standard script survives its address, on every network", () => {
  const program = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  const output = fc.oneof(
    fc.record({
      type: fc.constantFrom("p2pkh" as const, "p2sh" as const, "p2wpkh" as const),
      program: program(20),
    }),
    fc.record({ type: fc.constant("p2wsh" as const), program: program(32) }),
    fc.nat(20).map((index) => ({ type: "p2tr" as const, program: strangerKey("tr", index).signingKey })),
  );
  fc.assert(
    fc.property(output, fc.constantFrom(...networkSchema.options), (given, network) => {
      const script = encodeOutputScript(given);
      assert.deepEqual(classifyOutputScript(script), { ...given });
      const text = encodeAddress(script, network);
      assert.ok(text);
      assert.deepEqual(decodeAddress(text, network).script, script);
    }),
  );
});

test("any text is an address or a typed refusal", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((s) => `bc1${s}`),
        fc.stringMatching(/^[13mn2][1-9A-HJ-NP-Za-km-z]{10,40}$/),
      ),
      (text) => {
        try {
          assert.equal(decodeAddress(text, "mainnet").text, text);
        } catch (error) {
          assert.ok(bitcoinErrorReason(error), String(error));
        }
      },
    ),
  );
});
