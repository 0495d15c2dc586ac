import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import {
  type Change,
  type Courier,
  manifestHash,
  type NodeIndex,
  type Policy,
  policyHash,
  type Sats,
  signChange,
  signChangeProposal,
  type UnixMs,
  type WalletRecord,
} from "@cairn/core";
import { InProcessCluster } from "./cluster.ts";

const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

/** Has operators decide on other limits at their own nodes. */
async function changePolicy(
  cluster: InProcessCluster,
  operators: readonly number[],
  limits: Partial<Policy>,
): Promise<void> {
  const { runtime } = cluster.node(1);
  const { manifest, manifestHash: named, policy } = runtime.manifests.current;
  const next: Policy = { ...policy, ...limits, policyVersion: policy.policyVersion + 1 };
  const now = Date.now() as UnixMs;
  const change: Change = {
    type: "manifest",
    manifest: {
      ...manifest,
      sequence: manifest.sequence + 1,
      previous: named,
      createdAt: now,
      effectiveAt: now,
      policy: policyHash(next),
      policyVersion: next.policyVersion,
    },
    policy: next,
  };
  const operator = cluster.operatorOf(1);
  const signed = signChangeProposal(
    {
      version: 1,
      cluster: manifest.cluster,
      manifestHash: named,
      change,
      createdAt: now,
      expiry: (now + 60_000) as UnixMs,
      operator: operator.publicKey,
    },
    operator,
  );
  const { row } = await runtime.changes.propose(signed);
  for (const index of operators) {
    const { changes } = cluster.node(index).runtime;
    await cluster.until(
      () => changes.list().some((known) => known.row.proposal === row.proposal),
      10_000,
      () => `node ${index} has not heard of the proposal`,
    );
    await changes.sign(row.proposal, signChange(change, cluster.operatorOf(index)));
  }
  await cluster.until(
    () =>
      operators.every(
        (index) => cluster.node(index).runtime.manifests.manifest.sequence === next.policyVersion - 1,
      ),
    10_000,
    () => "the change is not in force",
  );
}

test("intents of the former manifest are judged by the policy in force, and what was paid before counts against it", async () => {
  const cluster = await InProcessCluster.start();
  try {
    const record = await cluster.makeWallet("frost");
    const booked = cluster
      .node(1)
      .runtime.wallets.all()
      .find(({ row }) => row.wallet === record.wallet);
    assert.ok(booked);
    for (const at of [0, 1, 2, 3]) {
      const { address } = deriveKey(booked.descriptor, [0, at]);
      cluster.chain.fund(decodeAddress(address, "regtest").script, 400_000n);
    }
    cluster.chain.mine(1);
    const first = await submit(cluster, record, 1, 100_000n);
    await reach(cluster, first, [1, 2, 3, 4, 5], ["signed", "broadcasting"]);

    // Cut off, node 5 takes two requests under the manifest that it knows.
    const four = [1, 2, 3, 4] as NodeIndex[];
    cluster.hub.partition([four]);
    const large = await submit(cluster, record, 5, 300_000n);
    const small = await submit(cluster, record, 5, 50_000n);
    await changePolicy(cluster, four, {
      perTransactionMaxSats: 200_000n as Sats,
      rolling24hMaxSats: 220_000n as Sats,
    });
    cluster.hub.heal();
    await reach(cluster, small, [1, 2, 3, 4, 5], ["signed", "broadcasting"]);
    await reach(cluster, large, [1, 2, 3, 4], ["rejected", "failed"]);
    const { intent, row } = cluster.node(1).runtime.spends.get(small) ?? {};
    assert.equal(intent?.manifestHash, manifestHash(cluster.manifest));
    assert.ok(row?.certificate != null);
    const votes = await cluster.node(1).store.votes(large);
    assert.ok(votes.some(({ approve, reason }) => !approve && reason === "policy-per-transaction"));

    await cluster.until(
      () => cluster.node(5).runtime.manifests.manifest.sequence === 1,
      20_000,
      () => "node 5 did not catch up",
    );
    for (const { runtime } of cluster.nodes.values()) {
      const decision = (amountSats: bigint) =>
        runtime.dryRun({
          outputs: [{ address: recipient, amountSats: amountSats as Sats }],
          maxFeeSats: 1_000n as Sats,
        }).decision;
      // 120,000 and 70,000 of 220,000 are taken, fees and all.
      assert.notEqual(decision(100_000n), "allow");
      assert.equal(decision(10_000n), "allow");
    }
    const later = await submit(cluster, record, 5, 10_000n, 1_000n);
    await reach(cluster, later, [1, 2, 3, 4, 5], ["signed", "broadcasting"]);
    const again = await cluster
      .node(5)
      .stop()
      .then(() => cluster.startNode(5 as NodeIndex));
    assert.equal(again.runtime.manifests.policy.perTransactionMaxSats, 200_000n);
  } finally {
    await cluster.close();
  }
});

