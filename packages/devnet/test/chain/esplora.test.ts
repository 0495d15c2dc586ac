import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { systemClock, systemRandom, toHex } from "@cairn/core";
import { z } from "zod";
import { createDevnetChain, type DevnetChain } from "../../src/chain/create-devnet-chain.ts";
import { coinOf, TestWallet } from "./test-wallet.ts";

const alice = new TestWallet("alice");
const carol = new TestWallet("carol", "tr");

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const hex = z.string().regex(/^([0-9a-f]{2})*$/);
const int = z.number().int().nonnegative();

const statusSchema = z.discriminatedUnion("confirmed", [
  z.strictObject({ confirmed: z.literal(false) }),
  z.strictObject({ confirmed: z.literal(true), block_height: int, block_hash: hash, block_time: int }),
]);
const outputSchema = z.strictObject({
  scriptpubkey: hex,
  scriptpubkey_asm: z.string(),
  scriptpubkey_type: z.string(),
  scriptpubkey_address: z.string().optional(),
  value: int,
});
const transactionSchema = z.strictObject({
  txid: hash,
  version: int,
  locktime: int,
  vin: z.array(
    z.strictObject({
      txid: hash,
      vout: int,
      prevout: outputSchema.nullable(),
      scriptsig: hex,
      scriptsig_asm: z.string(),
      witness: z.array(hex).optional(),
      is_coinbase: z.boolean(),
      sequence: int,
      inner_redeemscript_asm: z.string().optional(),
      inner_witnessscript_asm: z.string().optional(),
    }),
  ),
  vout: z.array(outputSchema),
  size: int,
  weight: int,
  fee: int,
  status: statusSchema,
});
const blockSchema = z.strictObject({
  id: hash,
  height: int,
  version: int,
  timestamp: int,
  tx_count: int,
  size: int,
  weight: int,
  merkle_root: hash,
  previousblockhash: hash.nullable(),
  mediantime: int,
  nonce: int,
  bits: int,
  difficulty: z.number(),
});
const statsSchema = z.strictObject({
  tx_count: int,
  funded_txo_count: int,
  funded_txo_sum: int,
  spent_txo_count: int,
  spent_txo_sum: int,
});
const utxoSchema = z.array(z.strictObject({ txid: hash, vout: int, status: statusSchema, value: int }));
const spendSchema = z.union([
  z.strictObject({ spent: z.literal(false) }),
  z.strictObject({ spent: z.literal(true), txid: hash, vin: int, status: statusSchema }),
]);

