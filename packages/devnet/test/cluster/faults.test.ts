import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { spendRequestToJson } from "@cairn/client";
import {
  Ed25519Signer,
  isCairnError,
  type Sats,
  type SpendRequest,
  signBody,
  type Txid,
  type UnixMs,
} from "@cairn/core";
import type { Cluster } from "../../src/cluster/cluster.ts";
import {
  ClusterOwner,
  type OwnedWallet,
  type Recipient,
  unpaidEnds,
} from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

let cluster: Cluster;
let owner: ClusterOwner;
let wallet: OwnedWallet;

before(async () => {
  cluster = await startReducedCluster({ policy: { perTransactionMaxSats: 400_000n } });
  owner = new ClusterOwner(cluster);
  wallet = await owner.wallet(await owner.requestKey("frost", "savings"), 60_000);
});
after(() => cluster.close());

function pays(amountSats: bigint): Recipient[] {
  return [{ address: cluster.chain.faucet.address, amountSats }];
}

/** Waits until no node holds coins or limits of the wallet for anything that is not confirmed deep enough. */
async function allFree(): Promise<void> {
  cluster.chain.faucet.mine(6);
  let seen: string[] = [];
  await until(
    async () => {
      const balances = await owner.balances(wallet);
      seen = balances.map(({ node, reservedSats }) => `node ${node}: ${reservedSats}`);
      return balances.every(({ reservedSats }) => reservedSats === 0n) ? true : null;
    },
    { timeoutMs: 40_000, describe: () => `coins stay reserved: ${seen.join(", ")}` },
  );
}

/** Waits until every node shows `paid` as confirmed, and what it knows of the other transactions as ended without payment. */
async function allAgree(txids: readonly Txid[], paid: readonly Txid[]): Promise<void> {
  for (const txid of txids) {
    let views: Awaited<ReturnType<ClusterOwner["views"]>> = [];
    const over = (state: string | undefined) =>
      paid.includes(txid)
        ? state === "confirmed"
        : state === undefined || unpaidEnds.some((end) => end === state);
    await until(
      async () => {
        views = await owner.views(txid);
        return views.every(({ view }) => over(view?.state)) ? true : null;
      },
      {
        timeoutMs: 20_000,
        describe: () => {
          const states = views.map(({ node, view }) => `node ${node}: ${view?.state} (${view?.votingState})`);
          return `${txid} is ${paid.includes(txid) ? "paid" : "not paid"}, but ${states.join(", ")}`;
        },
      },
    );
  }
}

async function transactionsAt(index: number): Promise<number> {
  const { transactions } = await cluster.client(index).call("listTransactions", { query: { limit: 200 } });
  return transactions.length;
}

test("altered, expired, foreign, strangers' and unsigned requests are refused by every node and leave nothing behind", async () => {
  owner.fund(wallet, [0, 0], 300_000n);
  const signed = owner.spendRequest(wallet, pays(50_000n));
  const { requester } = cluster;
  const resigned = (change: Partial<SpendRequest>) =>
    signBody("cairn/spend-request/v1", { ...signed.body, ...change }, requester);
  const stranger = Ed25519Signer.generate();
  const now = Date.now();
  const cases = {
    "signature-invalid": { ...signed, body: { ...signed.body, maxFeeSats: 19_999n as Sats } },
    expired: resigned({ createdAt: (now - 20_000) as UnixMs, expiry: (now - 10_000) as UnixMs }),
    "wrong-cluster": resigned({ cluster: "ab".repeat(32) as SpendRequest["cluster"] }),
    "wrong-network": resigned({ network: "signet" }),
    "unknown-requester": signBody(
      "cairn/spend-request/v1",
      { ...signed.body, requester: stranger.publicKey },
      stranger,
    ),
    malformed: resigned({ expiry: (now + 8 * 24 * 60 * 60 * 1000) as UnixMs }),
  };
  for (const [code, altered] of Object.entries(cases)) {
    for (const index of cluster.indices) {
      await assert.rejects(
        owner.submit(index, altered),
        (error) => isCairnError(error) && error.code === code,
        code,
      );
    }
  }
  await assert.rejects(
    cluster.client(1).call("createTransaction", {
      body: { recipient: cluster.chain.faucet.address, amount_sats: "50000" },
    }),
    (error) => isCairnError(error, "unsigned-request"),
  );
  for (const index of cluster.indices) assert.equal(await transactionsAt(index), 0, `node ${index}`);
});

