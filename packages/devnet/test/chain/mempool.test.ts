import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RawTx } from "@scure/btc-signer";
import { dustThresholdSats } from "../../src/chain/output-script.ts";
import { decodeTransaction, type Transaction } from "../../src/chain/transaction.ts";
import { assertRejects } from "./rejects.ts";
import { coinbaseCoin, coinOf, fundedChain, type TestCoin, TestWallet } from "./test-wallet.ts";

const alice = new TestWallet("alice");
const bob = new TestWallet("bob");
const carol = new TestWallet("carol", "tr");

/** `transaction` with its decoded form changed, signatures left as they were. */
function altered(
  transaction: Transaction,
  change: (draft: ReturnType<typeof RawTx.decode>) => void,
): Transaction {
  const draft = RawTx.decode(transaction.raw);
  change(draft);
  return decodeTransaction(RawTx.encode(draft));
}

/** Flips one bit in the first witness item of the first input. */
function flipSignature(transaction: Transaction): Transaction {
  return altered(transaction, ({ witnesses }) => {
    const signature = witnesses?.[0]?.[0];
    assert.ok(signature);
    signature[20] = (signature[20] ?? 0) ^ 1;
  });
}

/** A funded chain and the first `mature` coins of alice. */
function setup(mature = 3, fullRbf = true) {
  const funded = fundedChain(alice, mature, { fullRbf });
  const coin = (index: number): TestCoin => {
    const found = funded.coins[index];
    assert.ok(found);
    return found;
  };
  return { ...funded, coin };
}

/** Pays everything in `coin` less `feeSats` to bob. */
function toBob(coin: TestCoin, feeSats: bigint, options = {}): Transaction {
  return alice.spend([coin], [[bob.script, coin.amountSats - feeSats]], options);
}

