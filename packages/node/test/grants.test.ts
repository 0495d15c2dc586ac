import assert from "node:assert/strict";
import { test } from "node:test";
import {
  keygenGrantViewSchema,
  keygenGrantWaitSchema,
  signedSpendRequestJsonSchema,
  signingGrantViewSchema,
  signingGrantWaitSchema,
} from "@cairn/client";
import {
  type GrantDocument,
  grantDocumentSchema,
  type KeygenGrant,
  keygenGrantSchema,
  type SigningGrant,
  signingGrantSchema,
  verifyKeygenGrant,
} from "@cairn/consensus";
import {
  decodeCanonical,
  encodeCanonical,
  keyIdSchema,
  manifestHash,
  type NodeIndex,
  parseShape,
  systemClock,
  type TransactionRow,
  type UnixMs,
} from "@cairn/core";
import { MemoryDisk } from "@cairn/storage";
import { testCluster } from "./node-folder.ts";
import { RestFixture } from "./rest-fixture.ts";

async function withRest(
  run: (rest: RestFixture) => Promise<void>,
  options: Parameters<typeof RestFixture.start>[0] = {},
): Promise<void> {
  const rest = await RestFixture.start(options);
  rest.node.fund(60_000n);
  try {
    await run(rest);
  } finally {
    await rest.close();
  }
}

async function rowOf(rest: RestFixture, spend: unknown): Promise<TransactionRow> {
  const { request, signature } = signedSpendRequestJsonSchema.parse(spend);
  return rest.node.submit(request, signature);
}

const textOf = (document: GrantDocument): string =>
  Buffer.from(encodeCanonical(parseShape(grantDocumentSchema, document))).toString("base64");

async function grantOf(rest: RestFixture, spend: unknown): Promise<SigningGrant> {
  await rest.node.certify(await rowOf(rest, spend));
  const answer = await rest.call("POST", "/grant/signing", { body: spend });
  assert.equal(answer.status, 200, answer.text);
  const { document } = signingGrantViewSchema.parse(answer.json);
  return decodeCanonical(signingGrantSchema, Buffer.from(document, "base64"));
}

test("a request that is new enters and is answered with what is missing, then with its grant once nodes approve, the same at every asking", async () => {
  const cluster = testCluster();
  const disk = new MemoryDisk();
  const spend = await RestFixture.start({ cluster }).then(async (rest) => {
    await rest.close();
    return rest.signedSpend();
  });
  let first = "";
  await withRest(
    async (rest) => {
      const waiting = await rest.call("POST", "/grant/signing?wait=0", { role: "spender", body: spend });
      assert.equal(waiting.status, 202, waiting.text);
      const wait = signingGrantWaitSchema.parse(waiting.json);
      assert.deepEqual([wait.state, wait.approved, wait.needed], ["pending", [], 2]);
      assert.equal(rest.node.submissions, 1);
      // Who asks again while it waits is answered as soon as the nodes approve.
      const asked = rest.call("GET", `${wait.again}?wait=20`, { role: "viewer" });
      while (rest.node.listeners < 2) await new Promise(setImmediate);
      await rest.node.certify(await rowOf(rest, spend));
      const granted = await asked;
      assert.equal(granted.status, 200, granted.text);
      first = granted.text;
      for (const path of [wait.request, wait.intent, wait.txid].map((id) => `/grant/signing/${id}`)) {
        assert.equal((await rest.call("GET", path, { role: "viewer" })).text, first);
      }
      const again = await rest.call("POST", "/grant/signing", { role: "spender", body: spend });
      assert.deepEqual([again.status, again.text], [200, first]);
    },
    { cluster, disk },
  );
  await withRest(
    async (rest) => {
      const again = await rest.call("POST", "/grant/signing", { role: "spender", body: spend });
      assert.deepEqual([again.status, again.text], [200, first]);
    },
    { cluster, disk },
  );
});

test("a token without the owner's signature gets no grant, of a request that is known either", () =>
  withRest(async (rest) => {
    const spend = rest.signedSpend();
    await grantOf(rest, spend);
    const other = testCluster().owner;
    const { request } = signedSpendRequestJsonSchema.parse(spend);
    const forged = { ...spend, signature: other.sign("cairn/spend-request/v1", request) };
    const answer = await rest.call("POST", "/grant/signing", { role: "admin", body: forged });
    assert.equal(answer.json.code, "signature-invalid");
    const bare = await rest.call("POST", "/grant/signing", {
      role: "admin",
      body: { recipient: rest.recipient(), amount_sats: "40000" },
    });
    assert.equal(bare.json.code, "malformed");
    assert.equal((await rest.call("POST", "/grant/signing", { role: "viewer", body: spend })).status, 403);
  }));

test("whoever asks to sign gets no grant that has expired, and whoever reads still sees it", () =>
  withRest(async (rest) => {
    const spend = rest.signedSpend();
    const { grant } = await grantOf(rest, spend);
    const row = await rest.store.transaction({ intent: grant.intentHash });
    assert.ok(row !== null);
    await rest.node.change(row, { expiry: systemClock.now() });
    const asked = await rest.call("POST", "/grant/signing", { body: spend });
    assert.deepEqual([asked.status, asked.json.code], [422, "grant-expired"]);
    assert.equal((await rest.call("GET", `/grant/signing/${row.txid}`)).status, 200);
  }));

