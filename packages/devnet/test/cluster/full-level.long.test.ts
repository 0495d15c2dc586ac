import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { checkPayment } from "../../src/cluster/check-payment.ts";
import { type Cluster, startCluster } from "../../src/cluster/cluster.ts";
import { ClusterOwner, type OwnedWallet } from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";

const MINUTE_MS = 60_000;

let cluster: Cluster;
let owner: ClusterOwner;

before(async () => {
  cluster = await startCluster({
    level: "full",
    settings: {
      chain: { poll_ms: 1_000 },
      signing: { threads: 2 },
      presignatures: { target: 10, refill_below: 10, batch: 2, check_ms: 5_000 },
    },
  });
  owner = new ClusterOwner(cluster);
});
after(() => cluster.close());

async function pay(wallet: OwnedWallet, at: number): Promise<readonly number[]> {
  const recipients = [30_000n, 20_000n].map((amountSats) => ({
    address: cluster.chain.faucet.address,
    amountSats,
  }));
  const { txid, views } = await owner.pay(at, owner.spendRequest(wallet, recipients), 5 * MINUTE_MS);
  const rawTx = views[0]?.rawTx;
  assert.ok(rawTx != null);
  checkPayment({ txid, rawTx, recipients, network: "regtest" }, cluster.chain.chain);
  return views.find(({ signers }) => signers.length > 0)?.signers ?? [];
}

test("with real parameters five nodes make an ECDSA key, and four pay with a presignature and without one", async () => {
  const wallet = await owner.wallet(await owner.requestKey("cggmp24", "spending"), 20 * MINUTE_MS);
  owner.fund(wallet, [0, 0], 200_000n);
  await until(async () => ((await owner.nodesStocked(wallet, [0, 0])) === 5 ? true : null), {
    timeoutMs: 10 * MINUTE_MS,
    describe: async () => `presignatures are ready at ${await owner.nodesStocked(wallet, [0, 0])} nodes`,
    everyMs: 500,
  });
  const burned = async () => {
    const statuses = await Promise.all(
      cluster.running.map(({ client }) => client.call("getClusterStatus", {})),
    );
    return statuses.reduce((sum, { burnCounter }) => sum + burnCounter, 0);
  };
  assert.equal((await pay(wallet, 2)).length, 4);
  assert.equal(await burned(), 4);
  // A fresh deposit is spent before its presignatures can be there: the whole protocol runs.
  owner.fund(wallet, [0, 7], 5_000_000n);
  const recipients = [{ address: cluster.chain.faucet.address, amountSats: 4_900_000n }];
  const { txid, views } = await owner.pay(3, owner.spendRequest(wallet, recipients), 5 * MINUTE_MS);
  checkPayment({ txid, rawTx: views[0]?.rawTx ?? "", recipients, network: "regtest" }, cluster.chain.chain);
});

test("with real parameters five nodes make a FROST key and four pay from it while one is down", async () => {
  const wallet = await owner.wallet(await owner.requestKey("frost", "savings"), 5 * MINUTE_MS);
  owner.fund(wallet, [0, 0], 200_000n);
  await cluster.kill(3);
  await cluster.meshed();
  assert.deepEqual(
    [...(await pay(wallet, 5))].sort((a, b) => a - b),
    [1, 2, 4, 5],
  );
});