describe("mempool admission", () => {
  it("admits P2WPKH and P2TR spends, and a block confirms them", () => {
    const { chain, coin } = setup();
    const toCarol = alice.spend([coin(0)], [[carol.script, coin(0).amountSats - 1000n]]);
    const fromCarol = carol.spend([coinOf(toCarol, 0)], [[bob.script, coin(0).amountSats - 2000n]]);
    assert.equal(chain.broadcast(toCarol.raw).feeSats, 1000n);
    assert.equal(chain.broadcast(fromCarol.raw).feeSats, 1000n);
    assert.deepEqual(
      chain.mempool.entries().map((entry) => entry.transaction.txid),
      [toCarol.txid, fromCarol.txid],
    );
    const [block] = chain.mine({ scriptPubKey: bob.script });
    assert.deepEqual(
      block?.transactions.slice(1).map(({ txid }) => txid),
      [toCarol.txid, fromCarol.txid],
    );
    assert.equal(block?.transactions[0]?.outputs[0]?.amountSats, 5_000_000_000n + 2000n);
    assert.equal(chain.mempool.entries().length, 0);
    assert.equal(chain.coin(coin(0)), undefined);
    assert.equal(chain.coin(coinOf(fromCarol, 0))?.amountSats, coin(0).amountSats - 2000n);
  });

  it("takes a transaction that already waits without complaint", () => {
    const { chain, coin } = setup();
    const transaction = toBob(coin(0), 1000n);
    chain.broadcast(transaction.raw);
    chain.broadcast(transaction.raw);
    assert.equal(chain.mempool.entries().length, 1);
  });

  it("refuses a flipped P2WPKH signature", () => {
    const { chain, coin } = setup();
    const forged = flipSignature(toBob(coin(0), 1000n));
    const message = assertRejects(() => chain.broadcast(forged.raw), "mandatory-script-verify-flag-failed");
    assert.match(message, new RegExp(`input 0 of ${forged.txid} .*, spending ${coin(0).txid}:0$`));
  });

  it("refuses a flipped P2TR signature", () => {
    const { chain, coin } = setup();
    const toCarol = alice.spend([coin(0)], [[carol.script, coin(0).amountSats - 1000n]]);
    chain.broadcast(toCarol.raw);
    const forged = flipSignature(
      carol.spend([coinOf(toCarol, 0)], [[bob.script, coin(0).amountSats - 2000n]]),
    );
    assertRejects(() => chain.broadcast(forged.raw), "mandatory-script-verify-flag-failed");
  });

  it("refuses signatures over a wrong amount, of P2WPKH and of P2TR", () => {
    const { chain, coin } = setup();
    const wrong = toBob(coin(0), 1000n, { claimedSats: coin(0).amountSats + 1n });
    assertRejects(() => chain.broadcast(wrong.raw), "mandatory-script-verify-flag-failed");
    const toCarol = alice.spend([coin(0)], [[carol.script, coin(0).amountSats - 1000n]]);
    chain.broadcast(toCarol.raw);
    const outputs = [[bob.script, coin(0).amountSats - 2000n]] as const;
    const wrongTaproot = carol.spend([coinOf(toCarol, 0)], outputs, { claimedSats: coin(0).amountSats });
    assertRejects(() => chain.broadcast(wrongTaproot.raw), "mandatory-script-verify-flag-failed");
  });

  it("refuses another's signature", () => {
    const { chain, coin } = setup();
    const theft = altered(toBob(coin(0), 1000n), ({ witnesses }) => {
      witnesses?.splice(0, 1, [...(bob.spend([coin(0)], [[bob.script, 1000n]]).inputs[0]?.witness ?? [])]);
    });
    assertRejects(() => chain.broadcast(theft.raw), "mandatory-script-verify-flag-failed");
  });

  it("refuses a high-S signature as relay policy does", () => {
    const { chain, coin } = setup();
    const highS = altered(toBob(coin(0), 1000n), ({ witnesses }) => {
      const stack = witnesses?.[0];
      const signature = stack?.[0];
      assert.ok(stack && signature);
      stack[0] = withHighS(signature);
    });
    assertRejects(
      () => chain.broadcast(highS.raw),
      "non-mandatory-script-verify-flag (Non-canonical signature: S value is unnecessarily high)",
    );
  });

  it("refuses a missing or already spent input", () => {
    const { chain, coin } = setup();
    const missing = toBob({ txid: coin(0).txid, vout: 7, amountSats: 10_000n }, 1000n);
    assertRejects(() => chain.broadcast(missing.raw), "bad-txns-inputs-missingorspent", -25);
    chain.broadcast(toBob(coin(0), 1000n).raw);
    chain.mine({ scriptPubKey: bob.script });
    const again = toBob(coin(0), 5000n);
    assertRejects(() => chain.broadcast(again.raw), "bad-txns-inputs-missingorspent", -25);
  });

  it("refuses a transaction that a block already holds", () => {
    const { chain, coin } = setup();
    const transaction = toBob(coin(0), 1000n);
    chain.broadcast(transaction.raw);
    chain.mine({ scriptPubKey: bob.script });
    assertRejects(() => chain.broadcast(transaction.raw), "Transaction outputs already in utxo set", -27);
  });

  it("refuses outputs worth more than the inputs", () => {
    const { chain, coin } = setup();
    const inflating = altered(toBob(coin(0), 0n), ({ outputs }) => {
      const [output] = outputs;
      assert.ok(output);
      output.amount += 1n;
    });
    const message = assertRejects(() => chain.broadcast(inflating.raw), "bad-txns-in-belowout");
    assert.equal(message, "bad-txns-in-belowout, value in (50.00) < value out (50.00000001)");
  });

  it("refuses amounts outside the range", () => {
    const { chain, coin } = setup();
    const amount = (value: bigint) =>
      altered(toBob(coin(0), 1000n), ({ outputs }) => {
        const [output] = outputs;
        assert.ok(output);
        output.amount = value;
      });
    assertRejects(() => chain.broadcast(amount(2n ** 64n - 1n).raw), "bad-txns-vout-negative");
    assertRejects(() => chain.broadcast(amount(2_100_000_000_000_001n).raw), "bad-txns-vout-toolarge");
    const two = altered(toBob(coin(0), 1000n), ({ outputs }) => {
      outputs.splice(0, 1, ...[1, 2].map(() => ({ amount: 1_500_000_000_000_000n, script: bob.script })));
    });
    assertRejects(() => chain.broadcast(two.raw), "bad-txns-txouttotal-toolarge");
  });

  it("refuses one input twice, none, and no outputs", () => {
    const { chain, coin } = setup();
    const twice = altered(toBob(coin(0), 1000n), ({ inputs, witnesses }) => {
      inputs.push(...inputs);
      witnesses?.push(...witnesses);
    });
    assertRejects(() => chain.broadcast(twice.raw), "bad-txns-inputs-duplicate");
    const empty = altered(toBob(coin(0), 1000n), ({ outputs }) => outputs.splice(0));
    assertRejects(() => chain.broadcast(empty.raw), "bad-txns-vout-empty");
  });

  it("refuses a coinbase, and the null outpoint elsewhere", () => {
    const { chain, coin } = setup();
    const coinbase = chain.blockAt(5)?.transactions[0];
    assert.ok(coinbase);
    chain.mine({ scriptPubKey: bob.script });
    const foreign = altered(coinbase, (draft) => {
      draft.lockTime = 0;
      draft.version = 1;
    });
    assertRejects(() => chain.broadcast(foreign.raw), "coinbase");
    const nulled = altered(alice.spend([coin(0), coin(1)], [[bob.script, 1000n]]), ({ inputs }) => {
      const [input] = inputs;
      assert.ok(input);
      input.txid = new Uint8Array(32);
      input.index = 0xffffffff;
    });
    assertRejects(() => chain.broadcast(nulled.raw), "bad-txns-prevout-null");
  });

  it("refuses to spend a coinbase before 100 blocks lie on it", () => {
    const { chain } = setup(3);
    const young = chain.blockAt(4);
    assert.ok(young);
    const early = toBob(coinbaseCoin(young), 1000n);
    const message = assertRejects(() => chain.broadcast(early.raw), "bad-txns-premature-spend-of-coinbase");
    assert.match(message, /tried to spend coinbase at depth 99$/);
    chain.mine({ scriptPubKey: bob.script });
    chain.broadcast(early.raw);
  });

  it("refuses less than 1 sat/vB and accepts exactly that", () => {
    const { chain, coin } = setup();
    const { vsize } = toBob(coin(0), 1000n);
    const cheap = toBob(coin(0), BigInt(vsize - 1));
    const message = assertRejects(() => chain.broadcast(cheap.raw), "min relay fee not met");
    assert.equal(message, `min relay fee not met, ${vsize - 1} < ${vsize}`);
    chain.broadcast(toBob(coin(0), BigInt(vsize)).raw);
  });

  it("refuses an absurd fee as sendrawtransaction does", () => {
    const { chain, coin } = setup();
    assertRejects(
      () => chain.broadcast(toBob(coin(0), 100_000_000n).raw),
      "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)",
      -25,
    );
  });

  for (const [name, script, threshold] of [
    ["P2WPKH", bob.script, 294n],
    ["P2TR", carol.script, 330n],
    ["P2PKH", Buffer.from(`76a914${"11".repeat(20)}88ac`, "hex"), 546n],
    ["P2SH", Buffer.from(`a914${"11".repeat(20)}87`, "hex"), 540n],
    ["P2WSH", Buffer.from(`0020${"11".repeat(32)}`, "hex"), 330n],
  ] as const) {
    it(`refuses a ${name} output below ${threshold} satoshis as dust`, () => {
      const { chain, coin } = setup();
      assert.equal(dustThresholdSats(script), threshold);
      const pay = (amountSats: bigint) =>
        alice.spend(
          [coin(0)],
          [
            [script, amountSats],
            [alice.script, coin(0).amountSats - 10_000n],
          ],
        );
      assertRejects(() => chain.broadcast(pay(threshold - 1n).raw), "dust");
      chain.broadcast(pay(threshold).raw);
    });
  }

  it("refuses versions other than 1 to 3", () => {
    const { chain, coin } = setup();
    for (const version of [0, 4, -1]) {
      assertRejects(() => chain.broadcast(toBob(coin(0), 1000n, { version }).raw), "version");
    }
    for (const version of [1, 2, 3]) chain.broadcast(toBob(coin(version - 1), 1000n, { version }).raw);
  });

  it("refuses what is heavier than 400,000 weight units", () => {
    const { chain, coin } = setup();
    const outputs = Array.from({ length: 3300 }, () => [bob.script, 1000n] as const);
    assertRejects(() => chain.broadcast(alice.spend([coin(0)], outputs).raw), "tx-size");
  });

  it("refuses outputs of unknown kind and burnt coins, and relays an OP_RETURN of nothing", () => {
    const { chain, coin } = setup();
    const note = Buffer.from("6a0568656c6c6f", "hex");
    const withNote = (script: Uint8Array, amountSats: bigint) =>
      alice.spend(
        [coin(0)],
        [
          [script, amountSats],
          [bob.script, coin(0).amountSats - 10_000n],
        ],
      );
    assertRejects(() => chain.broadcast(withNote(Buffer.from("51", "hex"), 1000n).raw), "scriptpubkey");
    assertRejects(
      () => chain.broadcast(withNote(note, 1000n).raw),
      "Unspendable output exceeds maximum configured by user (maxburnamount)",
      -25,
    );
    chain.broadcast(withNote(note, 0n).raw);
  });

  it("refuses a transaction below 65 bytes without its witness", () => {
    const { chain, coin } = setup();
    const tiny = alice.spend([coin(0)], [[Buffer.from("6a", "hex"), 0n]]);
    assert.equal(tiny.strippedSize, 61);
    assertRejects(() => chain.broadcast(tiny.raw), "tx-size-small");
  });

  it("refuses an input script that does more than push", () => {
    const { chain, coin } = setup();
    const odd = altered(toBob(coin(0), 1000n), ({ inputs }) => {
      const [input] = inputs;
      assert.ok(input);
      input.finalScriptSig = new Uint8Array([0x61]);
    });
    assertRejects(() => chain.broadcast(odd.raw), "scriptsig-not-pushonly");
  });

  it("refuses bytes that are no transaction, trailing ones included", () => {
    const { chain, coin } = setup();
    const reason = "TX decode failed. Make sure the tx has at least one input.";
    const { raw } = toBob(coin(0), 1000n);
    for (const bytes of [new Uint8Array(), raw.subarray(0, -1), new Uint8Array([...raw, 0])]) {
      assertRejects(() => chain.broadcast(bytes), reason, -22);
    }
  });

  it("refuses a chain of more than 25 waiting transactions", () => {
    const { chain, coin } = setup();
    let last = coin(0);
    const next = () => alice.spend([last], [[alice.script, last.amountSats - 1000n]]);
    for (let i = 0; i < 25; i++) last = coinOf(chain.broadcast(next().raw).transaction, 0);
    const message = assertRejects(() => chain.broadcast(next().raw), "too-long-mempool-chain");
    assert.match(message, /too many unconfirmed ancestors \[limit: 25\]/);
  });

  it("keeps version 3 transactions among themselves, one small child to a parent (BIP-431)", () => {
    const { chain, coin } = setup();
    const parent = alice.spend([coin(0)], [[alice.script, coin(0).amountSats - 1000n]], { version: 3 });
    chain.broadcast(parent.raw);
    const child = (version: number) => toBob(coinOf(parent, 0), 1000n, { version });
    assertRejects(() => chain.broadcast(child(2).raw), "TRUC-violation");
    chain.broadcast(child(3).raw);
    const grandchild = bob.spend([coinOf(child(3), 0)], [[bob.script, 10_000_000n]], { version: 3 });
    assertRejects(() => chain.broadcast(grandchild.raw), "TRUC-violation");
  });
});

