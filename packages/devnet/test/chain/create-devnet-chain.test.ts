import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isCairnError, systemClock, systemRandom, toHex } from "@cairn/core";
import { z } from "zod";
import { createDevnetChain, type DevnetChain } from "../../src/chain/create-devnet-chain.ts";
import { TestWallet } from "./test-wallet.ts";

const modules = { clock: systemClock, random: systemRandom };
const alice = new TestWallet("alice");
const carol = new TestWallet("carol", "tr");

describe("faucet", () => {
  it("pays many times between blocks, from mature coins and then from its own change", async () => {
    const devnet = await createDevnetChain({ initialBlocks: 101, ports: [] }, modules);
    for (let i = 1; i <= 20; i++)
      devnet.faucet.pay(i % 2 === 0 ? alice.address : carol.address, BigInt(i) * 10_000n);
    assert.equal(devnet.chain.mempool.entries().length, 20);
    const [block] = devnet.faucet.mine(1);
    assert.equal(block?.transactions.length, 21);
  });

  it("refuses dust, foreign addresses and more than it has", async () => {
    const devnet = await createDevnetChain({ initialBlocks: 101, ports: [] }, modules);
    const refuses = (code: "dust" | "address-invalid" | "insufficient-funds", act: () => unknown) =>
      assert.throws(act, (error) => isCairnError(error, code));
    refuses("dust", () => devnet.faucet.pay(alice.address, 293n));
    refuses("address-invalid", () => devnet.faucet.pay("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 1000n));
    refuses("insufficient-funds", () => devnet.faucet.pay(alice.address, 11_000_000_000n));
    assert.equal(devnet.chain.mempool.entries().length, 0);
  });
});

describe("control API", () => {
  let devnet: DevnetChain;
  before(async () => {
    devnet = await createDevnetChain({ initialBlocks: 105 }, modules);
  });
  after(() => devnet.close());

  const post = async (path: string, body: unknown) => {
    const response = await fetch(`${devnet.endpoints[0]?.url}/devnet/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer: unknown = await response.json();
    return { status: response.status, body: answer };
  };

  it("mines to the faucet or to an address", async () => {
    const mined = await post("mine", { blocks: 2, address: carol.address });
    assert.equal(mined.status, 200);
    const { hashes, height } = z
      .object({ hashes: z.array(z.string()), height: z.number() })
      .parse(mined.body);
    assert.deepEqual([hashes.length, height], [2, 107]);
    assert.deepEqual(devnet.chain.tip.transactions[0]?.outputs[0]?.scriptPubKey, carol.script);
    await post("mine", {});
    assert.deepEqual(devnet.chain.tip.transactions[0]?.outputs[0]?.scriptPubKey, devnet.faucet.scriptPubKey);
  });

  it("pays and reorganises", async () => {
    const paid = await post("faucet", { address: alice.address, amountSats: 40_000 });
    const { txid } = z.object({ txid: z.string() }).parse(paid.body);
    await post("mine", { blocks: 1 });
    const held = devnet.chain.tip.transactions[1];
    assert.equal(held?.txid, txid);
    const reorg = await post("reorg", { depth: 6 });
    const report = z
      .object({ disconnected: z.array(z.string()), connected: z.array(z.string()) })
      .parse(reorg.body);
    assert.deepEqual([report.disconnected.length, report.connected.length], [6, 7]);
    assert.deepEqual(
      devnet.chain.mempool.entries().map(({ transaction }) => transaction.txid),
      [txid],
    );
    const including = await post("reorg", { depth: 1, transactions: [toHex(held?.raw ?? new Uint8Array())] });
    assert.equal(including.status, 200);
    assert.equal(
      devnet.chain.confirmation(held?.txid ?? assert.fail())?.block.height,
      devnet.chain.tip.height - 1,
    );
  });

  it("stays reachable while the endpoint misbehaves, so that faults can be taken back", async () => {
    const url = devnet.endpoints[0]?.url;
    assert.equal((await post("faults", { answer: "unavailable" })).status, 200);
    assert.equal((await fetch(`${url}/blocks/tip/height`)).status, 503);
    assert.equal((await post("faults", {})).status, 200);
    assert.equal((await fetch(`${url}/blocks/tip/height`)).status, 200);
  });

  it("refuses what it does not understand", async () => {
    const codeOf = async (path: string, body: unknown) => {
      const answer = await post(path, body);
      return [answer.status, z.object({ code: z.string() }).parse(answer.body).code];
    };
    assert.deepEqual(await codeOf("mine", { blocks: 0 }), [400, "malformed"]);
    assert.deepEqual(await codeOf("mine", { address: "nowhere" }), [422, "address-invalid"]);
    assert.deepEqual(await codeOf("faucet", { address: alice.address, amountSats: -1 }), [400, "malformed"]);
    assert.deepEqual(await codeOf("faucet", { address: alice.address, amountSats: 1 }), [422, "dust"]);
    assert.deepEqual(await codeOf("reorg", { depth: 9999 }), [404, "not-found"]);
    assert.deepEqual(await codeOf("faults", { answer: "explode" }), [400, "malformed"]);
  });
});

describe("development chain", () => {
  it("mines by itself when told an interval", async () => {
    const devnet = await createDevnetChain({ initialBlocks: 0, ports: [], blockIntervalMs: 20 }, modules);
    const deadline = performance.now() + 5_000;
    while (devnet.chain.tip.height < 3 && performance.now() < deadline) await sleep(10);
    await devnet.close();
    const { height } = devnet.chain.tip;
    assert.ok(height >= 3);
    await sleep(60);
    assert.equal(devnet.chain.tip.height, height, "mining ends with close");
  });

  it("runs as a process of its own and ends on SIGTERM", async () => {
    const main = fileURLToPath(new URL("../../src/chain/main.ts", import.meta.url));
    const child = spawn(process.execPath, [main, "--port", "0", "--port", "0", "--initial-blocks", "101"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const [line]: unknown[] = await once(child.stdout, "data");
      const { endpoints } = z
        .object({ endpoints: z.array(z.string()), faucet: z.string() })
        .parse(JSON.parse(String(line)));
      assert.equal(endpoints.length, 2);
      for (const url of endpoints) {
        assert.equal(await (await fetch(`${url}/blocks/tip/height`)).text(), "101");
      }
    } finally {
      child.kill("SIGTERM");
    }
    const [code]: unknown[] = await once(child, "exit");
    assert.equal(code, 0);
  });
});
