import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { UnixMs } from "@cairn/core";
import { checkPayment } from "../../src/cluster/check-payment.ts";
import type { Cluster } from "../../src/cluster/cluster.ts";
import {
  ClusterOwner,
  type OwnedWallet,
  type Recipient,
  unpaidEnds,
} from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";
import { readBurns } from "./read-burns.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

let cluster: Cluster;
let owner: ClusterOwner;
let frost: OwnedWallet;
let ecdsa: OwnedWallet;

before(async () => {
  cluster = await startReducedCluster({ ecdsa: true });
  owner = new ClusterOwner(cluster);
});
after(() => cluster.close());

function pays(...amounts: bigint[]): Recipient[] {
  return amounts.map((amountSats) => ({ address: cluster.chain.faucet.address, amountSats }));
}

async function payAndCheck(at: number, wallet: OwnedWallet, recipients: Recipient[]) {
  const { txid, views } = await owner.pay(at, owner.spendRequest(wallet, recipients));
  assert.equal(views.length, cluster.running.length);
  const [first] = views;
  assert.ok(first?.rawTx != null);
  assert.ok(views.every(({ rawTx }) => rawTx === first.rawTx));
  checkPayment({ txid, rawTx: first.rawTx, recipients, network: "regtest" }, cluster.chain.chain);
  // A node that did not sign may have the signatures without knowing whose they are.
  const signers = [...(views.find((view) => view.signers.length > 0)?.signers ?? [])].sort((a, b) => a - b);
  assert.equal(signers.length, 4);
  return { txid, signers };
}

test("five processes have folders, ports and chain endpoints of their own", () => {
  const nodes = cluster.indices.map((index) => cluster.node(index));
  for (const key of ["pid", "dir", "api", "chain"] as const)
    assert.equal(new Set(nodes.map((node) => node[key])).size, 5, key);
});

test("five processes make a FROST key and pay two recipients, which all five see confirmed", async () => {
  frost = await owner.wallet(await owner.requestKey("frost", "savings", 2), 60_000);
  assert.match(frost.record.descriptor, /^tr\(/);
  for (const index of [0, 1, 2, 3, 4]) owner.fund(frost, [0, index], 500_000n);
  await payAndCheck(3, frost, pays(120_000n, 45_000n));
});

test("five processes make an ECDSA key, and four sign a deposit's payment with a presignature each burns once", async () => {
  ecdsa = await owner.wallet(await owner.requestKey("cggmp24", "spending"), 120_000);
  assert.match(ecdsa.record.descriptor, /^wpkh\(/);
  owner.fund(ecdsa, [0, 0], 800_000n);
  await until(async () => ((await owner.nodesStocked(ecdsa, [0, 0])) === 5 ? true : null), {
    timeoutMs: 90_000,
    describe: async () => `presignatures are ready at ${await owner.nodesStocked(ecdsa, [0, 0])} nodes`,
  });
  const { signers } = await payAndCheck(4, ecdsa, pays(200_000n, 100_000n));
  await Promise.all(cluster.indices.map((index) => cluster.stop(index)));
  const burns = cluster.indices.map((index) => ({ index, burns: readBurns(cluster.node(index).dir) }));
  assert.deepEqual(
    burns.filter((entry) => entry.burns.length > 0).map(({ index }) => index),
    signers,
  );
  const used = burns.flatMap((entry) => entry.burns);
  assert.equal(used.length, 4);
  assert.equal(new Set(used.map(({ presignature, session }) => `${presignature} ${session}`)).size, 1);
  await Promise.all(cluster.indices.map((index) => cluster.start(index)));
  await cluster.meshed();
});

test("with one node down both keys pay, and the node learns of it when it is back", async () => {
  await cluster.stop(2);
  await cluster.meshed();
  const first = await payAndCheck(1, frost, pays(60_000n));
  const second = await payAndCheck(5, ecdsa, pays(60_000n));
  for (const { signers } of [first, second]) assert.deepEqual(signers, [1, 3, 4, 5]);
  await cluster.start(2);
  for (const { txid } of [first, second]) {
    const views = await owner.confirmed(txid, 30_000);
    assert.equal(views.length, 5);
  }
});

test("with two nodes down nothing is signed, and once they are back the same coins pay", async () => {
  await Promise.all([cluster.stop(1), cluster.stop(5)]);
  await cluster.meshed();
  const coins = cluster.chain.chain.mempool.entries().length;
  const expiry = (Date.now() + 7_000) as UnixMs;
  const txid = await owner.submit(3, owner.spendRequest(frost, pays(70_000n), { expiry }));
  await until(
    async () => {
      const views = await owner.views(txid);
      assert.ok(views.every(({ view }) => view?.rawTx == null));
      return views.every(({ view }) => view !== null && unpaidEnds.includes(view.state)) ? true : null;
    },
    { timeoutMs: 30_000, describe: () => "the request never ended" },
  );
  assert.equal(cluster.chain.chain.mempool.entries().length, coins);
  await Promise.all([cluster.start(1), cluster.start(5)]);
  await cluster.meshed();
  await until(
    async () =>
      (await owner.balances(frost)).every(({ reservedSats }) => reservedSats === 0n) ? true : null,
    {
      timeoutMs: 30_000,
      describe: async () => `still reserved: ${JSON.stringify(await owner.balances(frost), text)}`,
    },
  );
  const [balance] = await owner.balances(frost);
  assert.ok(balance);
  await payAndCheck(1, frost, pays(balance.confirmedSats - 50_000n));
});

function text(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}
