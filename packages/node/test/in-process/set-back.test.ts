import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import { evidenceSchema, judgeEvidence } from "@cairn/consensus";
import {
  decodeCanonical,
  type IntentHash,
  isCairnError,
  MAX_REQUEST_LIFETIME_MS,
  manifestHash,
  type NodeIndex,
  type Sats,
  type UnixMs,
  type WalletRecord,
} from "@cairn/core";
import { InProcessCluster } from "./cluster.ts";

const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const five = 5 as NodeIndex;
let cluster: InProcessCluster;
let record: WalletRecord;
let funded = 0;

before(async () => {
  cluster = await InProcessCluster.start({ audit: { fenceMs: 300 } });
  record = await cluster.makeWallet("frost");
});
after(() => cluster.close());

/** Pays through node 1; resolves once all `signers` know it as signed. */
async function pay(nodes: readonly number[], lifeMs = 120_000): Promise<IntentHash> {
  const [booked] = cluster.node(1).runtime.wallets.all();
  assert.ok(booked);
  const { address } = deriveKey(booked.descriptor, [0, funded]);
  funded += 1;
  cluster.chain.fund(decodeAddress(address, "regtest").script, 500_000n);
  cluster.chain.mine(1);
  const createdAt = Date.now();
  const { body, signature } = cluster.spendRequest(record, {
    outputs: [{ address: recipient, amountSats: 100_000n as Sats }],
    createdAt: createdAt as UnixMs,
    expiry: (createdAt + lifeMs) as UnixMs,
  });
  const { intent } = await cluster.node(1).runtime.submit(body, signature);
  const signed = async (index: number) =>
    (await cluster.node(index).store.transaction({ intent }))?.signedTx != null;
  await cluster.until(
    async () => (await Promise.all(nodes.map(signed))).every(Boolean),
    60_000,
    () => "not all know the signed transaction",
  );
  return intent;
}

/** What a node's peers remember of its audit log. */
async function remembered(by: number, of: NodeIndex): Promise<number> {
  const row = (await cluster.node(by).store.nodeStatuses()).find(({ node }) => node === of);
  return row?.auditLength ?? 0;
}

test("a node whose every file is of an earlier day is refused and abstains; the others pay; a raised epoch lets it in", async () => {
  await pay([1, 2, 3, 4, 5]);
  const earlier = cluster.snapshotOf(5);
  const length = (await cluster.node(5).store.auditHead())?.seq ?? 0;
  await pay([1, 2, 3, 4, 5]);
  const peers = [1, 2, 3, 4];
  await cluster.until(
    async () =>
      (await Promise.all(peers.map((by) => remembered(by, five)))).every((seen) => seen > length + 1),
    30_000,
    () => "the peers have not asked again",
  );
  await cluster.node(5).stop();
  cluster.restore(5, { disk: earlier });
  await cluster.startNode(five);
  await cluster.until(
    () => peers.every((by) => cluster.node(by).runtime.fence.refused().includes(five)),
    30_000,
    () => "the peers have not found it out",
  );
  const { runtime, store } = cluster.node(5);
  await cluster.until(
    async () => (await store.audit({ from: 0, limit: 1, kind: "rolled-back" })).length === 1,
    30_000,
    () => "the node does not say so",
  );
  const { body, signature } = cluster.spendRequest(record, {
    outputs: [{ address: recipient, amountSats: 1_000n as Sats }],
  });
  await assert.rejects(runtime.submit(body, signature), (error) => isCairnError(error, "rolled-back"));

  const intent = await pay(peers);
  const votes = await cluster.node(1).store.votes(intent);
  assert.deepEqual(
    votes.filter(({ voter }) => voter === five),
    [],
  );
  const violations = await cluster.node(1).store.violations({ node: five, limit: 9 });
  assert.deepEqual(
    violations.map(({ type, action }) => [type, action]),
    [["Rollback", "exclude"]],
  );
  assert.deepEqual(cluster.node(1).runtime.bans.bans(), []);
  // Whoever holds the manifest can judge it, and all have the same one offence on record.
  const [violation] = violations;
  assert.ok(violation);
  const rules = { manifest: cluster.manifest, manifestHash: manifestHash(cluster.manifest) };
  const judged = judgeEvidence(decodeCanonical(evidenceSchema, violation.evidence), rules, {
    protocolVersions: [1],
    intentFault: () => null,
  });
  assert.deepEqual(judged, { kind: "proven", type: "Rollback", node: five });
  for (const by of peers) {
    const seen = await cluster.node(by).store.violations({ node: five, limit: 9 });
    assert.deepEqual(
      seen.map(({ id }) => id),
      [violation.id],
    );
  }

  await cluster.node(5).stop();
  cluster.restore(5, { epoch: 1 });
  await cluster.startNode(five);
  await cluster.until(
    () => peers.every((by) => cluster.node(by).runtime.fence.isCurrent(five)),
    30_000,
    () => "the restored node is not let in",
  );
  await cluster.until(
    () => !cluster.node(5).runtime.sync.status().abstains,
    30_000,
    () => "the restored node has not asked its peers what it forgot",
  );
  await cluster.node(4).stop();
  // One that expires later than anything which the node may have signed and forgotten.
  await pay([1, 2, 3, 5], MAX_REQUEST_LIFETIME_MS);
  await cluster.startNode(4 as NodeIndex);
});

test("a node whose epoch file is older than its database does not start", async () => {
  await cluster.node(5).stop();
  cluster.restore(5, { epoch: 0 });
  await assert.rejects(cluster.startNode(five), (error) => isCairnError(error, "rolled-back"));
});
