import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { connectEsplora } from "@cairn/bitcoin";
import { systemClock, systemRandom } from "@cairn/core";
import { createDevnetChain, type DevnetChain } from "../../src/chain/create-devnet-chain.ts";
import { coinOf, TestWallet } from "./test-wallet.ts";

const carol = new TestWallet("carol", "tr");
const bob = new TestWallet("bob");

describe("the wallet's own Esplora client", () => {
  let devnet: DevnetChain;
  before(async () => {
    devnet = await createDevnetChain({ initialBlocks: 105 }, { clock: systemClock, random: systemRandom });
  });
  after(() => devnet.close());

  it("follows a deposit, a spend, a refusal and a reorganisation on the development chain", async () => {
    const endpoints = devnet.endpoints.map(({ url }) => url);
    const source = connectEsplora({ endpoints, network: "regtest" }, { clock: systemClock });
    assert.deepEqual(await source.tip(), { height: 105, hash: devnet.chain.tip.hash });
    assert.deepEqual(await source.scriptActivity(carol.script), { used: false, utxos: [], settled: 0 });

    const txid = devnet.faucet.pay(carol.address, 200_000n);
    devnet.faucet.mine(1);
    const { used, utxos } = await source.scriptActivity(carol.script);
    assert.equal(used, true);
    const [utxo] = utxos;
    assert.equal(utxo?.amountSats, 200_000n);
    assert.equal(utxo.outpoint.txid, txid);
    const deposit = devnet.chain.transaction(txid) ?? assert.fail();
    assert.deepEqual(new Uint8Array(await source.rawTransaction(txid)), deposit.raw);

    const coin = coinOf(deposit, utxo.outpoint.vout);
    const free = carol.spend([coin], [[bob.script, 200_000n]]);
    await assert.rejects(source.broadcast(free.raw), /min relay fee not met/);
    const spend = carol.spend([coin], [[bob.script, 199_000n]]);
    assert.equal(await source.broadcast(spend.raw), spend.txid);
    assert.deepEqual(await source.outspend(utxo.outpoint), {
      spent: true,
      by: spend.txid,
      status: { state: "mempool" },
    });
    devnet.faucet.mine(1);
    assert.equal(
      await source.broadcast(spend.raw),
      spend.txid,
      "a confirmed transaction counts as published",
    );
    assert.deepEqual(await source.transactionStatus(spend.txid), {
      state: "confirmed",
      blockHeight: devnet.chain.tip.height,
      blockHash: devnet.chain.tip.hash,
    });
    devnet.chain.invalidateBlock(devnet.chain.tip.hash);
    assert.deepEqual(await source.transactionStatus(spend.txid), { state: "mempool" });
    assert.ok((await source.feeEstimates()).length > 0);
  });
});
