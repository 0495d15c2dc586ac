import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { checkPsbtTimeless, signingInputs } from "@cairn/bitcoin";
import { type CallOutput, spendRequestToJson } from "@cairn/client";
import {
  type GrantDocument,
  type KeygenGrant,
  keygenGrantSchema,
  type SigningGrant,
  signingGrantSchema,
  verifyKeygenGrant,
  verifySigningGrant,
} from "@cairn/consensus";
import {
  decodeCanonical,
  Ed25519Signer,
  type ErrorCode,
  encodeCanonical,
  equalBytes,
  isCairnError,
  keygenRequestHash,
  manifestHash,
  type NodeIndex,
  type SignedSpendRequest,
  type SpendRequest,
  signBody,
  systemClock,
  type UnixMs,
} from "@cairn/core";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { ClusterOwner, type OwnedWallet, type Recipient } from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

let cluster: Cluster;
let owner: ClusterOwner;
let wallet: OwnedWallet;
let keygen: KeygenGrant;
/** A grant that was used, with the request that it answers. */
let paid: { readonly signed: SignedSpendRequest; readonly document: SigningGrant };

before(async () => {
  // Nodes look at the chain by themselves so rarely that only a look that is asked for can bring news.
  cluster = await startReducedCluster({
    policy: { perTransactionMaxSats: 400_000n },
    settings: { chain: { poll_ms: 600_000 } },
  });
  owner = new ClusterOwner(cluster);
});
after(() => cluster.close());

const pays = (amountSats: bigint): Recipient[] => [{ address: cluster.chain.faucet.address, amountSats }];

/** Asks node `at` again until what is missing is there: an answer with status 202 says that it is not. */
async function asked<Answer extends { readonly status: string }>(
  ask: () => Promise<Answer>,
): Promise<Extract<Answer, { readonly status: "granted" }>> {
  return until(
    async () => {
      const answer = await ask();
      return answer.status === "granted" ? (answer as Extract<Answer, { readonly status: "granted" }>) : null;
    },
    { timeoutMs: 60_000, describe: () => "no node grants it" },
  );
}

function grantAt(at: number, signed: SignedSpendRequest) {
  return asked(() =>
    cluster.client(at).call("createSigningGrant", { body: spendRequestToJson(signed), query: { wait: 5 } }),
  );
}

const signingOf = (text: string): SigningGrant =>
  decodeCanonical(signingGrantSchema, Buffer.from(text, "base64"));

const rules = () => {
  const { manifest } = cluster;
  return { manifest, manifestHash: manifestHash(manifest), now: systemClock.now() };
};

async function verify(document: SigningGrant): Promise<void> {
  await verifySigningGrant(document, {
    ...rules(),
    read: async ({ psbt, request }, record) =>
      signingInputs(await checkPsbtTimeless(psbt, record, request.body, null)),
  });
}

function check(at: number, document: GrantDocument): Promise<CallOutput<"checkGrant">> {
  const body = { document: Buffer.from(encodeCanonical(document)).toString("base64") };
  return cluster.client(at).call("checkGrant", { body });
}

/** Every node refuses, and for this reason. */
async function allRefuse(code: ErrorCode, ask: (at: number) => Promise<unknown>): Promise<void> {
  for (const index of cluster.indices) {
    await assert.rejects(
      ask(index),
      (error) => isCairnError(error) && error.code === code,
      `node ${index}: ${code}`,
    );
  }
}

test("a key is made by a grant of all five nodes, which every node serves alike, also after a restart, and which is good offline", async () => {
  const request = owner.keygenRequest("frost", "savings");
  const keyId = keygenRequestHash(request.body);
  const ask = (at: number) =>
    asked(() => cluster.client(at).call("createKeygenGrant", { body: request, query: { wait: 5 } }));
  const { document } = await ask(2);
  keygen = decodeCanonical(keygenGrantSchema, Buffer.from(document, "base64"));
  verifyKeygenGrant(keygen, rules());
  assert.equal(keygen.approvals.length, 5);
  wallet = await owner.wallet(keyId, 60_000);
  await cluster.restart(3);
  for (const index of cluster.indices) {
    assert.equal((await ask(index)).document, document, `node ${index}`);
    const read = await cluster.client(index).call("getKeygenGrant", { params: { keyId } });
    assert.ok(read.status === "granted" && read.document === document, `node ${index}`);
  }
  await cluster.meshed();
});

test("a duplicate of a signed request is granted what the first was, at every node and after a restart, and is paid once, which each node sees when it is asked to look", async () => {
  owner.fund(wallet, [0, 0], 300_000n);
  const signed = owner.spendRequest(wallet, pays(50_000n));
  const [first, second] = await Promise.all([grantAt(1, signed), grantAt(1, signed)]);
  assert.deepEqual(first, second);
  const document = signingOf(first.document);
  await verify(document);
  paid = { signed, document };
  const txid = first.txid as Parameters<ClusterOwner["published"]>[0];
  await owner.published(txid, 60_000);
  cluster.chain.faucet.mine(1);
  for (const index of cluster.indices) {
    const { client } = cluster.node(index);
    const seen = await client.call("getTransaction", { params: { txid } });
    assert.notEqual(seen.state, "confirmed", `node ${index} looked by itself`);
    const refreshed = await client.call("refreshTransaction", { params: { txid } });
    assert.deepEqual([refreshed.state, refreshed.confirmations], ["confirmed", 1], `node ${index}`);
  }
  const before = new Map<number, string>();
  for (const index of cluster.indices) {
    const again = await grantAt(index, signed);
    before.set(index, again.document);
    const served = signingOf(again.document);
    await verify(served);
    assert.ok(equalBytes(encodeCanonical(served.grant), encodeCanonical(document.grant)), `node ${index}`);
  }
  assert.equal(before.get(1), first.document);
  await cluster.restart(1);
  await cluster.restart(4);
  for (const index of cluster.indices) {
    assert.equal((await grantAt(index, signed)).document, before.get(index), `node ${index}`);
    const { transactions } = await cluster.client(index).call("listTransactions", {});
    assert.equal(transactions.length, 1, `node ${index}`);
  }
  await cluster.meshed();
});

