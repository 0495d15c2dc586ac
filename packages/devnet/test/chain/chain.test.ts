import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isCairnError } from "@cairn/core";
import { RawTx } from "@scure/btc-signer";
import { type Block, encodeBlock, mineBlock, witnessCommitment } from "../../src/chain/block.ts";
import { encodeHeader, headerHash, meetsTarget, mineHeader } from "../../src/chain/block-header.ts";
import { Chain } from "../../src/chain/chain.ts";
import { subsidySats } from "../../src/chain/consensus-rules.ts";
import { merkleRoot } from "../../src/chain/merkle.ts";
import { scriptHash } from "../../src/chain/script-history.ts";
import { decodeTransaction, type Transaction } from "../../src/chain/transaction.ts";
import { FixedClock } from "./fixed-clock.ts";
import { assertRejects } from "./rejects.ts";
import { coinbaseCoin, coinOf, fundedChain, type TestCoin, TestWallet } from "./test-wallet.ts";

const alice = new TestWallet("alice");
const bob = new TestWallet("bob");
const carol = new TestWallet("carol", "tr");

function pay(coin: TestCoin, feeSats: bigint): Transaction {
  return alice.spend([coin], [[bob.script, coin.amountSats - feeSats]]);
}

describe("blocks", () => {
  it("start from regtest's own first block", () => {
    const chain = new Chain({}, { clock: new FixedClock() });
    assert.equal(chain.tip.hash, "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206");
    assert.equal(
      chain.tip.header.merkleRoot,
      "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b",
    );
    assert.equal(chain.coin({ txid: chain.tip.transactions[0]?.txid ?? assert.fail(), vout: 0 }), undefined);
  });

  it("carry an 80-byte header that meets the target and links to its parent", () => {
    const { chain } = fundedChain(alice);
    for (let height = 1; height <= chain.tip.height; height++) {
      const block = chain.blockAt(height);
      assert.ok(block);
      assert.equal(encodeHeader(block.header).length, 80);
      assert.equal(headerHash(block.header), block.hash);
      assert.ok(meetsTarget(block.header));
      assert.equal(block.header.previousHash, chain.blockAt(height - 1)?.hash);
      assert.equal(block.header.merkleRoot, merkleRoot(block.transactions.map(({ txid }) => txid)));
      assert.ok(block.header.time > (chain.blockAt(height - 1)?.medianTimePast ?? 0));
    }
  });

  it("have a coinbase that starts with the height (BIP-34) and commits to the witnesses (BIP-141)", () => {
    const { chain, coins } = fundedChain(alice);
    chain.broadcast(pay(coins[0] ?? assert.fail(), 1000n).raw);
    const [block] = chain.mine({ scriptPubKey: bob.script });
    const coinbase = block?.transactions[0];
    assert.ok(block && coinbase);
    assert.equal(block.height, 103);
    assert.equal(Buffer.from(coinbase.inputs[0]?.scriptSig.subarray(0, 2) ?? []).toString("hex"), "0167");
    assert.deepEqual(
      coinbase.outputs[1]?.scriptPubKey,
      witnessCommitment(block.transactions, new Uint8Array(32)),
    );
    assert.equal(block.size, encodeBlock(block).length);
  });

  it("pay 50 bitcoins, half of that every 150 blocks", () => {
    assert.equal(subsidySats(149), 5_000_000_000n);
    assert.equal(subsidySats(150), 2_500_000_000n);
    assert.equal(subsidySats(150 * 33), 0n);
    assert.equal(subsidySats(150 * 64), 0n);
    const chain = new Chain({}, { clock: new FixedClock() });
    chain.mine({ blocks: 300, scriptPubKey: alice.script });
    const rewards = [149, 150, 299, 300].map(
      (height) => chain.blockAt(height)?.transactions[0]?.outputs[0]?.amountSats,
    );
    assert.deepEqual(rewards, [5_000_000_000n, 2_500_000_000n, 2_500_000_000n, 1_250_000_000n]);
  });
});

