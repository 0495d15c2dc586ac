import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock, systemRandom } from "@cairn/core";
import { openEtcdCoordination } from "@cairn/storage/etcd";
import { EtcdCluster } from "@cairn/storage/test-support";
import { ClusterOwner } from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

test("nodes show their cluster in etcd, pay as well without it, and catch up once it is back", {
  timeout: 240_000,
}, async () => {
  const etcd = await EtcdCluster.start(1);
  const prefix = "/cairn/test";
  const view = openEtcdCoordination(
    { endpoints: etcd.endpoints, prefix, timeoutMs: 2_000, termMs: 2_000, tls: null, user: null },
    { clock: systemClock, random: systemRandom, report: () => {} },
  );
  const cluster = await startReducedCluster({
    settings: { coordination: { type: "etcd", endpoints: etcd.endpoints, prefix, timeout_ms: 500 } },
  });
  const owner = new ClusterOwner(cluster);
  const shows = (key: string, wanted: string) =>
    until(async () => ((await view.get(key))?.value === wanted ? true : null), {
      timeoutMs: 30_000,
      describe: () => `etcd should show ${wanted} at ${key}`,
    });
  try {
    const wallet = await owner.wallet(await owner.requestKey("frost", "main"), 60_000);
    const recipients = [{ address: cluster.chain.faucet.address, amountSats: 50_000n }];
    for (const index of [0, 1]) owner.fund(wallet, [0, index], 100_000n);

    const first = await owner.pay(1, owner.spendRequest(wallet, recipients));
    await shows(`/tx/${first.txid}/state`, "confirmed");
    await shows(`/tx/${first.txid}/votes/reject`, "0");
    assert.equal((await view.list("/peers/")).length, 5);
    assert.equal((await view.get("/config/threshold"))?.value, "4");
    for (const { key, value } of await view.list(`/votes/${first.txid}/`)) {
      assert.match(value, /^\{"value":"approve","round":\d,/, key);
    }

    await etcd.kill(0);
    const second = await owner.pay(2, owner.spendRequest(wallet, recipients));
    await etcd.run(0);
    await shows(`/tx/${second.txid}/state`, "confirmed");
  } finally {
    await view.close();
    await cluster.close();
    await etcd.remove();
  }
});
