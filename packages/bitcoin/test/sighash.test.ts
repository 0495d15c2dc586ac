import assert from "node:assert/strict";
import { test } from "node:test";
import { txidSchema } from "@cairn/core";
import * as btc from "@scure/btc-signer";
import fc from "fast-check";
import { encodeUnsignedTransaction, parseTransaction, SighashBuilder } from "../src/index.ts";
import { strangerKey } from "./test-wallet.ts";
import bip143 from "./vectors/bip143.json" with { type: "json" };
import bip341 from "./vectors/bip341.json" with { type: "json" };

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));
const outputsOf = (list: readonly { readonly script: string; readonly amountSats: number }[]) =>
  list.map(({ script, amountSats }) => ({ script: bytes(script), amountSats: BigInt(amountSats) }));

test("BIP-143: preimage and sighash of the native P2WPKH example", () => {
  const { unsignedTransaction, previousOutputs, input, ...expected } = bip143.native;
  const transaction = parseTransaction(bytes(unsignedTransaction));
  const { preimage, digest } = new SighashBuilder(transaction, outputsOf(previousOutputs)).segwitV0(input);
  assert.equal(hex(preimage), expected.preimage);
  assert.equal(hex(digest), expected.sighash);
});

test("BIP-143: sighash of the P2SH-P2WPKH example, whose redeem script stands for the native one", () => {
  const { unsignedTransaction, redeemScript, amountSats, input, ...expected } = bip143.nested;
  const transaction = parseTransaction(bytes(unsignedTransaction));
  const builder = new SighashBuilder(transaction, outputsOf([{ script: redeemScript, amountSats }]));
  const { preimage, digest } = builder.segwitV0(input);
  assert.equal(hex(digest), expected.sighash);
  assert.equal(hex(preimage.slice(4, 36)), expected.hashPrevouts);
  assert.equal(hex(preimage.slice(36, 68)), expected.hashSequence);
  assert.equal(hex(preimage.slice(-40, -8)), expected.hashOutputs);
});

for (const { given, intermediary, inputSpending } of bip341.keyPathSpending) {
  const builder = new SighashBuilder(
    parseTransaction(bytes(given.rawUnsignedTx)),
    outputsOf(given.utxosSpent.map(({ scriptPubKey, amountSats }) => ({ script: scriptPubKey, amountSats }))),
  );
  for (const { given: input, intermediary: expected } of inputSpending) {
    if (input.hashType === 0) {
      test(`BIP-341: message and sighash of input ${input.txinIndex}, SIGHASH_DEFAULT`, () => {
        const actual = builder.taprootKeyPath(input.txinIndex);
        assert.equal(hex(actual.preimage), expected.sigMsg);
        assert.equal(hex(actual.digest), expected.sigHash);
      });
    } else {
      test(`BIP-341: input ${input.txinIndex} with hash type ${input.hashType} is not what the builder makes`, () => {
        // The builder knows DEFAULT only, so a signature under another type never comes out of it.
        assert.notEqual(hex(builder.taprootKeyPath(input.txinIndex).preimage), expected.sigMsg);
      });
    }
  }

  test("BIP-341: each input's message is of the published hashes over the whole transaction", () => {
    const { hashPrevouts, hashAmounts, hashScriptPubkeys, hashSequences, hashOutputs } = intermediary;
    const joined = [hashPrevouts, hashAmounts, hashScriptPubkeys, hashSequences, hashOutputs].join("");
    given.utxosSpent.forEach((_, i) => {
      assert.equal(hex(builder.taprootKeyPath(i).preimage.slice(10, -5)), joined);
    });
  });
}

const amount = fc.bigInt({ min: 0n, max: 2_100_000_000_000_000n });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const hash32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const output = (kind: "wpkh" | "tr") =>
  fc.tuple(amount, fc.nat(5)).map(([amountSats, i]) => ({ amountSats, script: strangerKey(kind, i).script }));

test("sighashes agree with @scure/btc-signer for any transaction", () => {
  for (const kind of ["wpkh", "tr"] as const) {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(hash32, u32, u32, output(kind)), { minLength: 1, maxLength: 5 }),
        fc.array(output("wpkh"), { minLength: 1, maxLength: 4 }),
        u32,
        (given, outputs, lockTime) => {
          const transaction = {
            version: 2,
            lockTime,
            inputs: given.map(([txid, vout, sequence]) => ({
              txid: txidSchema.parse(hex(txid)),
              vout,
              sequence,
            })),
            outputs,
          };
          const previous = given.map(([, , , spent]) => spent);
          const builder = new SighashBuilder(transaction, previous);
          const other = btc.Transaction.fromRaw(encodeUnsignedTransaction(transaction), {
            allowUnknownOutputs: true,
          });
          previous.forEach((spent, i) => {
            if (kind === "tr") {
              const theirs = other.preimageWitnessV1(
                i,
                previous.map((p) => p.script),
                btc.SigHash.DEFAULT,
                previous.map((p) => p.amountSats),
              );
              assert.equal(hex(builder.taprootKeyPath(i).digest), hex(theirs));
            } else {
              const code = btc.OutScript.encode({ type: "pkh", hash: spent.script.slice(2) });
              const theirs = other.preimageWitnessV0(i, code, btc.SigHash.ALL, spent.amountSats);
              assert.equal(hex(builder.segwitV0(i).digest), hex(theirs));
            }
          });
        },
      ),
      { numRuns: 50 },
    );
  }
});

test("a missing previous output or input is an error, not a sighash", () => {
  const transaction = parseTransaction(bytes(bip143.native.unsignedTransaction));
  assert.throws(() => new SighashBuilder(transaction, []), RangeError);
  assert.throws(
    () => new SighashBuilder(transaction, outputsOf(bip143.native.previousOutputs)).segwitV0(2),
    RangeError,
  );
});