describe("block refusal", () => {
  /** A block on the tip of a funded chain, changed by `change` and with a fresh proof of work. */
  function changed(change: Partial<Parameters<typeof mineBlock>[0]>, after?: (block: Block) => Block) {
    const { chain, coins, clock } = fundedChain(alice);
    const block = mineBlock({
      previousHash: chain.tip.hash,
      height: chain.tip.height + 1,
      time: Math.max(clock.seconds, chain.tip.medianTimePast + 1),
      scriptPubKey: bob.script,
      rewardSats: 5_000_000_000n,
      extraNonce: 0,
      transactions: [],
      ...change,
    });
    const coin = coins[0] ?? assert.fail();
    return { chain, coin, submit: () => chain.submitBlock(after === undefined ? block : after(block)) };
  }

  const remined = (block: Block, header: Partial<Block["header"]>): Block => {
    const mined = mineHeader({ ...block.header, ...header });
    return { ...block, header: mined, hash: headerHash(mined) };
  };

  it("names Bitcoin Core's reason for each defect", () => {
    assertRejects(changed({ previousHash: "11".repeat(32) }).submit, "prev-blk-not-found");
    assertRejects(changed({ height: 50 }).submit, "bad-cb-height");
    assertRejects(changed({ rewardSats: 5_000_000_001n }).submit, "bad-cb-amount");
    assertRejects(changed({ time: 1_500_000_000 }).submit, "time-too-old");
    assertRejects(changed({ time: 1_750_000_000 + 7_300 }).submit, "time-too-new");
    assertRejects(
      changed({}, (block) => remined(block, { merkleRoot: "22".repeat(32) })).submit,
      "bad-txnmrklroot",
    );
    assertRejects(changed({}, (block) => ({ ...block, hash: "00".repeat(32) })).submit, "high-hash");
  });

  it("refuses a hash above the target", () => {
    const { submit } = changed({}, (block) => {
      let { header } = block;
      while (meetsTarget(header)) header = { ...header, nonce: header.nonce + 1 };
      return { ...block, header, hash: headerHash(header) };
    });
    assertRejects(submit, "high-hash");
  });

  it("refuses a block with a spend of what does not exist, and leaves the coins as they were", () => {
    const { chain, coins } = fundedChain(alice);
    const coin = coins[0] ?? assert.fail();
    const good = pay(coin, 1000n);
    const bad = pay({ ...coin, vout: 9 }, 1000n);
    const before = chain.tip.hash;
    assertRejects(
      () => chain.mine({ scriptPubKey: bob.script, transactions: [good, bad] }),
      "bad-txns-inputs-missingorspent",
      -25,
    );
    assert.equal(chain.tip.hash, before);
    assert.equal(chain.coin(coin)?.amountSats, coin.amountSats);
    assert.equal(chain.coin(coinOf(good, 0)), undefined);
    chain.broadcast(good.raw);
  });

  it("refuses a block with a bad signature that never was in the mempool", () => {
    const { chain, coins } = fundedChain(alice);
    const coin = coins[0] ?? assert.fail();
    const draft = RawTx.decode(pay(coin, 1000n).raw);
    const [output] = draft.outputs;
    assert.ok(output);
    output.amount -= 1n;
    const forged = decodeTransaction(RawTx.encode(draft));
    assertRejects(
      () => chain.mine({ scriptPubKey: bob.script, transactions: [forged] }),
      "mandatory-script-verify-flag-failed",
    );
  });

  it("refuses the same transaction twice and a witness that nothing commits to", () => {
    const { chain, coins } = fundedChain(alice);
    const spend = pay(coins[0] ?? assert.fail(), 1000n);
    assertRejects(
      () => chain.mine({ scriptPubKey: bob.script, transactions: [spend, spend] }),
      "bad-txns-duplicate",
    );
    const { submit, coin } = changed({}, (block) => {
      const transactions = [...block.transactions, pay(coin, 1000n)];
      return remined(
        { ...block, transactions },
        { merkleRoot: merkleRoot(transactions.map(({ txid }) => txid)) },
      );
    });
    assertRejects(submit, "bad-witness-merkle-match");
  });
});