describe("locks", () => {
  it("refuses a lock time that the next block does not reach, by height", () => {
    const { chain, coin } = setup();
    const next = chain.tip.height + 1;
    const locked = toBob(coin(0), 1000n, { lockTime: next });
    assertRejects(() => chain.broadcast(locked.raw), "non-final");
    chain.broadcast(toBob(coin(1), 1000n, { lockTime: next, sequence: 0xffffffff }).raw);
    chain.mine({ scriptPubKey: bob.script });
    chain.broadcast(locked.raw);
  });

  it("refuses a lock time that the median time past does not exceed (BIP-113)", () => {
    const { chain, clock, coin } = setup();
    const lockTime = chain.tip.medianTimePast;
    const locked = toBob(coin(0), 1000n, { lockTime });
    assertRejects(() => chain.broadcast(locked.raw), "non-final");
    clock.seconds += 60;
    chain.mine({ scriptPubKey: bob.script, blocks: 6 });
    assert.ok(chain.tip.medianTimePast > lockTime);
    chain.broadcast(locked.raw);
  });

  it("refuses a relative lock in blocks that has not passed (BIP-68)", () => {
    const { chain, coin } = setup();
    chain.broadcast(alice.spend([coin(0)], [[alice.script, coin(0).amountSats - 1000n]]).raw);
    const [block] = chain.mine({ scriptPubKey: bob.script });
    const fresh = block?.transactions[1];
    assert.ok(fresh);
    const locked = toBob(coinOf(fresh, 0), 1000n, { sequence: 3 });
    assertRejects(() => chain.broadcast(locked.raw), "non-BIP68-final");
    chain.broadcast(toBob(coin(1), 1000n, { sequence: 3 }).raw);
    chain.mine({ scriptPubKey: bob.script });
    assertRejects(() => chain.broadcast(locked.raw), "non-BIP68-final");
    chain.mine({ scriptPubKey: bob.script });
    chain.broadcast(locked.raw);
  });

  it("refuses a relative lock in time that has not passed (BIP-68)", () => {
    const { chain, clock, coin } = setup();
    chain.broadcast(alice.spend([coin(0)], [[alice.script, coin(0).amountSats - 1000n]]).raw);
    const [block] = chain.mine({ scriptPubKey: bob.script });
    const fresh = block?.transactions[1];
    assert.ok(fresh);
    const locked = toBob(coinOf(fresh, 0), 1000n, { sequence: 0x400000 | 2 });
    assertRejects(() => chain.broadcast(locked.raw), "non-BIP68-final");
    clock.seconds += 900;
    chain.mine({ scriptPubKey: bob.script, blocks: 7 });
    assertRejects(() => chain.broadcast(locked.raw), "non-BIP68-final");
    clock.seconds += 200;
    chain.mine({ scriptPubKey: bob.script, blocks: 7 });
    chain.broadcast(locked.raw);
  });
});

