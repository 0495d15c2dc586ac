import assert from "node:assert/strict";
import { test } from "node:test";
import { txidSchema } from "@cairn/core";
import {
  buildPsbt,
  type ChainSource,
  checkInclusion,
  checkPsbt,
  deriveKey,
  encodePsbt,
  feeRate,
  finalizeSpend,
  type MemoryChainSource,
  parseTransaction,
} from "../src/index.ts";
import { rejectsReason } from "./assert-reason.ts";
import { rulesFor, strangerKey, testWallet } from "./test-wallet.ts";

/** One run of the contract: a chain that the test moves, and the source that must see it. */
export interface ChainSourceSubject {
  readonly chain: MemoryChainSource;
  readonly source: ChainSource;
  close(): Promise<void>;
}

const wallet = testWallet("wpkh");
const own = deriveKey(wallet.descriptor, [0, 0]);
const nobody = txidSchema.parse(`${"00".repeat(31)}01`);

/** A signed transaction that spends the coin of `funding` to a stranger, `amountSats` of it. */
function spendOf(funding: { readonly raw: Uint8Array }, amountSats: bigint): Uint8Array {
  const payee = strangerKey("wpkh", 0);
  const psbt = buildPsbt({
    descriptor: wallet.descriptor,
    coins: [{ previousTransaction: funding.raw, vout: 0, path: [0, 0] }],
    recipients: [{ script: payee.script, amountSats }],
    lockTime: 0,
  });
  const rules = rulesFor(wallet.descriptor, [{ address: payee.address, amountSats }], {
    maxFeeSats: 100_000n,
  });
  const spend = checkPsbt(encodePsbt(psbt), rules);
  return finalizeSpend(spend, wallet.sign(spend)).raw;
}

