import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isCairnError } from "@cairn/core";
import fc from "fast-check";
import { Chain } from "../../src/chain/chain.ts";
import { Coins } from "../../src/chain/coins.ts";
import { subsidySats } from "../../src/chain/consensus-rules.ts";
import { FixedClock } from "./fixed-clock.ts";
import { coinOf, TestWallet } from "./test-wallet.ts";

const alice = new TestWallet("alice");
const bob = new TestWallet("bob");

type Step =
  | { kind: "mine"; blocks: number }
  | { kind: "pay"; pick: number; feeSats: number }
  | { kind: "fork"; depth: number; extra: number; conflict: boolean }
  | { kind: "invalidate"; depth: number }
  | { kind: "reconsider" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("mine" as const), blocks: fc.integer({ min: 1, max: 3 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("pay" as const),
      pick: fc.nat(1000),
      feeSats: fc.integer({ min: 150, max: 9000 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("fork" as const),
      depth: fc.integer({ min: 1, max: 6 }),
      extra: fc.integer({ min: -1, max: 2 }),
      conflict: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("invalidate" as const), depth: fc.integer({ min: 0, max: 4 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "reconsider" as const }) },
);

/** Coins of alice that exist now: confirmed or waiting, whether or not a waiting transaction spends them. */
function coinsOf(chain: Chain) {
  const confirmed = Array.from({ length: chain.tip.height + 1 }, (_, height) =>
    chain.blockAt(height),
  ).flatMap((block) => block?.transactions ?? []);
  const waiting = chain.mempool.entries().map((entry) => entry.transaction);
  return [...confirmed, ...waiting].flatMap((transaction) =>
    transaction.outputs.flatMap((output, vout) =>
      Buffer.from(output.scriptPubKey).equals(alice.script) ? coinOf(transaction, vout) : [],
    ),
  );
}

function run(chain: Chain, action: Step, invalidated: string[]): void {
  switch (action.kind) {
    case "mine":
      chain.mine({ blocks: action.blocks, scriptPubKey: alice.script });
      return;
    case "pay": {
      const coins = coinsOf(chain);
      const coin = coins[action.pick % coins.length];
      if (coin === undefined || coin.amountSats < 20_000n) return;
      const half = coin.amountSats / 2n;
      const outputs = [
        [bob.script, half] as const,
        [alice.script, coin.amountSats - half - BigInt(action.feeSats)] as const,
      ];
      chain.broadcast(alice.spend([coin], outputs).raw);
      return;
    }
    case "fork": {
      const parent = chain.blockAt(chain.tip.height - action.depth);
      const blocks = action.depth + action.extra;
      if (parent === undefined || blocks < 1) return;
      const victim = chain.tip.transactions[1]?.inputs[0]?.outpoint;
      const source = victim === undefined ? undefined : chain.transaction(victim.txid);
      const conflicts =
        action.conflict && victim !== undefined && source !== undefined
          ? [alice.spend([coinOf(source, victim.vout)], [[alice.script, 5_000n]])]
          : [];
      chain.mine({ parent: parent.hash, blocks, scriptPubKey: alice.script, transactions: conflicts });
      return;
    }
    case "invalidate": {
      const block = chain.blockAt(chain.tip.height - action.depth);
      if (block === undefined || block.height < 101) return;
      chain.invalidateBlock(block.hash);
      invalidated.push(block.hash);
      return;
    }
    case "reconsider": {
      const hash = invalidated.pop();
      if (hash !== undefined) chain.reconsiderBlock(hash);
    }
  }
}

function check(chain: Chain): void {
  const replayed = new Coins();
  let issued = 0n;
  let fees = 0n;
  for (let height = 1; height <= chain.tip.height; height++) {
    const block = chain.blockAt(height) ?? assert.fail();
    assert.equal(block.header.previousHash, chain.blockAt(height - 1)?.hash);
    issued += subsidySats(height);
    for (const transaction of block.transactions) {
      const spent = replayed.apply(transaction, height);
      const outSats = transaction.outputs.reduce((sum, { amountSats }) => sum + amountSats, 0n);
      if (!transaction.isCoinbase)
        fees += spent.reduce((sum, { coin }) => sum + coin.amountSats, 0n) - outSats;
      assert.equal(chain.confirmation(transaction.txid)?.block.hash, block.hash);
      for (const { outpoint } of spent) assert.equal(chain.spender(outpoint)?.txid, transaction.txid);
      for (let vout = 0; vout < transaction.outputs.length; vout++) {
        const { txid } = transaction;
        if (chain.spender({ txid, vout }) === undefined && transaction.outputs[vout]?.amountSats !== 0n) {
          assert.ok(chain.coin({ txid, vout }), `unspent ${txid}:${vout} is missing`);
        }
      }
    }
  }
  let total = 0n;
  for (let height = 1; height <= chain.tip.height; height++) {
    for (const { txid, outputs } of chain.blockAt(height)?.transactions ?? []) {
      for (let vout = 0; vout < outputs.length; vout++) {
        assert.deepEqual(chain.coin({ txid, vout }), replayed.get({ txid, vout }));
        total += replayed.get({ txid, vout })?.amountSats ?? 0n;
      }
    }
  }
  assert.ok(fees >= 0n);
  assert.ok(total <= issued, "coins came from nowhere");
  const spent = new Set<string>();
  const waiting = new Set<string>();
  for (const { transaction } of chain.mempool.entries()) {
    for (const { outpoint } of transaction.inputs) {
      const key = `${outpoint.txid}:${outpoint.vout}`;
      assert.ok(!spent.has(key), "two waiting transactions spend one coin");
      assert.ok(
        chain.coin(outpoint) !== undefined || waiting.has(outpoint.txid),
        "a waiting transaction spends nothing",
      );
      spent.add(key);
    }
    waiting.add(transaction.txid);
  }
}

describe("chain invariants", () => {
  it("hold through any course of payments, blocks, forks, invalidations", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 25 }), (steps) => {
        const chain = new Chain({}, { clock: new FixedClock() });
        chain.mine({ blocks: 104, scriptPubKey: alice.script });
        const invalidated: string[] = [];
        for (const action of steps) {
          try {
            run(chain, action, invalidated);
          } catch (error) {
            // A refusal is an outcome like any other; the state after it is what is checked.
            assert.ok(isCairnError(error, "chain-rejected"), String(error));
          }
          check(chain);
        }
        // Whatever waits makes a valid block.
        chain.mine({ scriptPubKey: alice.script });
        assert.equal(chain.mempool.entries().length, 0);
        check(chain);
      }),
      { numRuns: 30 },
    );
  });
});