test("a payment that was certified before the policy tightened is signed, though every node restarts in between", async () => {
  let held = true;
  const cluster = await InProcessCluster.start({
    tampering: () => ({ courier: (courier) => withoutProposals(courier, () => held) }),
  });
  try {
    held = false;
    const record = await cluster.makeWallet("frost");
    const [booked] = cluster.node(1).runtime.wallets.all();
    assert.ok(booked);
    const { address } = deriveKey(booked.descriptor, [0, 0]);
    cluster.chain.fund(decodeAddress(address, "regtest").script, 400_000n);
    cluster.chain.mine(1);
    held = true;
    const all = [1, 2, 3, 4, 5];
    const payment = await submit(cluster, record, 1, 300_000n);
    const rows = () =>
      Promise.all(all.map((index) => cluster.node(index).store.transaction({ intent: payment })));
    await cluster.until(
      async () => (await rows()).every((row) => row?.certificate != null),
      20_000,
      () => "not every node has the certificate",
    );
    await changePolicy(cluster, all, { perTransactionMaxSats: 200_000n as Sats });
    for (const index of all) {
      await cluster.node(index).stop();
      await cluster.startNode(index as NodeIndex);
    }
    for (const row of await rows()) assert.equal(row?.signedTx, null, "it was not signed before");
    held = false;
    await reach(cluster, payment, all, ["signed", "broadcasting", "confirmed"]);

    for (const { runtime } of cluster.nodes.values()) {
      const { decision } = runtime.dryRun({
        outputs: [{ address: recipient, amountSats: 250_000n as Sats }],
        maxFeeSats: 1_000n as Sats,
      });
      assert.equal(decision, "deny", "what comes now meets the policy in force");
    }
  } finally {
    await cluster.close();
  }
});

/** Opens no session while `held` says so. */
function withoutProposals(courier: Courier, held: () => boolean): Courier {
  return {
    start: (handler) => courier.start(handler),
    send: (to, message) => {
      if (message.kind !== "proposal" || !held()) courier.send(to, message);
    },
    posting: (to, id, message) => courier.posting(to, id, message),
    kick: (committed) => courier.kick(committed),
    peers: () => courier.peers(),
    setRefused: (refused) => courier.setRefused(refused),
    useSealingKeys: (session, keys) => courier.useSealingKeys(session, keys),
    close: () => courier.close(),
  };
}

async function submit(
  cluster: InProcessCluster,
  record: WalletRecord,
  at: number,
  amountSats: bigint,
  maxFeeSats = 20_000n,
) {
  const { body, signature } = cluster.spendRequest(record, {
    outputs: [{ address: recipient, amountSats: amountSats as Sats }],
    maxFeeSats: maxFeeSats as Sats,
  });
  return (await cluster.node(at).runtime.submit(body, signature)).intent;
}

async function reach(
  cluster: InProcessCluster,
  intent: Awaited<ReturnType<typeof submit>>,
  nodes: readonly number[],
  states: readonly string[],
): Promise<void> {
  const rows = () => Promise.all(nodes.map((index) => cluster.node(index).store.transaction({ intent })));
  let seen: (string | undefined)[] = [];
  await cluster.until(
    async () => {
      seen = (await rows()).map((row) => row?.state);
      return seen.every((state) => state !== undefined && states.includes(state));
    },
    30_000,
    () => `the spend is at ${seen}`,
  );
}
