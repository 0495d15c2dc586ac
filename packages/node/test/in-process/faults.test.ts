import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import { grantIdOf } from "@cairn/consensus";
import type { IntentHash, NodeIndex, Sats, SpendRequest, TransactionRow, WalletRecord } from "@cairn/core";
import { InProcessCluster } from "./cluster.ts";

const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
let cluster: InProcessCluster;
let record: WalletRecord;
let funded = 0;

before(async () => {
  cluster = await InProcessCluster.start();
  record = await cluster.makeWallet("frost");
});
after(() => cluster.close());

async function fund(amountSats: bigint): Promise<void> {
  const booked = cluster.node(1).runtime.wallets.all()[0];
  assert.ok(booked);
  const { address } = deriveKey(booked.descriptor, [0, funded % 20]);
  funded += 1;
  cluster.chain.fund(decodeAddress(address, "regtest").script, amountSats);
  cluster.chain.mine(1);
}

function request(amountSats: bigint, change: Partial<SpendRequest> = {}) {
  return cluster.spendRequest(record, {
    outputs: [{ address: recipient, amountSats: amountSats as Sats }],
    ...change,
  });
}

async function row(index: number, intent: IntentHash): Promise<TransactionRow | null> {
  return cluster.node(index).store.transaction({ intent });
}

async function states(intent: IntentHash): Promise<(string | undefined)[]> {
  return Promise.all([...cluster.nodes.keys()].map(async (index) => (await row(index, intent))?.state));
}

async function settles(intent: IntentHash, wanted: readonly string[], timeoutMs = 30_000): Promise<void> {
  let last: (string | undefined)[] = [];
  await cluster.until(
    async () => {
      last = await states(intent);
      return last.every((state) => state !== undefined && wanted.includes(state));
    },
    timeoutMs,
    () => `the spend is at ${last}`,
  );
}

const signedStates = ["signed", "broadcasting", "confirmed"];

test("four nodes sign while one is down, and the fifth learns of it when it is back", async () => {
  await fund(500_000n);
  await cluster.node(5).stop();
  const { body, signature } = request(100_000n);
  const { intent } = await cluster.node(1).runtime.submit(body, signature);
  await settles(intent, signedStates);
  cluster.chain.mine(6);
  await cluster.startNode(5 as NodeIndex);
  await settles(intent, ["confirmed"]);
});

test("with two nodes down nothing is signed, and the request ends by its expiry", async () => {
  await fund(500_000n);
  await Promise.all([cluster.node(4).stop(), cluster.node(5).stop()]);
  const { body, signature } = request(100_000n, { expiry: (Date.now() + 6_000) as SpendRequest["expiry"] });
  const { intent } = await cluster.node(1).runtime.submit(body, signature);
  await settles(intent, ["expired"], 20_000);
  for (const index of cluster.nodes.keys()) assert.equal((await row(index, intent))?.signedTx, null);
  await Promise.all([cluster.startNode(4 as NodeIndex), cluster.startNode(5 as NodeIndex)]);
  await cluster.until(
    () =>
      [...cluster.nodes.values()].every(({ runtime }) => runtime.spends.reservedSats(record.wallet) === 0n),
    20_000,
    () =>
      `still reserved: ${[...cluster.nodes.values()].map(({ runtime }) => runtime.spends.reservedSats(record.wallet))}`,
  );
});

test("every node restarts while a spend is certified, and it is paid all the same", async () => {
  await fund(500_000n);
  const { body, signature } = request(90_000n);
  const { intent } = await cluster.node(2).runtime.submit(body, signature);
  await cluster.until(
    async () => (await states(intent)).some((state) => state === "approved" || state === "signing"),
    10_000,
    () => "never certified",
  );
  const indices = [...cluster.nodes.keys()];
  await Promise.all(indices.map((index) => cluster.node(index).stop()));
  await Promise.all(indices.map((index) => cluster.startNode(index)));
  await settles(intent, signedStates);
  cluster.chain.mine(1);
  await settles(intent, ["confirmed"]);
});