test("a spend that ended without a grant says which end that was", () =>
  withRest(async (rest) => {
    const spend = rest.signedSpend();
    const row = await rowOf(rest, spend);
    for (const [state, reason, code] of [
      ["rejected", "policy-per-transaction", "policy-denied"],
      ["rejected", "psbt-locktime", "wrong-state"],
      ["expired", null, "expired"],
      ["aborted-timeout", "displaced", "wrong-state"],
    ] as const) {
      await rest.node.change(row, { state, reason });
      const answer = await rest.call("POST", "/grant/signing", { body: spend });
      assert.equal(answer.json.code, code, `${state} ${reason}: ${answer.text}`);
    }
  }));

test("a node that stops answers those who wait", () =>
  withRest(async (rest) => {
    const body = rest.signedSpend();
    const asked = rest.call("POST", "/grant/signing?wait=20", { body });
    while (rest.node.listeners < 2) await new Promise(setImmediate);
    await rest.server.close();
    assert.equal((await asked).status, 202);
    assert.equal(rest.node.listeners, 0);
  }));

test("a node refuses grants with altered nonce, expiry, candidates, key, and whatever else does not follow, each by its field", () =>
  withRest(async (rest) => {
    const document = await grantOf(rest, rest.signedSpend());
    const { grant } = document;
    const check = (change: Partial<SigningGrant["grant"]>) =>
      rest.call("POST", "/grant/check", {
        role: "viewer",
        body: { document: textOf({ ...document, grant: { ...grant, ...change } }) },
      });
    const sound = await check({});
    assert.deepEqual([sound.status, sound.json.standing], [200, "live"]);
    const other = "cd".repeat(32);
    for (const [field, value] of Object.entries({
      nonce: other,
      expiry: grant.expiry + 1,
      participants: [1, 2, 3] as NodeIndex[],
      keyId: other,
      threshold: grant.threshold + 1,
      notBefore: grant.notBefore + 1,
    })) {
      const answer = await check({ [field]: value });
      assert.equal(answer.json.code, "grant-invalid", answer.text);
      assert.deepEqual(answer.json.data, { field });
    }
  }));

test("a node refuses grants that are used, expired or foreign, each with a code of its own", () =>
  withRest(async (rest) => {
    const document = await grantOf(rest, rest.signedSpend());
    const check = async (of: GrantDocument): Promise<unknown> => {
      const answer = await rest.call("POST", "/grant/check", { body: { document: textOf(of) } });
      return answer.json.code ?? answer.json.standing;
    };
    const row = await rest.store.transaction({ intent: document.grant.intentHash });
    assert.ok(row !== null);
    await rest.node.change(row, { state: "confirmed", signedTx: "00" });
    assert.equal(await check(document), "replayed");
    await rest.node.change(row, { state: "failed" });
    assert.equal(await check(document), "replayed");
    await withRest(async (foreign) => {
      const answer = await foreign.call("POST", "/grant/check", { body: { document: textOf(document) } });
      assert.equal(answer.json.code, "wrong-cluster");
    });
    // Another wallet's record cannot stand in for the grant's, nor another network's request for this one's.
    const foreignWallet = { ...document.grant, wallet: "ab".repeat(32) as typeof document.grant.wallet };
    assert.equal(await check({ ...document, grant: foreignWallet }), "wrong-wallet");
    const { intent } = document;
    const body = { ...intent.request.body, network: "signet" as const };
    assert.equal(
      await check({ ...document, intent: { ...intent, request: { ...intent.request, body } } }),
      "wrong-network",
    );
    const bytes = Buffer.from(encodeCanonical(document)).toString("base64");
    const cut = await rest.call("POST", "/grant/check", { body: { document: bytes.slice(0, -8) } });
    assert.equal(cut.json.code, "malformed");
  }));

test("a key's grant carries the approvals of all nodes once they are there; it is the same at every asking, and a stranger gets none", () =>
  withRest(async (rest) => {
    const body = rest.signedKeygen() as KeygenGrant["request"];
    const { manifest } = rest.cluster;
    const waiting = await rest.call("POST", "/grant/keygen?wait=0", { role: "operator", body });
    assert.equal(waiting.status, 202, waiting.text);
    const wait = keygenGrantWaitSchema.parse(waiting.json);
    assert.deepEqual([wait.approved, wait.needed], [[], 2]);
    const asked = rest.call("POST", "/grant/keygen?wait=20", { role: "operator", body });
    while (rest.node.listeners < 2) await new Promise(setImmediate);
    rest.node.approveKey(keyIdSchema.parse(wait.keyId));
    const granted = await asked;
    assert.equal(granted.status, 200, granted.text);
    const { document } = keygenGrantViewSchema.parse(granted.json);
    const grant = decodeCanonical(keygenGrantSchema, Buffer.from(document, "base64"));
    verifyKeygenGrant(grant, { manifest, manifestHash: manifestHash(manifest), now: systemClock.now() });
    assert.equal((await rest.call("GET", wait.again, { role: "viewer" })).text, granted.text);
    const forged = { ...body, signature: "ab".repeat(64) };
    const stranger = await rest.call("POST", "/grant/keygen", { role: "admin", body: forged });
    assert.equal(stranger.json.code, "operator-signature-missing");
    const check = (of: KeygenGrant) => rest.call("POST", "/grant/check", { body: { document: textOf(of) } });
    assert.equal((await check(grant)).json.standing, "live");
    const late = { ...body, body: { ...body.body, expiry: (body.body.expiry + 1) as UnixMs } };
    assert.equal((await check({ ...grant, request: late })).json.code, "operator-signature-missing");
    rest.node.endKey(keyIdSchema.parse(wait.keyId), { status: "active", reason: null });
    assert.equal((await check(grant)).json.code, "replayed");
    assert.equal((await rest.call("POST", "/grant/keygen", { role: "operator", body })).text, granted.text);
  }));
