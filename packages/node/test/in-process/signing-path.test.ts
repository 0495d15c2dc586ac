import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import type { Sats } from "@cairn/core";
import { readMetadata } from "@cairn/runtime";
import { InProcessCluster } from "./cluster.ts";

const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

async function fund(cluster: InProcessCluster, wallet: string, amountSats: bigint): Promise<void> {
  const { runtime } = cluster.node(1);
  const booked = runtime.wallets.all().find(({ row }) => row.wallet === wallet);
  assert.ok(booked);
  const { address } = deriveKey(booked.descriptor, [0, 0]);
  cluster.chain.fund(decodeAddress(address, "regtest").script, amountSats);
  cluster.chain.mine(1);
}

test("five nodes make a FROST key together, pay two recipients, and all see it confirmed", async () => {
  const cluster = await InProcessCluster.start();
  try {
    const record = await cluster.makeWallet("frost");
    await fund(cluster, record.wallet, 1_000_000n);
    const signed = cluster.spendRequest(record, {
      outputs: [
        { address: recipient, amountSats: 200_000n as Sats },
        { address: recipient, amountSats: 100_000n as Sats },
      ],
    });
    const { intent, txid } = await cluster.node(2).runtime.submit(signed.body, signed.signature);
    const states = () =>
      [...cluster.nodes.values()].map(({ runtime }) => runtime.spends.get(intent)?.row.state);
    await cluster.until(
      () => states().every((state) => state === "broadcasting" || state === "signed"),
      20_000,
      () => `the spend is at ${states()}`,
    );
    cluster.chain.mine(1);
    await cluster.until(
      () => states().every((state) => state === "confirmed"),
      10_000,
      () => `the spend is at ${states()}`,
    );
    assert.equal((await cluster.chain.transactionStatus(txid)).state, "confirmed");
    const signers = () =>
      [...cluster.nodes.values()].map(({ runtime }) => {
        const row = runtime.spends.get(intent)?.row;
        return row === undefined ? 0 : readMetadata(row.metadata).signers.length;
      });
    await cluster.until(
      () => signers().every((count) => count === 4),
      10_000,
      () => `the nodes name ${signers()} signers`,
    );
  } finally {
    await cluster.close();
  }
});

test("five nodes make an ECDSA key, stock presignatures for a deposit, and sign with them in one round", async () => {
  const cluster = await InProcessCluster.start({ presignatures: 4 });
  try {
    const record = await cluster.makeWallet("cggmp24");
    await fund(cluster, record.wallet, 1_000_000n);
    const ready = async () =>
      (await cluster.node(1).store.presignatures({ keyId: record.keyId, path: [0, 0], state: "ready" }))
        .length;
    await cluster.until(
      async () => (await ready()) > 0,
      60_000,
      () => "no presignature became ready",
    );
    const signed = cluster.spendRequest(record, {
      outputs: [{ address: recipient, amountSats: 200_000n as Sats }],
    });
    const { intent } = await cluster.node(3).runtime.submit(signed.body, signed.signature);
    const states = () =>
      [...cluster.nodes.values()].map(({ runtime }) => runtime.spends.get(intent)?.row.state);
    await cluster.until(
      () => states().every((state) => state === "broadcasting" || state === "signed"),
      30_000,
      () => `the spend is at ${states()}`,
    );
    const burned = await Promise.all(
      [...cluster.nodes.values()].map(async ({ store }) => await store.burnCounter()),
    );
    assert.equal(
      burned.filter((count) => count === 1).length,
      4,
      "each of four signers burned one presignature",
    );
  } finally {
    await cluster.close();
  }
});