test("replay of grants: what was used, signed or made, every node refuses", async () => {
  await allRefuse("replayed", (at) => check(at, paid.document));
  await allRefuse("replayed", (at) => check(at, keygen));
});

test("grant minting from one certificate: altered nonce, expiry, candidates and key are refused by every node", async () => {
  const { document } = paid;
  const { grant } = document;
  const other = "ab".repeat(32);
  const alterations: Readonly<Record<string, unknown>> = {
    nonce: other,
    expiry: grant.expiry + 1,
    participants: [1, 2, 3, 4] as NodeIndex[],
    keyId: other,
    threshold: 3,
  };
  for (const [field, value] of Object.entries(alterations)) {
    const altered = { ...document, grant: { ...grant, [field]: value } as typeof grant };
    for (const index of cluster.indices) {
      await assert.rejects(
        check(index, altered),
        (error) => isCairnError(error, "grant-invalid") && error.data.field === field,
        `node ${index}: ${field}`,
      );
    }
  }
  const { intent } = document;
  const moved = { ...intent.request.body, expiry: (intent.request.body.expiry + 1) as UnixMs };
  await allRefuse("signature-invalid", (at) =>
    check(at, { ...document, intent: { ...intent, request: { ...intent.request, body: moved } } }),
  );
  await allRefuse("operator-signature-missing", (at) =>
    check(at, {
      ...keygen,
      request: { ...keygen.request, body: { ...keygen.request.body, label: "mine" } },
    }),
  );
  await allRefuse("quorum-missing", (at) =>
    check(at, { ...keygen, approvals: keygen.approvals.slice(0, 4) }),
  );
});

test("grants for altered, expired, foreign and strangers' requests are refused by every node, each by its code, and leave nothing behind", async () => {
  const signed = owner.spendRequest(wallet, pays(50_000n));
  const { requester } = cluster;
  const resigned = (change: Partial<SpendRequest>) =>
    signBody("cairn/spend-request/v1", { ...signed.body, ...change }, requester);
  const stranger = Ed25519Signer.generate();
  const now = Date.now();
  const cases: Readonly<Record<string, SignedSpendRequest>> = {
    "signature-invalid": { ...signed, body: { ...signed.body, maxFeeSats: 19_999n as never } },
    expired: resigned({ createdAt: (now - 20_000) as UnixMs, expiry: (now - 10_000) as UnixMs }),
    "wrong-cluster": resigned({ cluster: "ab".repeat(32) as SpendRequest["cluster"] }),
    "wrong-network": resigned({ network: "signet" }),
    "not-found": resigned({ wallet: "ab".repeat(32) as SpendRequest["wallet"] }),
    "unknown-requester": signBody(
      "cairn/spend-request/v1",
      { ...signed.body, requester: stranger.publicKey },
      stranger,
    ),
  };
  for (const [code, altered] of Object.entries(cases)) {
    await allRefuse(code as ErrorCode, (at) =>
      cluster.client(at).call("createSigningGrant", { body: spendRequestToJson(altered) }),
    );
  }
  // A request that is known is answered to nobody who lacks the owner's signature on it.
  const forged = { ...paid.signed, signature: stranger.sign("cairn/spend-request/v1", paid.signed.body) };
  await allRefuse("signature-invalid", (at) =>
    cluster.client(at).call("createSigningGrant", { body: spendRequestToJson(forged) }),
  );
  await allRefuse("wrong-cluster", (at) =>
    check(at, {
      ...paid.document,
      grant: { ...paid.document.grant, cluster: "ab".repeat(32) as SpendRequest["cluster"] },
    }),
  );
  await allRefuse("wrong-wallet", (at) =>
    check(at, {
      ...paid.document,
      grant: { ...paid.document.grant, wallet: "ab".repeat(32) as SpendRequest["wallet"] },
    }),
  );
  for (const index of cluster.indices) {
    const { transactions } = await cluster.client(index).call("listTransactions", {});
    assert.equal(transactions.length, 1, `node ${index}`);
  }
});

test("while too few nodes are up a request waits for its grant and says so; a grant whose time is over is given to nobody who asks to sign", async () => {
  await cluster.stop(4);
  await cluster.stop(5);
  const expiry = (Date.now() + 40_000) as UnixMs;
  const signed = owner.spendRequest(wallet, pays(30_000n), { expiry });
  const body = spendRequestToJson(signed);
  const waiting = await cluster.client(1).call("createSigningGrant", { body, query: { wait: 1 } });
  assert.ok(waiting.status === "waiting");
  assert.equal(waiting.needed, 4);
  assert.ok(waiting.approved.length < 4);
  await cluster.start(4);
  await cluster.start(5);
  const { document, request } = await grantAt(1, signed);
  await verify(signingOf(document));
  await until(() => (Date.now() > expiry ? true : null), {
    timeoutMs: 60_000,
    describe: () => "the clock stands still",
  });
  await assert.rejects(cluster.client(1).call("createSigningGrant", { body }), (error) =>
    isCairnError(error, "grant-expired"),
  );
  const read = await cluster.client(1).call("getSigningGrant", { params: { request } });
  assert.ok(read.status === "granted" && read.document === document);
  await assert.rejects(verify(signingOf(document)), (error) => isCairnError(error, "grant-expired"));
});
