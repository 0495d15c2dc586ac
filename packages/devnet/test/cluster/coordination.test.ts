import assert from "node:assert/strict";
import { test } from "node:test";
import { spendRequestHash, systemClock, systemRandom } from "@cairn/core";
import { openEtcdCoordination } from "@cairn/storage/etcd";
import { EtcdCluster } from "@cairn/storage/test-support";
import { ClusterOwner } from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

test("nodes show their cluster in etcd, pay as well while it is gone, frozen or full of nonsense, and catch up once it is back", {
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
    const coins = [0, 1, 2, 3].map((index) => owner.fund(wallet, [0, index], 100_000n));
    const reached = (state: string) =>
      until(
        async () =>
          (await cluster.client(2).call("getClusterStatus", {})).coordination.state === state ? true : null,
        { timeoutMs: 30_000, describe: () => `node 2 should say that etcd is ${state}` },
      );
    await reached("ok");

    // What others wrote there, and claims on every coin by nobody: no node believes it, and none waits for it.
    await view.put("/config/threshold", "1");
    await view.put("/peers/77", "\u0000 not JSON");
    for (const coin of coins) for (const vout of [0, 1]) await view.put(`/coins/${coin}:${vout}`, "<html>");
    const first = await owner.pay(1, owner.spendRequest(wallet, recipients));
    await shows(`/tx/${first.txid}/state`, "confirmed");
    await shows(`/tx/${first.txid}/votes/reject`, "0");
    await shows("/config/threshold", "4");
    for (const { key } of await view.list("/coins/")) await view.remove(key);
    assert.deepEqual(
      (await view.list("/peers/")).map(({ key }) => key).filter((key) => key !== "/peers/77"),
      [1, 2, 3, 4, 5].map((index) => `/peers/${index}`),
    );
    for (const { key, value } of await view.list(`/votes/${first.txid}/`)) {
      assert.match(value, /^\{"value":"approve","round":\d,/, key);
    }

    const third = owner.spendRequest(wallet, recipients);
    await owner.pay(3, third);
    const claims = await view.list("/coins/");
    assert.ok(
      claims.length > 0 && claims.every(({ value }) => value === spendRequestHash(third.body)),
      `the request claims its coins: ${claims.map(({ key, value }) => `${key} ${value}`)}`,
    );

    etcd.freeze(0);
    const frozen = await owner.pay(2, owner.spendRequest(wallet, recipients));
    await reached("unreachable");
    await etcd.kill(0);
    const second = await owner.pay(2, owner.spendRequest(wallet, recipients));
    await etcd.run(0);
    await shows(`/tx/${frozen.txid}/state`, "confirmed");
    await shows(`/tx/${second.txid}/state`, "confirmed");
    await reached("ok");
  } finally {
    await view.close();
    await cluster.close();
    await etcd.remove();
  }
});