/** What every {@link ChainSource} does. */
export function chainSourceContract(name: string, open: () => Promise<ChainSourceSubject>): void {
  const contract = (behaviour: string, run: (subject: ChainSourceSubject) => Promise<void>) =>
    test(`${name}: ${behaviour}`, async () => {
      const subject = await open();
      try {
        await run(subject);
      } finally {
        await subject.close();
      }
    });

  contract("the tip grows with the chain and names its block", async ({ chain, source }) => {
    const before = await source.tip();
    chain.mine(2);
    const after = await source.tip();
    assert.equal(after.height, before.height + 2);
    assert.equal(await source.blockHash(after.height), after.hash);
    assert.equal(await source.blockHash(before.height), before.hash);
    assert.equal(await source.blockHash(after.height + 1), undefined);
  });

  contract("a reorganisation changes the hash at a height", async ({ chain, source }) => {
    chain.mine(3);
    const before = await source.tip();
    chain.reorganise(1);
    chain.mine();
    const after = await source.tip();
    assert.equal(after.height, before.height);
    assert.notEqual(after.hash, before.hash);
  });

  contract("an untouched script is unused and holds nothing", async ({ source }) => {
    assert.deepEqual(await source.scriptActivity(own.script), { used: false, utxos: [], settled: 0 });
  });

  contract(
    "a deposit is seen waiting, then confirmed, then waiting again after a reorganisation",
    async ({ chain, source }) => {
      const { txid } = chain.fund(own.script, 70_000n);
      const outpoint = { txid, vout: 0 };
      const status = async () => (await source.scriptActivity(own.script)).utxos;
      assert.deepEqual(await status(), [{ outpoint, amountSats: 70_000n, status: { state: "mempool" } }]);
      assert.deepEqual(await source.transactionStatus(txid), { state: "mempool" });
      chain.mine();
      const { height: blockHeight, hash: blockHash } = await source.tip();
      const confirmed = { state: "confirmed", blockHeight, blockHash };
      assert.deepEqual(await status(), [{ outpoint, amountSats: 70_000n, status: confirmed }]);
      assert.deepEqual(await source.transactionStatus(txid), confirmed);
      chain.reorganise(1);
      assert.deepEqual(await source.transactionStatus(txid), { state: "mempool" });
    },
  );

  contract("a script's transactions are settled where none of them waits", async ({ chain, source }) => {
    const settled = async () => (await source.scriptActivity(own.script)).settled;
    const funding = chain.fund(own.script, 70_000n);
    assert.equal(await settled(), undefined);
    chain.mine();
    assert.equal(await settled(), 1);
    await source.broadcast(spendOf(funding, 69_000n));
    assert.equal(await settled(), undefined);
    chain.mine();
    assert.equal(await settled(), 2);
    chain.reorganise(1);
    assert.equal(await settled(), undefined);
  });

  contract("an evicted or invented transaction is unknown", async ({ chain, source }) => {
    const { txid } = chain.fund(own.script, 70_000n);
    chain.evict(txid);
    for (const unknown of [txid, nobody]) {
      assert.deepEqual(await source.transactionStatus(unknown), { state: "unknown" });
      await rejectsReason(source.rawTransaction(unknown), "chain-not-found");
      await rejectsReason(source.outspend({ txid: unknown, vout: 0 }), "chain-not-found");
    }
  });

  contract("a raw transaction hashes to its id", async ({ chain, source }) => {
    const funding = chain.fund(own.script, 70_000n);
    const raw = await source.rawTransaction(funding.txid);
    assert.deepEqual(raw, funding.raw);
    assert.equal(parseTransaction(raw).txid, funding.txid);
  });

  contract(
    "a confirmed transaction proves the block it is in, a waiting one is in none",
    async ({ chain, source }) => {
      const among = Array.from({ length: 5 }, () => chain.fund(own.script, 70_000n).txid);
      for (const txid of [...among, nobody]) assert.equal(await source.inclusion(txid), undefined);
      chain.mine();
      const { height, hash } = await source.tip();
      for (const [position, txid] of among.entries()) {
        const found = await source.inclusion(txid);
        assert.ok(found !== undefined);
        assert.deepEqual([found.blockHeight, found.blockHash, found.position], [height, hash, position]);
        checkInclusion(txid, found);
      }
      chain.reorganise(1);
      for (const txid of among) assert.equal(await source.inclusion(txid), undefined);
    },
  );

  contract("a spend moves the coin, and says who spent it", async ({ chain, source }) => {
    const funding = chain.fund(own.script, 70_000n);
    chain.mine();
    const outpoint = { txid: funding.txid, vout: 0 };
    assert.deepEqual(await source.outspend(outpoint), { spent: false });
    const raw = spendOf(funding, 69_000n);
    const by = await source.broadcast(raw);
    assert.equal(by, parseTransaction(raw).txid);
    assert.deepEqual(await source.outspend(outpoint), { spent: true, by, status: { state: "mempool" } });
    assert.deepEqual(await source.scriptActivity(own.script), { used: true, utxos: [] });
    chain.mine();
    const after = await source.outspend(outpoint);
    assert.equal(after.spent && after.status.state, "confirmed");
  });

  contract("broadcasting what is known already succeeds", async ({ chain, source }) => {
    const raw = spendOf(chain.fund(own.script, 70_000n), 69_000n);
    const first = await source.broadcast(raw);
    assert.equal(await source.broadcast(raw), first);
    chain.mine();
    assert.equal(await source.broadcast(raw), first);
  });

  contract("a double spend is rejected with the network's reason", async ({ chain, source }) => {
    const funding = chain.fund(own.script, 70_000n);
    await source.broadcast(spendOf(funding, 69_000n));
    await assert.rejects(source.broadcast(spendOf(funding, 68_000n)), /txn-mempool-conflict/);
    await rejectsReason(source.broadcast(spendOf(funding, 68_000n)), "chain-rejected");
  });

  contract("fee estimates come in the order of their targets", async ({ chain, source }) => {
    assert.deepEqual(await source.feeEstimates(), []);
    const estimates = [
      { targetBlocks: 1, rate: feeRate(20.5) },
      { targetBlocks: 6, rate: feeRate(7.25) },
      { targetBlocks: 144, rate: feeRate(1.001) },
    ];
    chain.setFeeEstimates([...estimates].reverse());
    assert.deepEqual(await source.feeEstimates(), estimates);
  });
}
