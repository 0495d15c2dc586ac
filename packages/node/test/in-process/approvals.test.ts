import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import {
  type Ed25519Signer,
  encodeCanonical,
  type IntentHash,
  isCairnError,
  type Sats,
  type SignedSpendRequest,
  type SpendRequest,
  spendRequestHash,
  type TransactionRow,
  type UnixMs,
  type WalletRecord,
} from "@cairn/core";
import { namedSigner } from "@cairn/core/test-support";
import { readMetadata } from "@cairn/runtime";
import { HostileNode } from "@cairn/runtime/test-support";
import { InProcessCluster } from "./cluster.ts";

const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const hostile = new HostileNode(5);
let cluster: InProcessCluster;
let record: WalletRecord;
let ann: Ed25519Signer;
let bob: Ed25519Signer;
let cem: Ed25519Signer;

before(async () => {
  cluster = await InProcessCluster.start({
    approvals: { m: 2, of: 3, aboveSats: 100_000n },
    tampering: (index) => hostile.tampering(index),
  });
  const [first, second, third] = cluster.approvers;
  assert.ok(first && second && third);
  [ann, bob, cem] = [first, second, third];
  record = await cluster.makeWallet("frost");
  for (let coin = 0; coin < 6; coin += 1) fund(coin);
});
after(() => cluster.close());

function fund(index: number): void {
  const booked = cluster.node(1).runtime.wallets.all()[0];
  assert.ok(booked);
  const { address } = deriveKey(booked.descriptor, [0, index]);
  cluster.chain.fund(decodeAddress(address, "regtest").script, 500_000n);
  cluster.chain.mine(1);
}

function ask(amountSats: bigint, change: Partial<SpendRequest> = {}): SignedSpendRequest {
  return cluster.spendRequest(record, {
    outputs: [{ address: recipient, amountSats: amountSats as Sats }],
    ...change,
  });
}

const submit = (at: number, { body, signature }: SignedSpendRequest): Promise<TransactionRow> =>
  cluster.node(at).runtime.submit(body, signature);
const approve = (at: number, request: SignedSpendRequest, approver: Ed25519Signer): Promise<void> =>
  cluster.node(at).runtime.takeApproval(cluster.approval(request.body, approver));

async function rowsOf(intent: IntentHash): Promise<readonly (TransactionRow | null)[]> {
  return Promise.all([...cluster.nodes.values()].map(({ store }) => store.transaction({ intent })));
}

/** Waits until the spend is at every node as `holds` says. */
async function everywhere(
  intent: IntentHash,
  holds: (row: TransactionRow) => boolean,
  what: string,
): Promise<void> {
  let last: string[] = [];
  await cluster.until(
    async () => {
      const rows = await rowsOf(intent);
      last = rows.map((row) => `${row?.state}/${row?.reason}`);
      return rows.every((row) => row !== null && holds(row));
    },
    60_000,
    () => `not ${what} everywhere: ${last.join(", ")}`,
  );
}

const waits = (row: TransactionRow): boolean => row.state === "pending" && row.reason === "policy-approvals";
const isSigned = (row: TransactionRow): boolean => row.signedTx !== null;

/** Waits until every node holds so many approvals of a request. */
async function told(request: SignedSpendRequest, count: number): Promise<void> {
  const hash = spendRequestHash(request.body);
  let last: number[] = [];
  await cluster.until(
    async () => {
      last = await Promise.all(
        [...cluster.nodes.values()].map(async ({ store }) => (await store.approvals(hash)).length),
      );
      return last.every((found) => found === count);
    },
    30_000,
    () => `the nodes hold ${last} approvals, not ${count} each`,
  );
}

const reserved = (): bigint[] =>
  [...cluster.nodes.values()].map(({ runtime }) => runtime.spends.reservedSats(record.wallet));

test("a spend waits for two of three people, holds nothing meanwhile, and is paid when the second approves", async () => {
  const large = ask(300_000n);
  const { intent } = await submit(1, large);
  await everywhere(intent, waits, "waiting");
  assert.deepEqual(new Set(reserved()), new Set([0n]));
  const small = await submit(2, ask(50_000n));
  await everywhere(small.intent, isSigned, "signed");
  await approve(2, large, ann);
  await told(large, 1);
  await approve(3, large, ann);
  const longer = cluster.approval(large.body, ann, { createdAt: (Date.now() - 1_000) as UnixMs });
  await cluster.node(4).runtime.takeApproval(longer);
  await told(large, 1);
  await everywhere(intent, waits, "waiting with one approval, however often it is given");
  const hash = spendRequestHash(large.body);
  for (const { runtime } of cluster.nodes.values()) {
    assert.deepEqual(runtime.spends.approvals(hash, large.body)?.given, [ann.publicKey]);
    const rule = runtime.dryRun(large.body, hash).rules.find((entry) => entry.rule === "approvals");
    assert.match(rule?.explanation ?? "", /^1 of 2/);
  }
  await approve(4, large, cem);
  await everywhere(intent, isSigned, "signed");
  for (const row of await rowsOf(intent)) {
    assert.deepEqual(readMetadata(row?.metadata ?? "").approvers, [ann.publicKey, cem.publicKey]);
    assert.equal(row?.reason, null);
  }
});