describe("reorganisation", () => {
  it("takes six blocks back, returns their transactions to the mempool and confirms them again", () => {
    const { chain, coins } = fundedChain(alice, 4);
    const fork = chain.tip;
    const paid: Transaction[] = [];
    for (const coin of coins.slice(0, 3)) {
      const transaction = pay(coin, 1000n);
      chain.broadcast(transaction.raw);
      const onward = bob.spend([coinOf(transaction, 0)], [[carol.script, coin.amountSats - 2000n]]);
      chain.mine({ scriptPubKey: bob.script });
      chain.broadcast(onward.raw);
      chain.mine({ scriptPubKey: bob.script });
      paid.push(transaction, onward);
    }
    const old = Array.from({ length: 6 }, (_, i) => chain.blockAt(fork.height + 1 + i)?.hash);
    assert.equal(chain.tip.height, fork.height + 6);

    const rival = chain.mine({ parent: fork.hash, blocks: 6, scriptPubKey: alice.script });
    assert.equal(chain.tip.hash, old.at(-1), "a branch of equal length does not win");
    chain.mine({ parent: rival.at(-1)?.hash ?? assert.fail(), scriptPubKey: alice.script });

    assert.equal(chain.tip.height, fork.height + 7);
    assert.deepEqual(chain.lastReorganisation?.disconnected, old.toReversed());
    assert.equal(chain.lastReorganisation?.connected.length, 7);
    assert.deepEqual(chain.lastReorganisation?.dropped, []);
    assert.deepEqual(
      chain.mempool.entries().map((entry) => entry.transaction.txid),
      paid.map(({ txid }) => txid),
    );
    for (const { txid } of paid) assert.equal(chain.confirmation(txid), undefined);
    const ofCarol = scriptHash(carol.script);
    assert.deepEqual(chain.confirmedHistory(ofCarol), []);
    const first = coins[0] ?? assert.fail();
    assert.equal(chain.coin(first)?.amountSats, first.amountSats);

    const [again] = chain.mine({ scriptPubKey: bob.script });
    assert.deepEqual(
      again?.transactions.slice(1).map(({ txid }) => txid),
      paid.map(({ txid }) => txid),
    );
    assert.equal(chain.coin(first), undefined);
    assert.equal(chain.confirmedHistory(ofCarol).length, 3);
  });

  for (const confirmChild of [false, true]) {
    it(`drops what a conflicting branch has made impossible, with its ${confirmChild ? "confirmed" : "waiting"} child`, () => {
      const { chain, coins } = fundedChain(alice);
      const coin = coins[0] ?? assert.fail();
      const fork = chain.tip;
      const payment = pay(coin, 1000n);
      chain.broadcast(payment.raw);
      chain.mine({ scriptPubKey: bob.script });
      const child = bob.spend([coinOf(payment, 0)], [[carol.script, coin.amountSats - 2000n]]);
      chain.broadcast(child.raw);
      if (confirmChild) chain.mine({ scriptPubKey: bob.script });
      const doubleSpend = alice.spend([coin], [[alice.script, coin.amountSats - 5000n]]);
      chain.mine({ parent: fork.hash, blocks: 3, scriptPubKey: bob.script, transactions: [doubleSpend] });
      assert.equal(chain.confirmation(doubleSpend.txid)?.block.height, fork.height + 1);
      assert.equal(chain.transaction(payment.txid), undefined);
      assert.deepEqual(chain.spender(coin), { txid: doubleSpend.txid, vin: 0 });
      assert.equal(chain.spender(coinOf(payment, 0)), undefined);
      assert.deepEqual(
        chain.lastReorganisation?.dropped.map(({ txid, reason }) => [txid, reason]),
        [payment, child].map(({ txid }) => [txid, "bad-txns-inputs-missingorspent"]),
      );
    });
  }

  it("drops spends of a coinbase whose block is taken back", () => {
    const { chain } = fundedChain(alice, 1);
    const first = chain.blockAt(1) ?? assert.fail();
    const spend = pay(coinbaseCoin(first), 1000n);
    chain.broadcast(spend.raw);
    chain.invalidateBlock(chain.tip.hash);
    assert.equal(chain.tip.height, 99);
    assert.deepEqual(
      chain.lastReorganisation?.dropped.map(({ reason }) => reason),
      ["bad-txns-premature-spend-of-coinbase, tried to spend coinbase at depth 99"],
    );
    assert.equal(chain.mempool.entries().length, 0);
  });

  it("invalidates a block and all above it, and reconsiders them", () => {
    const { chain } = fundedChain(alice);
    const tip = chain.tip;
    const victim = chain.blockAt(tip.height - 3) ?? assert.fail();
    chain.invalidateBlock(victim.hash);
    assert.equal(chain.tip.height, victim.height - 1);
    assertRejects(() => chain.mine({ parent: tip.hash, scriptPubKey: bob.script }), "bad-prevblk");
    chain.mine({ scriptPubKey: bob.script });
    assert.equal(chain.tip.height, victim.height);
    assert.notEqual(chain.tip.hash, victim.hash);
    chain.reconsiderBlock(victim.hash);
    assert.equal(chain.tip.hash, tip.hash);
    assert.throws(
      () => chain.invalidateBlock(chain.blockAt(0)?.hash ?? ""),
      (error) => isCairnError(error, "wrong-state"),
    );
    assert.throws(
      () => chain.invalidateBlock("33".repeat(32)),
      (error) => isCairnError(error, "not-found"),
    );
  });

  it("stays on the old branch when the longer one turns out invalid", () => {
    const { chain, coins } = fundedChain(alice);
    const coin = coins[0] ?? assert.fail();
    const fork = chain.tip;
    const payment = pay(coin, 1000n);
    chain.broadcast(payment.raw);
    const [block] = chain.mine({ scriptPubKey: bob.script });
    const bad = pay({ ...coin, vout: 5 }, 1000n);
    assertRejects(
      () => chain.mine({ parent: fork.hash, blocks: 2, scriptPubKey: bob.script, transactions: [bad] }),
      "bad-txns-inputs-missingorspent",
      -25,
    );
    assert.equal(chain.tip.hash, block?.hash);
    assert.equal(chain.confirmation(payment.txid)?.block.hash, block?.hash);
    assert.equal(chain.mempool.entries().length, 0);
  });
});
