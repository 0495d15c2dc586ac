import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { systemClock, systemRandom, toHex } from "@cairn/core";
import { z } from "zod";
import { createDevnetChain, type DevnetChain } from "../../src/chain/create-devnet-chain.ts";
import type { ChainServer } from "../../src/chain/start-chain-server.ts";
import { coinOf, TestWallet } from "./test-wallet.ts";

const alice = new TestWallet("alice");
const carol = new TestWallet("carol", "tr");
const utxos = z.array(z.object({ txid: z.string(), vout: z.number(), value: z.number() }));
const info = z.object({ chain_stats: z.object({ funded_txo_sum: z.number(), spent_txo_sum: z.number() }) });

describe("endpoint faults", () => {
  let devnet: DevnetChain;
  let liar: ChainServer;
  let honest: ChainServer;

  before(async () => {
    const modules = { clock: systemClock, random: systemRandom };
    devnet = await createDevnetChain({ initialBlocks: 110, ports: [0, 0] }, modules);
    [liar, honest] = [devnet.endpoints[0] ?? assert.fail(), devnet.endpoints[1] ?? assert.fail()];
    devnet.faucet.pay(alice.address, 100_000n);
    devnet.faucet.mine(1);
  });
  after(() => devnet.close());
  beforeEach(() => liar.setFaults({}));

  const json = async <T>(server: ChainServer, path: string, schema: z.ZodType<T>): Promise<T> =>
    schema.parse(await (await fetch(server.url + path)).json());

  it("leave the other endpoints over the same chain honest", async () => {
    liar.setFaults({ answer: "unavailable" });
    assert.equal((await fetch(`${liar.url}/blocks/tip/height`)).status, 503);
    assert.equal(
      await (await fetch(`${honest.url}/blocks/tip/height`)).text(),
      String(devnet.chain.tip.height),
    );
  });

  it("hang", async () => {
    liar.setFaults({ answer: "hang" });
    await assert.rejects(fetch(`${liar.url}/blocks/tip/height`, { signal: AbortSignal.timeout(200) }), {
      name: "TimeoutError",
    });
  });

  it("cut answers short", async () => {
    liar.setFaults({ answer: "truncate" });
    const response = await fetch(`${liar.url}/blocks`);
    assert.equal(response.status, 200);
    await assert.rejects(response.text());
    assert.equal((await fetch(`${honest.url}/blocks`)).ok, true);
  });

  it("answer with a proxy's HTML", async () => {
    liar.setFaults({ answer: "html" });
    const response = await fetch(`${liar.url}/blocks/tip/height`);
    assert.equal(response.status, 200);
    assert.match(await response.text(), /^<!DOCTYPE html>/);
  });

  it("answer late", async () => {
    liar.setFaults({ delayMs: 150 });
    const start = performance.now();
    assert.equal((await fetch(`${liar.url}/blocks/tip/height`)).status, 200);
    assert.ok(performance.now() - start >= 149);
  });

  it("inflate balances", async () => {
    const path = `/address/${alice.address}`;
    liar.setFaults({ inflateSats: 5_000 });
    const [told] = await json(liar, `${path}/utxo`, utxos);
    const [real] = await json(honest, `${path}/utxo`, utxos);
    assert.deepEqual([told?.value, real?.value], [105_000, 100_000]);
    assert.equal((await json(liar, path, info)).chain_stats.funded_txo_sum, 105_000);
    const raw = async (server: ChainServer) => (await fetch(`${server.url}/tx/${told?.txid}/hex`)).text();
    assert.equal(await raw(liar), await raw(honest), "the transaction that its id commits to cannot lie");
  });

  it("make up coins", async () => {
    liar.setFaults({ phantomSats: 77_000 });
    const told = await json(liar, `/address/${carol.address}/utxo`, utxos);
    assert.deepEqual(
      told.map(({ value }) => value),
      [77_000],
    );
    assert.equal((await fetch(`${liar.url}/tx/${told[0]?.txid}/hex`)).status, 404);
  });

  it("forge fees", async () => {
    liar.setFaults({ feeRate: 950 });
    const estimates = await json(liar, "/fee-estimates", z.record(z.string(), z.number()));
    assert.deepEqual(new Set(Object.values(estimates)), new Set([950]));
  });

  it("swallow broadcasts", async () => {
    liar.setFaults({ swallowBroadcasts: true });
    const spend = spendNewCoin(60_000n);
    const answer = await fetch(`${liar.url}/tx`, { method: "POST", body: toHex(spend.raw) });
    assert.equal(await answer.text(), spend.txid);
    assert.equal(devnet.chain.transaction(spend.txid), undefined);
  });

  it("hide spends", async () => {
    const spend = spendNewCoin(70_000n);
    devnet.chain.broadcast(spend.raw);
    const source = spend.inputs[0]?.outpoint ?? assert.fail();
    const path = `/address/${alice.address}`;
    const has = async (server: ChainServer) =>
      (await json(server, `${path}/utxo`, utxos)).some(({ txid }) => txid === source.txid);
    assert.equal(await has(honest), false);
    liar.setFaults({ hideSpends: true });
    assert.equal(await has(liar), true);
    const spent = z.object({ spent: z.boolean() });
    assert.equal((await json(liar, `/tx/${source.txid}/outspend/${source.vout}`, spent)).spent, false);
    assert.equal((await json(honest, `/tx/${source.txid}/outspend/${source.vout}`, spent)).spent, true);
    const waiting = async (server: ChainServer) =>
      (await json(server, `${path}/txs/mempool`, z.array(z.unknown()))).length;
    assert.deepEqual([await waiting(liar), await waiting(honest)], [0, 1]);
  });

  it("lag behind", async () => {
    devnet.faucet.mine(1);
    const txid = devnet.faucet.pay(carol.address, 30_000n);
    devnet.faucet.mine(2);
    liar.setFaults({ hideBlocks: 2 });
    const height = async (server: ChainServer) =>
      Number(await (await fetch(`${server.url}/blocks/tip/height`)).text());
    assert.equal(await height(liar), (await height(honest)) - 2);
    const confirmed = async (server: ChainServer) =>
      (await json(server, `/tx/${txid}/status`, z.object({ confirmed: z.boolean() }))).confirmed;
    assert.deepEqual([await confirmed(liar), await confirmed(honest)], [false, true]);
    assert.equal((await fetch(`${liar.url}/block/${devnet.chain.tip.hash}`)).status, 404);
    const stats = z.object({
      chain_stats: z.object({ tx_count: z.number() }),
      mempool_stats: z.object({ tx_count: z.number() }),
    });
    const told = await json(liar, `/address/${carol.address}`, stats);
    assert.deepEqual([told.chain_stats.tx_count, told.mempool_stats.tx_count], [1, 1]);
  });

  /** A signed spend to carol of a coin that a new block gives to alice. */
  function spendNewCoin(amountSats: bigint) {
    const paid = devnet.chain.transaction(devnet.faucet.pay(alice.address, amountSats)) ?? assert.fail();
    devnet.faucet.mine(1);
    const vout = paid.outputs.findIndex((output) => output.amountSats === amountSats);
    return alice.spend([coinOf(paid, vout)], [[carol.script, amountSats - 1000n]]);
  }
});