test("an approval that is no approver's, altered, expired or of the future is refused and changes nothing", async () => {
  const large = ask(200_000n);
  const { intent } = await submit(3, large);
  await everywhere(intent, waits, "waiting");
  const good = cluster.approval(large.body, ann);
  const other = cluster.approval(ask(200_000n).body, ann);
  const refuses = (code: Parameters<typeof isCairnError>[1], signed: typeof good) =>
    assert.rejects(cluster.node(1).runtime.takeApproval(signed), (error) => isCairnError(error, code));
  await refuses("unknown-approver", cluster.approval(large.body, namedSigner("stranger")));
  await refuses("signature-invalid", cluster.approval(large.body, bob, { approver: ann.publicKey }));
  await refuses("signature-invalid", { ...good, body: other.body });
  await refuses("signature-invalid", {
    ...good,
    body: { ...good.body, expiry: (good.body.expiry - 1) as UnixMs },
  });
  await refuses("wrong-cluster", cluster.approval(large.body, ann, { cluster: "0".repeat(64) as never }));
  const now = Date.now();
  const old = { createdAt: (now - 2_000) as UnixMs, expiry: (now - 1_000) as UnixMs };
  await refuses("expired", cluster.approval(large.body, ann, old));
  const future = { createdAt: (now + 60_000) as UnixMs, expiry: (now + 90_000) as UnixMs };
  await refuses("clock-skew", cluster.approval(large.body, ann, future));
  await told(large, 0);
  // What people said of another request counts for nothing here.
  await cluster.node(1).runtime.takeApproval(other);
  await approve(1, large, bob);
  await told(large, 1);
  await everywhere(intent, waits, "waiting");
  await approve(2, large, cem);
  await everywhere(intent, isSigned, "signed");
});

test("approvals that come before their request count when it comes; a replacement needs its own", async () => {
  const first = ask(150_000n);
  await approve(1, first, ann);
  const { intent } = await submit(2, first);
  await everywhere(intent, waits, "waiting");
  const second = ask(150_000n, { replaces: spendRequestHash(first.body), feeRateSatsPerKvb: 4_000 });
  await approve(4, second, bob);
  await approve(3, second, cem);
  await told(second, 2);
  const replacement = await submit(2, second);
  await everywhere(replacement.intent, isSigned, "signed");
  await approve(1, first, cem);
  const third = ask(150_000n, { replaces: spendRequestHash(second.body), feeRateSatsPerKvb: 8_000 });
  const again = await submit(2, third);
  await everywhere(again.intent, waits, "waiting, though both before it were approved");
  assert.deepEqual((await cluster.node(3).store.approvals(spendRequestHash(third.body))).length, 0);
});

test("approvals that a node tells to one other alone reach all", async () => {
  const large = ask(120_000n);
  const { intent } = await submit(1, large);
  await everywhere(intent, waits, "waiting");
  hostile.rewrite = (to, message) => (message.kind === "approval" && to !== 2 ? null : message);
  try {
    await approve(5, large, ann);
    await approve(5, large, bob);
    await told(large, 2);
  } finally {
    hostile.behave();
  }
  await everywhere(intent, isSigned, "signed");
  assert.ok(hostile.lies > 0);
});

test("a spend that too few approve in time expires everywhere, and its coins and limits are free", async () => {
  const settled = (): boolean => {
    cluster.chain.mine(1);
    const live = [...cluster.nodes.values()].flatMap(({ runtime }) => runtime.spends.all());
    return live.every(({ row }) => row.signedTx === null);
  };
  await cluster.until(settled, 30_000, () => "earlier payments are not settled");
  const { coins } = await cluster.node(1).runtime.wallets.view(record.wallet, 0);
  const everything = coins.reduce((sum, { amountSats }) => sum + amountSats, 0n);
  const short = ask(everything - 20_000n, { expiry: (Date.now() + 8_000) as UnixMs });
  const { intent } = await submit(1, short);
  await approve(2, short, ann);
  await everywhere(intent, waits, "waiting");
  // What waits holds no coin: another payment may take it.
  const rest = await submit(1, ask(90_000n));
  await everywhere(rest.intent, isSigned, "signed");
  await everywhere(intent, ({ state }) => state === "expired", "expired");
  await cluster.until(
    () => [...cluster.nodes.values()].every(({ runtime }) => runtime.spends.get(intent) === undefined),
    30_000,
    () => "the expired spend still lives",
  );
  for (const row of await rowsOf(intent)) assert.equal(row?.reason, "policy-approvals");
  for (const { runtime } of cluster.nodes.values()) await runtime.spends.prune();
  await told(short, 0);
});

test("a node that was down while people approved learns of it when it is back, and after a restart still knows", async () => {
  fund(7);
  const large = ask(130_000n);
  const { intent } = await submit(1, large);
  await everywhere(intent, waits, "waiting");
  await cluster.node(4).crash();
  await approve(1, large, ann);
  await cluster.node(3).stop();
  await cluster.startNode(3 as never);
  await everywhere(intent, waits, "waiting after a restart");
  // Three are too few to sign: it is paid only once node 4 has the approvals as well.
  await cluster.node(5).crash();
  await approve(2, large, bob);
  await cluster.startNode(4 as never);
  await everywhere(intent, isSigned, "signed");
  await cluster.startNode(5 as never);
  await everywhere(intent, isSigned, "signed");
});

test("a node that hands on an approval which nobody signed is named by each that saw it, and nothing is stored", async () => {
  const large = ask(140_000n);
  const { body } = cluster.approval(large.body, ann);
  const forged = encodeCanonical({ body, signature: cluster.approval(large.body, bob).signature });
  const payload = { kind: "approval", session: null, round: 0, payload: forged, trace: null } as const;
  for (const to of [1, 2, 3, 4] as const) hostile.send(to as never, payload);
  let seen: number[] = [];
  await cluster.until(
    async () => {
      const stores = [1, 2, 3, 4].map((index) => cluster.node(index).store);
      const found = await Promise.all(
        stores.map((store) => store.violations({ node: hostile.index, limit: 9 })),
      );
      seen = found.map((rows) => rows.filter(({ type }) => type === "InvalidSignature").length);
      return seen.every((count) => count === 1);
    },
    30_000,
    () => `violations: ${seen}`,
  );
  await told(large, 0);
});
