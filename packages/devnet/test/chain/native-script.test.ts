import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { txidSchema } from "@cairn/core";
import { type SpentOutput, verifyInput } from "@cairn/native-script";
import { RawTx } from "@scure/btc-signer";
import fc from "fast-check";
import { TestWallet } from "./test-wallet.ts";

const alice = new TestWallet("alice");
const carol = new TestWallet("carol", "tr");

function spendTwo(wallet: TestWallet, amounts: readonly [bigint, bigint] = [70_000n, 80_000n]) {
  const coins = amounts.map((amountSats, vout) => ({
    txid: txidSchema.parse("ab".repeat(32)),
    vout,
    amountSats,
  }));
  const { raw } = wallet.spend(coins, [[alice.script, 100_000n]]);
  const spent: SpentOutput[] = amounts.map((amountSats) => ({ amountSats, scriptPubKey: wallet.script }));
  return { raw, spent };
}

function code(act: () => void): string {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof Error && "code" in error && typeof error.code === "string");
    return error.code;
  }
  return "valid";
}

describe("native/script", () => {
  for (const [name, wallet] of [
    ["P2WPKH", alice],
    ["P2TR", carol],
  ] as const) {
    it(`accepts each input of a valid ${name} spend`, () => {
      const { raw, spent } = spendTwo(wallet);
      assert.equal(verifyInput(raw, 0, spent), undefined);
      assert.equal(verifyInput(raw, 1, spent), undefined);
    });

    it(`refuses a ${name} spend after any one bit of its signature is flipped`, () => {
      const { raw, spent } = spendTwo(wallet);
      const length = RawTx.decode(raw).witnesses?.[0]?.[0]?.length ?? 0;
      fc.assert(
        fc.property(fc.nat(length - 1), fc.nat(7), (byte, bit) => {
          const draft = RawTx.decode(raw);
          const signature = draft.witnesses?.[0]?.[0];
          assert.ok(signature);
          signature[byte] = (signature[byte] ?? 0) ^ (1 << bit);
          assert.equal(
            code(() => verifyInput(RawTx.encode(draft), 0, spent)),
            "script-failed",
          );
        }),
        { numRuns: 200 },
      );
    });

    it(`refuses a ${name} spend when the spent amount is another`, () => {
      const { raw, spent } = spendTwo(wallet);
      const wrong = spent.map((output) => ({ ...output, amountSats: output.amountSats + 1n }));
      assert.equal(
        code(() => verifyInput(raw, 0, wrong)),
        "script-failed",
      );
    });
  }

  it("binds a P2TR signature to the amounts of the other inputs too (BIP-341), a P2WPKH one to its own", () => {
    for (const [wallet, verdict] of [
      [carol, "script-failed"],
      [alice, "valid"],
    ] as const) {
      const { raw, spent } = spendTwo(wallet);
      const wrong = spent.map((output, i) => (i === 1 ? { ...output, amountSats: 1n } : output));
      assert.equal(
        code(() => verifyInput(raw, 0, wrong)),
        verdict,
      );
    }
  });

  it("without the taproot flag, leaves a P2TR output to anyone, as before BIP-341", () => {
    const { raw, spent } = spendTwo(carol);
    const draft = RawTx.decode(raw);
    draft.witnesses?.splice(0, 1, [new Uint8Array([1])]);
    const witnessOnly = (1 << 0) | (1 << 11);
    assert.equal(
      code(() => verifyInput(RawTx.encode(draft), 0, spent, witnessOnly)),
      "valid",
    );
    assert.equal(
      code(() => verifyInput(RawTx.encode(draft), 0, spent)),
      "script-failed",
    );
  });

  it("names what is wrong with its arguments", () => {
    const { raw, spent } = spendTwo(alice);
    const script = alice.script;
    assert.equal(
      code(() => verifyInput(raw.subarray(1), 0, spent)),
      "transaction-malformed",
    );
    assert.equal(
      code(() => verifyInput(new Uint8Array([...raw, 0]), 0, spent)),
      "transaction-size-mismatch",
    );
    assert.equal(
      code(() => verifyInput(raw, 2, spent)),
      "input-index-out-of-range",
    );
    assert.equal(
      code(() => verifyInput(raw, 0, spent.slice(1))),
      "spent-outputs-mismatch",
    );
    assert.equal(
      code(() => verifyInput(raw, 0, spent, 1 << 30)),
      "flags-invalid",
    );
    for (const amountSats of [-1n, 2_100_000_000_000_001n, 2n ** 64n, 2n ** 200n]) {
      const outputs = [{ amountSats, scriptPubKey: script }];
      assert.equal(
        code(() => verifyInput(raw, 0, outputs)),
        "amount-out-of-range",
      );
    }
    for (const wrong of [[1], "text", null, undefined, {}] as never[]) {
      assert.notEqual(
        code(() => verifyInput(wrong, 0, spent)),
        "valid",
      );
      assert.notEqual(
        code(() => verifyInput(raw, 0, wrong)),
        "valid",
      );
    }
  });

  it("survives arbitrary bytes", () => {
    const bytes = fc.uint8Array({ maxLength: 300 });
    fc.assert(
      fc.property(
        bytes,
        bytes,
        fc.bigInt({ min: 0n, max: 2_100_000_000_000_000n }),
        (tx, scriptPubKey, amountSats) => {
          const verdict = code(() => verifyInput(tx, 0, [{ amountSats, scriptPubKey }]));
          assert.notEqual(verdict, "panicked");
        },
      ),
      { numRuns: 500 },
    );
  });

  it("survives arbitrary damage to a valid spend", () => {
    const { raw, spent } = spendTwo(carol);
    fc.assert(
      fc.property(fc.nat(raw.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const damaged = Uint8Array.from(raw);
        damaged[at] = (damaged[at] ?? 0) ^ mask;
        assert.notEqual(
          code(() => verifyInput(damaged, 0, spent)),
          "panicked",
        );
      }),
      { numRuns: 500 },
    );
  });
});
