import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { maxBlockWeight } from "../../src/chain/consensus-rules.ts";
import { feeEstimates, feeHistogram } from "../../src/chain/fee-estimates.ts";
import { coinOf, fundedChain, type TestCoin, TestWallet } from "./test-wallet.ts";

const alice = new TestWallet("alice");
const bob = new TestWallet("bob");

/** A transaction of about 99,300 virtual bytes with change to alice. */
function heavy(coin: TestCoin, feeSats: bigint) {
  const data = new Uint8Array(99_000).fill(0x61);
  data.set([0x6a, 0x4e, ...new Uint8Array(new Uint32Array([data.length - 6]).buffer)]);
  return alice.spend(
    [coin],
    [
      [alice.script, coin.amountSats - feeSats],
      [data, 0n],
    ],
  );
}

describe("block assembly", () => {
  it("fills a block with what pays best, counting children that pay for their parents", () => {
    const { chain, coins } = fundedChain(alice, 12);
    const sent = coins.map(
      (coin, i) => chain.broadcast(heavy(coin, 150_000n + BigInt(i) * 10_000n).raw).transaction,
    );
    const [cheapest, second, third] = sent;
    assert.ok(cheapest && second && third);
    const child = alice.spend([coinOf(cheapest, 0)], [[bob.script, 4_998_850_000n]]);
    chain.broadcast(child.raw);

    const [block] = chain.mine({ scriptPubKey: bob.script });
    assert.ok(block && block.weight <= maxBlockWeight);
    const held = block.transactions.map(({ txid }) => txid);
    assert.ok(held.includes(cheapest.txid) && held.includes(child.txid), "the child pays for its parent");
    assert.ok(held.indexOf(cheapest.txid) < held.indexOf(child.txid));
    assert.deepEqual(
      chain.mempool.entries().map(({ transaction }) => transaction.txid),
      [second, third].map(({ txid }) => txid),
    );
    chain.mine({ scriptPubKey: bob.script });
    assert.equal(chain.mempool.entries().length, 0);
  });

  it("estimates what outbids the backlog", () => {
    const { chain, coins } = fundedChain(alice, 12);
    for (const [i, coin] of coins.entries())
      chain.broadcast(heavy(coin, 200_000n + BigInt(i) * 100_000n).raw);
    const entries = chain.mempool.entries();
    const estimates = feeEstimates(entries);
    const rates = entries.map(({ feeSats, transaction }) => Number(feeSats) / transaction.vsize);
    assert.equal(estimates["1"], rates[1], "the eleventh of twelve no longer fits");
    assert.equal(estimates["2"], 1);
    const histogram = feeHistogram(entries);
    assert.equal(
      histogram.reduce((sum, [, vsize]) => sum + vsize, 0),
      entries.reduce((sum, { transaction }) => sum + transaction.vsize, 0),
    );
    const told = histogram.map(([rate]) => rate);
    assert.deepEqual(
      told,
      told.toSorted((a, b) => b - a),
    );
  });
});
