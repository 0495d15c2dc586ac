import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Txid } from "@cairn/core";
import { ClusterOwner } from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

const LIMIT_MS = 120_000;
const PAYMENTS = 6;

test("a node that was away while its peers lost what waited for it asks for every payment, though it is killed again and again", {
  timeout: 300_000,
}, async () => {
  const cluster = await startReducedCluster();
  try {
    const owner = new ClusterOwner(cluster);
    const wallet = await owner.wallet(await owner.requestKey("frost", "main"), LIMIT_MS);
    for (let index = 0; index < PAYMENTS; index += 1) owner.fund(wallet, [0, index], 100_000n);
    const recipients = [{ address: cluster.chain.faucet.address, amountSats: 50_000n }];
    await cluster.stop(5);
    const paid: Txid[] = [];
    for (let count = 0; count < PAYMENTS; count += 1) {
      paid.push((await owner.pay(1, owner.spendRequest(wallet, recipients), LIMIT_MS)).txid);
    }
    for (const index of [1, 2, 3, 4]) {
      await cluster.stop(index);
      const database = new DatabaseSync(join(cluster.node(index).dir, "data", "cairn.db"));
      database.exec("delete from outbox where node_id = 5");
      database.close();
    }
    // Half of them are history to node 5, six deep; the last are not.
    cluster.chain.faucet.mine(4);
    await Promise.all([1, 2, 3, 4].map((index) => cluster.start(index)));

    const known = async (): Promise<number> => {
      const { transactions } = await cluster.client(5).call("listTransactions", { query: { limit: 100 } });
      return transactions.filter(({ state }) => state === "confirmed").length;
    };
    for (const ms of [50, 250, 700]) {
      await cluster.start(5);
      await delay(ms);
      await cluster.kill(5);
    }
    await cluster.start(5);
    await until(async () => ((await known()) >= PAYMENTS ? true : null), {
      timeoutMs: LIMIT_MS,
      describe: () => "node 5 does not come to know all payments",
    });
    const { sync } = await cluster.client(5).call("getClusterStatus", {});
    assert.equal(sync.abstains, false);
    for (const txid of paid) {
      const [mine, theirs] = await Promise.all([owner.transaction(5, txid), owner.transaction(1, txid)]);
      assert.equal(mine?.blockHeight, theirs?.blockHeight);
      assert.equal(mine?.feeSats, theirs?.feeSats);
    }
    const { entries } = await cluster.client(5).call("listAudit", { query: { kind: "violation" } });
    assert.deepEqual(entries, []);
    // It goes on as if it had never been away: its signature is needed.
    owner.fund(wallet, [0, PAYMENTS], 100_000n);
    await cluster.stop(4);
    await owner.pay(5, owner.spendRequest(wallet, recipients), LIMIT_MS);
  } finally {
    await cluster.close();
  }
});
