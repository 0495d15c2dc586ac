import assert from "node:assert/strict";
import { test } from "node:test";
import { checkPayment } from "../../src/cluster/check-payment.ts";
import { startCluster } from "../../src/cluster/cluster.ts";
import { ClusterOwner } from "../../src/cluster/cluster-owner.ts";

test("nodes over Postgres make a key and pay, also while their server is killed and started again", async () => {
  const cluster = await startCluster({
    level: "reduced",
    nodes: 4,
    storage: "postgres",
    settings: {
      api: { rate_per_minute: 6_000 },
      chain: { poll_ms: 500 },
      consensus: { recheck_ms: 100 },
      primes: { target: 0 },
    },
  });
  try {
    const { postgres } = cluster;
    assert.ok(postgres !== null);
    const owner = new ClusterOwner(cluster);
    const wallet = await owner.wallet(await owner.requestKey("frost", "savings"), 60_000);
    for (const index of [0, 1]) owner.fund(wallet, [0, index], 500_000n);
    for (const restart of [false, true]) {
      const recipients = [{ address: cluster.chain.faucet.address, amountSats: 50_000n }];
      const paid = owner.pay(1, owner.spendRequest(wallet, recipients));
      if (restart) {
        await postgres.stop("kill");
        await postgres.start();
      }
      const { txid, views } = await paid;
      const rawTx = views[0]?.rawTx ?? "";
      checkPayment({ txid, rawTx, recipients, network: "regtest" }, cluster.chain.chain);
    }
    for (const index of cluster.indices) {
      const votes = await postgres.sql(`node_${index}`, "select distinct tx_id from votes where approve");
      assert.equal(votes.length, 2, `node ${index}`);
    }
    await Promise.all(cluster.indices.map((index) => cluster.restart(index)));
    await cluster.meshed();
  } finally {
    await cluster.close();
  }
});