describe("Esplora endpoint", () => {
  let devnet: DevnetChain;
  let url: string;

  before(async () => {
    devnet = await createDevnetChain({ initialBlocks: 110 }, { clock: systemClock, random: systemRandom });
    url = devnet.endpoints[0]?.url ?? assert.fail();
  });
  after(() => devnet.close());

  const fetchText = async (path: string, expected = 200): Promise<string> => {
    const response = await fetch(url + path);
    const body = await response.text();
    assert.equal(response.status, expected, `${path}: ${body}`);
    return body;
  };
  const fetchJson = async <T>(path: string, schema: z.ZodType<T>): Promise<T> =>
    schema.parse(JSON.parse(await fetchText(path)));
  const post = (body: string, headers: Record<string, string> = {}) =>
    fetch(`${url}/tx`, { method: "POST", body, headers });

  it("serves the tip and blocks by height, hash and page", async () => {
    const { chain } = devnet;
    assert.equal(await fetchText("/blocks/tip/height"), String(chain.tip.height));
    assert.equal(await fetchText("/blocks/tip/hash"), chain.tip.hash);
    assert.equal(await fetchText("/block-height/7"), chain.blockAt(7)?.hash);
    const newest = await fetchJson("/blocks", z.array(blockSchema));
    assert.deepEqual(
      newest.map(({ height }) => height),
      Array.from({ length: 10 }, (_, i) => chain.tip.height - i),
    );
    const first = await fetchJson("/blocks/3", z.array(blockSchema));
    assert.deepEqual(
      first.map(({ height }) => height),
      [3, 2, 1, 0],
    );
    assert.equal(first.at(-1)?.previousblockhash, null);
    const block = await fetchJson(`/block/${chain.tip.hash}`, blockSchema);
    assert.equal(block.previousblockhash, chain.blockAt(chain.tip.height - 1)?.hash);
    const header = Buffer.from(await fetchText(`/block/${chain.tip.hash}/header`), "hex");
    assert.equal(header.length, 80);
    const once = createHash("sha256").update(header).digest();
    assert.equal(createHash("sha256").update(once).digest().reverse().toString("hex"), chain.tip.hash);
    const txids = await fetchJson(`/block/${chain.tip.hash}/txids`, z.array(hash));
    assert.equal(await fetchText(`/block/${chain.tip.hash}/txid/0`), txids[0]);
    const transactions = await fetchJson(`/block/${chain.tip.hash}/txs`, z.array(transactionSchema));
    assert.equal(transactions[0]?.txid, txids[0]);
    assert.equal(transactions[0]?.vin[0]?.is_coinbase, true);
    assert.equal(transactions[0]?.vin[0]?.prevout, null);
    const raw = await fetch(`${url}/block/${chain.tip.hash}/raw`);
    assert.equal((await raw.arrayBuffer()).byteLength, block.size);
  });

  it("says what it does not have", async () => {
    assert.equal(await fetchText("/block-height/99999", 404), "Block not found");
    assert.equal(await fetchText(`/block/${"0".repeat(64)}`, 404), "Block not found");
    assert.equal(await fetchText(`/tx/${"0".repeat(64)}`, 404), "Transaction not found");
    assert.equal(await fetchText("/tx/nonsense", 400), "Invalid hash string");
    assert.equal(await fetchText("/address/bc1qnonsense", 400), "Invalid Bitcoin address");
    assert.match(await fetchText("/nowhere", 404), /endpoint does not exist/);
    assert.deepEqual(await fetchJson(`/tx/${"0".repeat(64)}/status`, statusSchema), { confirmed: false });
  });

  it("follows a payment from the faucet through mempool, block and spend", async () => {
    const paid = devnet.faucet.pay(alice.address, 123_456n);
    const path = `/address/${alice.address}`;
    const infoSchema = z.strictObject({
      address: z.literal(alice.address),
      chain_stats: statsSchema,
      mempool_stats: statsSchema,
    });
    const waiting = await fetchJson(path, infoSchema);
    assert.equal(waiting.chain_stats.tx_count, 0);
    assert.equal(waiting.mempool_stats.funded_txo_sum, 123_456);
    assert.equal((await fetchJson(`${path}/txs/mempool`, z.array(transactionSchema)))[0]?.txid, paid);
    assert.deepEqual(await fetchJson("/mempool/txids", z.array(hash)), [paid]);
    const backlogSchema = z.strictObject({
      count: int,
      vsize: int,
      total_fee: int,
      fee_histogram: z.array(z.tuple([z.number(), int])),
    });
    assert.equal((await fetchJson("/mempool", backlogSchema)).count, 1);
    const recentSchema = z.array(z.strictObject({ txid: hash, fee: int, vsize: int, value: int }));
    assert.equal((await fetchJson("/mempool/recent", recentSchema))[0]?.txid, paid);

    devnet.faucet.mine(1);
    const confirmed = await fetchJson(path, infoSchema);
    assert.equal(confirmed.mempool_stats.tx_count, 0);
    assert.deepEqual(confirmed.chain_stats, {
      tx_count: 1,
      funded_txo_count: 1,
      funded_txo_sum: 123_456,
      spent_txo_count: 0,
      spent_txo_sum: 0,
    });
    const [coin] = await fetchJson(`${path}/utxo`, utxoSchema);
    assert.ok(coin);
    assert.equal(coin.value, 123_456);
    assert.equal(coin.status.confirmed && coin.status.block_height, devnet.chain.tip.height);
    const scriptHash = createHash("sha256").update(alice.script).digest("hex");
    assert.deepEqual(await fetchJson(`/scripthash/${scriptHash}/utxo`, utxoSchema), [coin]);

    const transaction = devnet.chain.transaction(paid) ?? assert.fail();
    const view = await fetchJson(`/tx/${paid}`, transactionSchema);
    assert.equal(view.vout[coin.vout]?.scriptpubkey_address, alice.address);
    assert.equal(view.vout[coin.vout]?.scriptpubkey_type, "v0_p2wpkh");
    assert.match(view.vout[coin.vout]?.scriptpubkey_asm ?? "", /^OP_0 OP_PUSHBYTES_20 [0-9a-f]{40}$/);
    const inSats = view.vin.reduce((sum, input) => sum + (input.prevout?.value ?? 0), 0);
    assert.equal(view.fee, inSats - view.vout.reduce((sum, output) => sum + output.value, 0));
    assert.equal(await fetchText(`/tx/${paid}/hex`), toHex(transaction.raw));
    const raw = await fetch(`${url}/tx/${paid}/raw`);
    assert.deepEqual(new Uint8Array(await raw.arrayBuffer()), transaction.raw);
    const proofSchema = z.strictObject({ block_height: int, merkle: z.array(hash), pos: int });
    const proof = await fetchJson(`/tx/${paid}/merkle-proof`, proofSchema);
    assert.equal(proof.pos, 1);
    assert.deepEqual(proof.merkle, [devnet.chain.tip.transactions[0]?.txid]);

    const spend = alice.spend([coinOf(transaction, coin.vout)], [[carol.script, 120_000n]]);
    const accepted = await post(toHex(spend.raw));
    assert.equal(accepted.status, 200);
    assert.equal(await accepted.text(), spend.txid);
    const unspent = await fetchJson(`/tx/${paid}/outspends`, z.array(spendSchema));
    assert.deepEqual(unspent[coin.vout], {
      spent: true,
      txid: spend.txid,
      vin: 0,
      status: { confirmed: false },
    });
    assert.deepEqual(await fetchJson(`/tx/${paid}/outspend/${coin.vout}`, spendSchema), unspent[coin.vout]);
    assert.deepEqual(await fetchJson(`${path}/utxo`, utxoSchema), []);
    devnet.faucet.mine(1);
    const done = await fetchJson(`/tx/${spend.txid}/status`, statusSchema);
    assert.equal(done.confirmed, true);
    const history = await fetchJson(`${path}/txs`, z.array(transactionSchema));
    assert.deepEqual(
      history.map(({ txid }) => txid),
      [spend.txid, paid],
    );
    const [taproot] = (await fetchJson(`/tx/${spend.txid}`, transactionSchema)).vout;
    assert.equal(taproot?.scriptpubkey_type, "v1_p2tr");
    assert.equal(taproot?.scriptpubkey_address, carol.address);
  });

  it("pages the confirmed history by 25", async () => {
    const path = `/address/${devnet.faucet.address}/txs`;
    const page = z.array(transactionSchema);
    const first = await fetchJson(`${path}/chain`, page);
    const second = await fetchJson(`${path}/chain/${first.at(-1)?.txid}`, page);
    assert.deepEqual([first.length, second.length], [25, 25]);
    const ids = [...first, ...second].map(({ txid }) => txid);
    assert.equal(new Set(ids).size, 50);
    const heights = [...first, ...second].map(({ status }) => (status.confirmed ? status.block_height : -1));
    assert.deepEqual(
      heights,
      heights.toSorted((a, b) => b - a),
    );
  });

  it("estimates fees for Esplora's targets", async () => {
    const estimates = await fetchJson("/fee-estimates", z.record(z.string(), z.number()));
    assert.equal(Object.keys(estimates).length, 28);
    assert.deepEqual([estimates["1"], estimates["25"], estimates["1008"]], [1, 1, 1]);
  });

  it("refuses a broadcast with status 400 and the node's RPC error", async () => {
    const paid = devnet.faucet.pay(alice.address, 50_000n);
    const transaction = devnet.chain.transaction(paid) ?? assert.fail();
    const vout = transaction.outputs.findIndex(({ amountSats }) => amountSats === 50_000n);
    const cheap = alice.spend([coinOf(transaction, vout)], [[carol.script, 49_999n]]);
    const refused = await post(toHex(cheap.raw), { "content-type": "application/octet-stream" });
    assert.equal(refused.status, 400);
    assert.equal(
      await refused.text(),
      `sendrawtransaction RPC error: {"code":-26,"message":"min relay fee not met, 1 < ${cheap.vsize}"}`,
    );
    const nonsense = await post("zz");
    assert.equal(nonsense.status, 400);
    assert.equal(
      await nonsense.text(),
      'sendrawtransaction RPC error: {"code":-22,"message":"TX decode failed. Make sure the tx has at least one input."}',
    );
  });

  it("marks blocks that a reorganisation left behind", async () => {
    const old = devnet.chain.tip.hash;
    const statusOf = (id: string) =>
      fetchJson(
        `/block/${id}/status`,
        z.strictObject({ in_best_chain: z.boolean(), height: int.nullable(), next_best: hash.nullable() }),
      );
    assert.deepEqual(await statusOf(old), {
      in_best_chain: true,
      height: devnet.chain.tip.height,
      next_best: null,
    });
    const response = await fetch(`${url}/devnet/reorg`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ depth: 1 }),
    });
    assert.equal(response.status, 200);
    assert.deepEqual(await statusOf(old), { in_best_chain: false, height: null, next_best: null });
    assert.equal((await fetchJson(`/block/${old}`, blockSchema)).id, old);
  });
});
