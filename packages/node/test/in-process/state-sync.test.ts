import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import {
  amnesiaWrite,
  type Courier,
  type IntentHash,
  isCairnError,
  MAX_REQUEST_LIFETIME_MS,
  type NodeIndex,
  type NodeStore,
  type PeerMessage,
  type Sats,
  type TransactionRow,
  type UnixMs,
  type WalletRecord,
} from "@cairn/core";
import { MemoryDisk, openMemoryStore } from "@cairn/storage";
import { InProcessCluster } from "./cluster.ts";

const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const five = 5 as NodeIndex;
/** What its peers post to node 5 about spends never reaches it while this holds. */
let lost = false;
let cluster: InProcessCluster;
let record: WalletRecord;
let funded = 0;

const lostKinds = new Set(["intent", "approval", "vote", "void", "certificate", "final", "finalize"]);

function forgetful(courier: Courier): Courier {
  const isLost = (to: NodeIndex, { kind }: PeerMessage) => lost && to === five && lostKinds.has(kind);
  return new Proxy(courier, {
    get(target, name) {
      if (name === "posting") {
        return (to: NodeIndex, id: string, message: PeerMessage) =>
          isLost(to, message)
            ? { write: "outbox-done", to, id: `lost ${id}` }
            : target.posting(to, id, message);
      }
      if (name === "send") {
        return (to: NodeIndex, message: PeerMessage) => {
          if (!isLost(to, message)) target.send(to, message);
        };
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

before(async () => {
  cluster = await InProcessCluster.start({
    audit: { fenceMs: 300 },
    tampering: () => ({ courier: forgetful }),
  });
  record = await cluster.makeWallet("frost");
});
after(() => cluster.close());

function fund(count: number): void {
  const [booked] = cluster.node(1).runtime.wallets.all();
  assert.ok(booked);
  for (let at = 0; at < count; at += 1) {
    const { address } = deriveKey(booked.descriptor, [0, funded]);
    funded += 1;
    cluster.chain.fund(decodeAddress(address, "regtest").script, 500_000n);
  }
  cluster.chain.mine(1);
}

/** Pays through node 1; resolves once `nodes` know it as signed. */
async function pay(nodes: readonly number[], lifeMs = 120_000): Promise<IntentHash> {
  fund(1);
  const { body, signature } = cluster.spendRequest(record, {
    outputs: [{ address: recipient, amountSats: 100_000n as Sats }],
    ...lifeOf(lifeMs),
  });
  const { intent } = await cluster.node(1).runtime.submit(body, signature);
  await cluster.until(
    async () => (await Promise.all(nodes.map((node) => isSigned(node, intent)))).every(Boolean),
    60_000,
    () => "not all know the signed transaction",
  );
  return intent;
}

function lifeOf(lifeMs: number): { readonly createdAt: UnixMs; readonly expiry: UnixMs } {
  const createdAt = Date.now();
  return { createdAt: createdAt as UnixMs, expiry: (createdAt + lifeMs) as UnixMs };
}

async function isSigned(node: number, intent: IntentHash): Promise<boolean> {
  return (await cluster.node(node).store.transaction({ intent }))?.signedTx != null;
}

async function row(store: NodeStore, intent: IntentHash): Promise<TransactionRow> {
  const found = await store.transaction({ intent });
  assert.ok(found);
  return found;
}

function whole(node: number, peers: readonly number[]): boolean {
  const { sync } = cluster.node(node).runtime;
  return sync.status().peers.every(({ node: peer, state }) => !peers.includes(peer) || state === "whole");
}

test("a node that was away, and to whom nothing of it was delivered, comes to know every payment from its peers", async () => {
  await cluster.node(5).stop();
  lost = true;
  const old: IntentHash[] = [];
  for (let at = 0; at < 4; at += 1) old.push(await pay([1, 2, 3, 4]));
  cluster.chain.mine(6);
  const settled = async (intent: IntentHash) => (await row(cluster.node(1).store, intent)).confirmations >= 6;
  await cluster.until(
    async () => (await Promise.all(old.map(settled))).every(Boolean),
    30_000,
    () => "the payments do not settle",
  );
  const fresh = [await pay([1, 2, 3, 4]), await pay([1, 2, 3, 4])];
  await cluster.startNode(five);
  await cluster.until(
    () => whole(5, [1, 2, 3, 4]),
    60_000,
    () => `node 5 has not asked all: ${JSON.stringify(cluster.node(5).runtime.sync.status())}`,
  );
  const { store } = cluster.node(5);
  for (const intent of [...old, ...fresh]) {
    const mine = await row(store, intent);
    const theirs = await row(cluster.node(1).store, intent);
    assert.equal(mine.signedTx, theirs.signedTx);
    assert.notEqual(mine.certificate, null);
    assert.equal(mine.feeSats, theirs.feeSats);
    if (old.includes(intent)) assert.deepEqual([mine.state, mine.blockHash], ["confirmed", theirs.blockHash]);
  }
  cluster.chain.mine(6);
  await cluster.until(
    async () => (await row(store, fresh[0] as IntentHash)).confirmations >= 6,
    30_000,
    () => "what node 5 heard of late does not settle there",
  );
  assert.deepEqual(await store.violations({ limit: 9 }), []);
  lost = false;
});

/** What a backup brings back of a node: its keys and wallets, in a database that knows nothing else. */
async function backupOf(store: NodeStore, restoredAt: UnixMs): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  const fresh = openMemoryStore({ disk });
  for (const row of await store.keys()) {
    const key = `keygen/${row.keyId}`;
    const value = await store.meta(key);
    assert.ok(value);
    await fresh.commit([
      { write: "key", row },
      { write: "meta", key, value },
    ]);
  }
  for (const wallet of await store.wallets()) await fresh.commit([{ write: "wallet", row: wallet }]);
  await fresh.commit([amnesiaWrite(restoredAt)]);
  await fresh.close();
  return disk;
}

test("a node that lost its database abstains until three peers have told it all, and for good from what it may have signed", async () => {
  const paid = [await pay([1, 2, 3, 4, 5]), await pay([1, 2, 3, 4, 5])];
  const restoredAt = Date.now() as UnixMs;
  const disk = await backupOf(cluster.node(5).store, restoredAt);
  for (const index of [3, 4, 5]) await cluster.node(index).stop();
  cluster.restore(5, { disk, epoch: 1 });
  await cluster.startNode(five);
  await cluster.until(
    () => whole(5, [1, 2]),
    30_000,
    () => "node 5 has not asked the two that are up",
  );
  const { runtime, store } = cluster.node(5);
  assert.deepEqual(runtime.sync.status().recollection, {
    restoredAt,
    heard: [1, 2],
    needed: 3,
    forgottenUntil: restoredAt + MAX_REQUEST_LIFETIME_MS,
  });
  assert.ok(runtime.sync.status().abstains);
  const { body, signature } = cluster.spendRequest(record, {
    outputs: [{ address: recipient, amountSats: 1_000n as Sats }],
  });
  await assert.rejects(runtime.submit(body, signature), (error) => isCairnError(error, "busy"));
  for (const intent of paid) {
    assert.equal((await row(store, intent)).signedTx, (await row(cluster.node(1).store, intent)).signedTx);
  }

  await cluster.startNode(3 as NodeIndex);
  await cluster.until(
    () => !runtime.sync.status().abstains,
    30_000,
    () => `node 5 abstains still: ${JSON.stringify(runtime.sync.status())}`,
  );
  await cluster.startNode(4 as NodeIndex);
  await cluster.until(
    () => [1, 2, 3, 4].every((by) => cluster.node(by).runtime.fence.isCurrent(five)),
    30_000,
    () => "node 5 is not let in",
  );
  // This one may expire among those that node 5 forgot: the others pay it, and node 5 says nothing and signs nothing.
  const short = await pay([1, 2, 3, 4, 5]);
  for (const by of [1, 5]) {
    const votes = await cluster.node(by).store.votes(short);
    assert.ok(votes.every(({ voter }) => voter !== five));
  }
  const { signers } = JSON.parse((await row(cluster.node(1).store, short)).metadata);
  assert.ok(!signers.includes(five));
  // This one expires later than anything that it may have forgotten: it takes part, as it must while node 4 is away.
  await cluster.node(4).stop();
  const long = await pay([1, 2, 3, 5], MAX_REQUEST_LIFETIME_MS);
  assert.ok((await cluster.node(1).store.votes(long)).some(({ voter }) => voter === five));
  await cluster.startNode(4 as NodeIndex);
  for (const { runtime: each } of cluster.nodes.values()) assert.deepEqual(each.bans.bans(), []);
});