test("a request that comes again, at the same node or another, before and after its payment, is paid once", async () => {
  const signed = owner.spendRequest(wallet, pays(50_000n));
  const txid = await owner.submit(1, signed);
  assert.equal(await owner.submit(1, signed), txid);
  await owner.published(txid, 30_000);
  cluster.chain.faucet.mine(1);
  await owner.confirmed(txid, 30_000);
  for (const index of cluster.indices) assert.equal(await owner.submit(index, signed), txid);
  await cluster.restart(4);
  assert.equal(await owner.submit(4, signed), txid);
  for (const index of cluster.indices) assert.equal(await transactionsAt(index), 1, `node ${index}`);
  await cluster.meshed();
  await allFree();
});

test("an idempotency key gives the first answer again and refuses another request", async () => {
  const { client } = cluster.node(2);
  const first = owner.spendRequest(wallet, pays(10_000n));
  const body = spendRequestToJson(first);
  const one = await client.call("createTransaction", { body, idempotencyKey: "shop-order-1" });
  const two = await client.call("createTransaction", { body, idempotencyKey: "shop-order-1" });
  assert.equal(one.txid, two.txid);
  const other = spendRequestToJson(owner.spendRequest(wallet, pays(10_000n)));
  await assert.rejects(
    client.call("createTransaction", { body: other, idempotencyKey: "shop-order-1" }),
    (error) => isCairnError(error, "idempotency-conflict"),
  );
  await owner.published(one.txid as Parameters<ClusterOwner["published"]>[0], 30_000);
  await allFree();
});

test("a request above the policy's limit is rejected by the nodes' votes and holds nothing", async () => {
  owner.fund(wallet, [0, 1], 1_000_000n);
  const txid = await owner.submit(2, owner.spendRequest(wallet, pays(400_001n)));
  const rejected = await until(
    async () => {
      const views = await owner.views(txid);
      return views.every(({ view }) => view?.state === "rejected" || view?.state === "failed") ? views : null;
    },
    { timeoutMs: 30_000, describe: async () => `not rejected: ${JSON.stringify(await owner.views(txid))}` },
  );
  assert.ok(rejected.every(({ view }) => view?.rawTx === null));
  assert.equal(cluster.chain.chain.transaction(txid), undefined);
  await allFree();
});

test("one request at two nodes at once is paid at most once, and what the other held comes free again", async () => {
  for (const index of [2, 3, 4]) owner.fund(wallet, [0, index], 350_000n);
  const signed = owner.spendRequest(wallet, pays(320_000n));
  const txids = [...new Set(await Promise.all([owner.submit(1, signed), owner.submit(5, signed)]))];
  const onChain = () => txids.filter((txid) => cluster.chain.chain.transaction(txid) !== undefined);
  await until(() => (onChain().length > 0 ? true : null), {
    timeoutMs: 60_000,
    describe: () => "neither was paid",
  });
  await allFree();
  assert.equal(onChain().length, 1);
  await allAgree(txids, onChain());
});

test("requests at all nodes at once that want more than there is all end, and their coins come free", async () => {
  const [balance] = await owner.balances(wallet);
  assert.ok(balance);
  const amount = 390_000n;
  const expiry = (Date.now() + 20_000) as UnixMs;
  const signed = Array.from({ length: Number(balance.confirmedSats / amount) + 1 }, (_, at) =>
    // Different amounts: two requests for one transaction would share its id.
    owner.spendRequest(wallet, pays(amount + BigInt(at)), { expiry }),
  );
  const answers = await Promise.allSettled(
    signed.map((request, at) => owner.submit((at % cluster.indices.length) + 1, request)),
  );
  const txids = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  for (const answer of answers) {
    if (answer.status === "rejected") assert.ok(isCairnError(answer.reason), String(answer.reason));
  }
  await until(() => (Date.now() > expiry ? true : null), {
    timeoutMs: 30_000,
    describe: () => "the clock stands still",
  });
  await allFree();
  const paid = txids.filter((txid) => cluster.chain.chain.confirmation(txid) !== undefined);
  assert.ok(paid.length > 0 && paid.length < signed.length, `${paid.length} of ${signed.length} were paid`);
  await allAgree(txids, paid);
});

test("requests that come to one node at once are paid each with coins of its own", {
  timeout: 120_000,
}, async () => {
  const count = 8;
  for (let coin = 0; coin < 3 * count; coin += 1) owner.fund(wallet, [0, 5 + (coin % 10)], 100_000n);
  const txids = await Promise.all(
    Array.from({ length: count }, () => owner.submit(1, owner.spendRequest(wallet, pays(60_000n)))),
  );
  assert.equal(new Set(txids).size, count);
  await Promise.all(txids.map((txid) => owner.published(txid, 90_000)));
});