test("one request handed to two nodes at once is paid at most once, and what lost comes free again", async () => {
  await fund(400_000n);
  await fund(400_000n);
  await fund(400_000n);
  const { body, signature } = request(300_000n);
  const [one, two] = await Promise.all([
    cluster.node(1).runtime.submit(body, signature),
    cluster.node(2).runtime.submit(body, signature),
  ]);
  const both = [...new Set([one.intent, two.intent])];
  // Both may wrap one unsigned transaction: then both end as paid, by the one payment.
  const paidBy = async (state: (row: TransactionRow) => boolean) => {
    const rows = await Promise.all(
      [...cluster.nodes.keys()].flatMap((index) => both.map((intent) => row(index, intent))),
    );
    return new Set(rows.filter((entry) => entry !== null && state(entry)).map((entry) => entry?.txid));
  };
  await cluster.until(
    async () => (await paidBy(({ signedTx }) => signedTx !== null)).size > 0,
    30_000,
    () => "neither was paid",
  );
  cluster.chain.mine(6);
  let last: (string | undefined)[] = [];
  await cluster.until(
    async () => {
      last = (await Promise.all(both.map(states))).flat();
      return last.every((state) => state === "confirmed" || state === "failed" || state === "replaced");
    },
    30_000,
    () => `the spends are at ${last}`,
  );
  await cluster.until(
    () =>
      [...cluster.nodes.values()].every(({ runtime }) => runtime.spends.reservedSats(record.wallet) === 0n),
    30_000,
    () =>
      `still reserved: ${[...cluster.nodes.values()].map(({ runtime }) => runtime.spends.reservedSats(record.wallet))}`,
  );
  const confirmed = await paidBy(({ state }) => state === "confirmed");
  assert.equal(confirmed.size, 1);
});

test("altered, foreign, expired and unsigned requests are refused and leave nothing behind", async () => {
  const { body, signature } = request(50_000n);
  const refused = async (
    change: Partial<SpendRequest>,
    code: string,
    by: typeof signature | null = signature,
  ) => {
    await assert.rejects(cluster.node(1).runtime.submit({ ...body, ...change }, by), { code });
  };
  await refused({ maxFeeSats: 1n as Sats }, "signature-invalid");
  await refused({ cluster: "00".repeat(32) as never }, "wrong-cluster");
  await refused({ network: "mainnet" }, "wrong-network");
  await refused({ requester: "11".repeat(32) as never }, "unknown-requester");
  await refused({}, "unsigned-request", null);
  const now = Date.now();
  const late = request(50_000n, {
    createdAt: (now - 10_000) as SpendRequest["createdAt"],
    expiry: (now - 5_000) as SpendRequest["expiry"],
  });
  await assert.rejects(cluster.node(1).runtime.submit(late.body, late.signature), { code: "expired" });
});

test("a node that may have released a partial never signs a void, though it restarts after the request expired", async () => {
  await fund(500_000n);
  const { body, signature } = request(70_000n, { expiry: (Date.now() + 8_000) as SpendRequest["expiry"] });
  // Slow frames leave time to cut the network between the start of the session and its signature.
  cluster.hub.setFate(() => ({ copies: 1, delayMs: 120 }));
  const { intent } = await cluster.node(1).runtime.submit(body, signature);
  const started = async (index: number) =>
    (await cluster.node(index).store.sessions({ subject: grantIdOf(intent) })).some(
      (row) => row.execution !== null,
    );
  const signers: number[] = [];
  await cluster.until(
    async () => {
      for (const index of cluster.nodes.keys())
        if (!signers.includes(index) && (await started(index))) signers.push(index);
      return signers.length > 0;
    },
    8_000,
    () => "no session began",
  );
  cluster.hub.setFate(() => ({ copies: 0, delayMs: 0 }));
  const [signer] = signers;
  assert.ok(signer);
  await cluster.node(signer).stop();
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, body.expiry + 100 - Date.now())));
  await cluster.startNode(signer as NodeIndex);
  await cluster.until(
    async () => ["expired", "failed"].includes((await row(signer, intent))?.state ?? ""),
    20_000,
    () => "the request did not expire",
  );
  // Long enough for the void that must not come.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  assert.deepEqual(
    (await cluster.node(signer).store.voids(intent)).map(({ node }) => node),
    [],
  );
  cluster.hub.setFate(null);
});