describe("replacement", () => {
  it("replaces a transaction and its descendants by one that pays more", () => {
    const { chain, coin } = setup();
    const old = alice.spend([coin(0)], [[alice.script, coin(0).amountSats - 1000n]]);
    const child = toBob(coinOf(old, 0), 1000n);
    chain.broadcast(old.raw);
    chain.broadcast(child.raw);
    const bumped = toBob(coin(0), 5000n);
    chain.broadcast(bumped.raw);
    assert.deepEqual(
      chain.mempool.entries().map((entry) => entry.transaction.txid),
      [bumped.txid],
    );
    assert.deepEqual(chain.spender(coin(0)), { txid: bumped.txid, vin: 0 });
  });

  it("refuses a replacement with a fee rate no higher than before", () => {
    const { chain, coin } = setup();
    chain.broadcast(toBob(coin(0), 1000n).raw);
    const message = assertRejects(() => chain.broadcast(toBob(coin(0), 900n).raw), "insufficient fee");
    assert.match(message, /rejecting replacement [0-9a-f]{64}; new feerate 0\.0000.* <= old feerate/);
  });

  it("refuses a replacement that pays less than all that it evicts", () => {
    const { chain, coin } = setup();
    const old = alice.spend([coin(0)], [[alice.script, coin(0).amountSats - 1000n]]);
    chain.broadcast(old.raw);
    chain.broadcast(toBob(coinOf(old, 0), 50_000n).raw);
    const message = assertRejects(() => chain.broadcast(toBob(coin(0), 2000n).raw), "insufficient fee");
    assert.match(message, /less fees than conflicting txs; 0\.00002 < 0\.00051$/);
  });

  it("refuses a replacement that does not pay for its own relay", () => {
    const { chain, coin } = setup();
    chain.broadcast(toBob(coin(0), 1000n).raw);
    const message = assertRejects(() => chain.broadcast(toBob(coin(0), 1050n).raw), "insufficient fee");
    assert.match(message, /not enough additional fees to relay; 0\.0000005 < 0\.0000011$/);
  });

  it("refuses a replacement that adds an unconfirmed input", () => {
    const { chain, coin } = setup();
    chain.broadcast(toBob(coin(0), 1000n).raw);
    const other = alice.spend([coin(1)], [[alice.script, coin(1).amountSats - 1000n]]);
    chain.broadcast(other.raw);
    const both = alice.spend([coin(0), coinOf(other, 0)], [[bob.script, 9_999_980_000n]]);
    assertRejects(() => chain.broadcast(both.raw), "replacement-adds-unconfirmed");
  });

  it("refuses a replacement that evicts more than 100 transactions", () => {
    const { chain, coin } = setup(5);
    const parts = Array.from({ length: 24 }, () => [alice.script, 100_000_000n] as const);
    for (let i = 0; i < 5; i++) {
      const fan = alice.spend([coin(i)], [...parts, [alice.script, coin(i).amountSats - 2_400_010_000n]]);
      chain.broadcast(fan.raw);
      for (let vout = 0; vout < 20; vout++) chain.broadcast(toBob(coinOf(fan, vout), 200n).raw);
    }
    const coins = Array.from({ length: 5 }, (_, i) => coin(i));
    const all = alice.spend(coins, [[bob.script, 25_000_000_000n - 3_000_000n]]);
    assertRejects(() => chain.broadcast(all.raw), "too many potential replacements");
  });

  it("refuses a transaction that spends what it replaces", () => {
    const { chain, coin } = setup();
    const old = alice.spend([coin(0)], [[alice.script, coin(0).amountSats - 1000n]]);
    chain.broadcast(old.raw);
    const selfish = alice.spend([coin(0), coinOf(old, 0)], [[bob.script, 9_999_900_000n]]);
    assertRejects(() => chain.broadcast(selfish.raw), "bad-txns-spends-conflicting-tx");
  });

  it("without full replacement, replaces only what signalled it (BIP-125)", () => {
    const { chain, coin } = setup(3, false);
    chain.broadcast(toBob(coin(0), 1000n, { sequence: 0xffffffff }).raw);
    assertRejects(() => chain.broadcast(toBob(coin(0), 5000n).raw), "txn-mempool-conflict");
    chain.broadcast(toBob(coin(1), 1000n, { sequence: 0xfffffffd }).raw);
    chain.broadcast(toBob(coin(1), 5000n).raw);
    const signalling = alice.spend([coin(2)], [[alice.script, coin(2).amountSats - 1000n]]);
    chain.broadcast(signalling.raw);
    chain.broadcast(toBob(coinOf(signalling, 0), 1000n, { sequence: 0xffffffff }).raw);
    chain.broadcast(toBob(coinOf(signalling, 0), 5000n).raw);
  });
});

/** A DER signature with sighash byte whose S is replaced by n − S. */
function withHighS(signature: Uint8Array): Uint8Array {
  const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
  const rLength = signature[3] ?? 0;
  const r = signature.subarray(2, 4 + rLength);
  const s = signature.subarray(6 + rLength, -1);
  const high = (order - BigInt(`0x${Buffer.from(s).toString("hex")}`)).toString(16).padStart(64, "0");
  const highS = Buffer.concat([new Uint8Array([2, 33, 0]), Buffer.from(high, "hex")]);
  return new Uint8Array(
    Buffer.concat([new Uint8Array([0x30, r.length + highS.length]), r, highS, signature.subarray(-1)]),
  );
}
