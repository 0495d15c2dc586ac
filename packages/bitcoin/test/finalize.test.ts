import assert from "node:assert/strict";
import { test } from "node:test";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import * as btc from "@scure/btc-signer";
import fc from "fast-check";
import {
  buildPsbt,
  checkPsbt,
  type DescriptorKind,
  encodePsbt,
  finalizeSpend,
  parsePsbt,
  parseTransaction,
  signaturesOf,
  verifyInputSignature,
} from "../src/index.ts";
import { throwsReason } from "./assert-reason.ts";
import { fundedChain, rulesFor, strangerKey, testWallet } from "./test-wallet.ts";

function checkedSpend(kind: DescriptorKind, coinCount: number, version: 0 | 2 = 0) {
  const wallet = testWallet(kind);
  const { descriptor } = wallet;
  const { chain, coins } = fundedChain(
    descriptor,
    Array.from({ length: coinCount }, (_, i) => 50_000n + BigInt(i)),
  );
  const payee = strangerKey("tr", 3);
  const psbt = buildPsbt({
    descriptor,
    coins,
    recipients: [{ script: payee.script, amountSats: 20_000n }],
    change: { amountSats: 25_000n + BigInt(coinCount - 1) * 50_000n, index: 0, position: 0 },
    lockTime: 0,
  });
  const rules = rulesFor(descriptor, [{ address: payee.address, amountSats: 20_000n }]);
  return { wallet, chain, spend: checkPsbt(encodePsbt(psbt, version), rules) };
}

for (const kind of ["wpkh", "tr"] as const) {
  for (const version of [0, 2] as const) {
    test(`${kind} v${version}: signed inputs become a transaction that the chain takes`, async () => {
      const { wallet, chain, spend } = checkedSpend(kind, 3, version);
      const signed = finalizeSpend(spend, wallet.sign(spend));
      assert.equal(signed.txid, spend.txid, "signatures do not change the id");
      assert.ok(signed.vsize <= spend.vsize && signed.vsize >= spend.vsize - 3);
      assert.equal(await chain.broadcast(signed.raw), spend.txid);
      assert.equal(signed.hex, Buffer.from(signed.raw).toString("hex"));
      assert.deepEqual(finalizeSpend(spend, signaturesOf(signed.raw)).hex, signed.hex);
      const other = btc.Transaction.fromPSBT(signed.psbt);
      assert.equal(other.isFinal, true);
      assert.equal(Buffer.from(other.extract()).toString("hex"), signed.hex);
      assert.equal(parsePsbt(signed.psbt).version, version);
    });
  }

  test(`${kind}: estimated size is never below the real one, and the taproot estimate is exact`, () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), (coins) => {
        const { wallet, spend } = checkedSpend(kind, coins);
        const { vsize } = finalizeSpend(spend, wallet.sign(spend));
        if (kind === "tr") assert.equal(vsize, spend.vsize);
        else assert.ok(vsize <= spend.vsize && spend.vsize - vsize <= coins);
      }),
      { numRuns: 5 },
    );
  });

  test(`${kind}: a signature with one altered bit, or of another input, is refused and named`, () => {
    const { wallet, spend } = checkedSpend(kind, 2);
    const [first, second] = wallet.sign(spend);
    assert.ok(first && second);
    throwsReason(() => finalizeSpend(spend, [second, first]), "signature-wrong");
    fc.assert(
      fc.property(fc.nat(511), (bit) => {
        const altered = second.slice();
        altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        throwsReason(() => finalizeSpend(spend, [first, altered]), "signature-wrong");
      }),
      { numRuns: 40 },
    );
  });

  test(`${kind}: every input needs a signature`, () => {
    const { wallet, spend } = checkedSpend(kind, 2);
    throwsReason(() => finalizeSpend(spend, wallet.sign(spend).slice(1)), "signature-missing");
  });
}

test("a high S is turned into the low one that nodes relay", () => {
  const { wallet, spend } = checkedSpend("wpkh", 1);
  const [signature] = wallet.sign(spend);
  const [input] = spend.inputs;
  assert.ok(signature && input);
  const { r, s } = secp256k1.Signature.fromBytes(signature, "compact");
  const high = new secp256k1.Signature(r, secp256k1.Point.Fn.ORDER - s).toBytes("compact");
  assert.equal(verifyInputSignature(input, high), true);
  assert.equal(finalizeSpend(spend, [high]).hex, finalizeSpend(spend, [signature]).hex);
});

test("the witness of a P2WPKH input is its signature and key; of a taproot input its signature alone", () => {
  for (const [kind, items] of [
    ["wpkh", 2],
    ["tr", 1],
  ] as const) {
    const { wallet, spend } = checkedSpend(kind, 1);
    const { raw } = finalizeSpend(spend, wallet.sign(spend));
    assert.equal(parseTransaction(raw).witnesses[0]?.length, items);
  }
});
