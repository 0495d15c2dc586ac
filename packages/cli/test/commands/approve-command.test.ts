import assert from "node:assert/strict";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { deriveKey } from "@cairn/bitcoin";
import { spendRequestText, type TransactionDetail } from "@cairn/client";
import {
  decodeCanonical,
  Ed25519Signer,
  nonceSchema,
  parseShape,
  policySchema,
  type SignedSpendApproval,
  type SignedSpendRequest,
  type SpendRequest,
  satsSchema,
  signBody,
  signedManifestSchema,
  signedSpendApprovalSchema,
  spendRequestHash,
  spendRequestSchema,
  verifySpendApproval,
} from "@cairn/core";
import { namedSigner } from "@cairn/core/test-support";
import { writeKeyFile } from "@cairn/pki";
import { type Bench, createBench, runCairn, temporaryFolder } from "../bench.ts";
import { makeWallet } from "../fake-node.ts";
import { detailOf } from "../transaction-views.ts";

const people = ["ann", "bob", "cem"].map(namedSigner);
const keys = people.map(({ publicKey }) => publicKey);
const [ann, bob, cem] = people;
assert.ok(ann && bob && cem);
let bench: Bench;
let annKey: string;
let requester: Ed25519Signer;
let recipient: string;

before(async () => {
  bench = await createBench({ approvals: { m: 2, keys, aboveSats: 0n } });
  const folder = await temporaryFolder();
  annKey = join(folder, "ann.pem");
  await writeKeyFile(annKey, ann.toPem());
  requester = Ed25519Signer.fromPem(await readFile(bench.cluster.requesterKey));
  const { descriptor } = await makeWallet(bench.cluster, "stranger");
  recipient = deriveKey(descriptor, [0, 0]).address;
});

const codeOf = (stderr: string): string => JSON.parse(stderr.trim().split("\n").at(-1) ?? "{}").code;

function requestFor(change: Partial<SpendRequest> = {}, signer = requester): SignedSpendRequest {
  const { manifest } = bench.cluster.signedManifest;
  const now = Date.now();
  const body = parseShape(spendRequestSchema, {
    version: 1,
    cluster: manifest.cluster,
    network: "regtest",
    wallet: bench.node.wallet.descriptor.wallet,
    outputs: [{ address: recipient, amountSats: 150_000n }],
    maxFeeSats: 5_000n,
    feeRateSatsPerKvb: null,
    nonce: nonceSchema.parse("7".repeat(64)),
    createdAt: now,
    expiry: now + 3_600_000,
    replaces: null,
    requester: signer.publicKey,
    ...change,
  });
  return signBody("cairn/spend-request/v1", body, signer);
}

const waiting = (given: readonly string[]): Partial<TransactionDetail> => ({
  state: "pending",
  reason: "policy-approvals",
  approvals: { needed: 2, given: [...given], missing: keys.filter((key) => !given.includes(key)) },
});

/** Lets the node show a request as `shown` says, and take approvals of it. */
function serve(
  signed: SignedSpendRequest,
  shown: Record<string, unknown> = {},
  given: string[] = [cem?.publicKey ?? ""],
) {
  const taken: SignedSpendApproval[] = [];
  const view = () => {
    const {
      rawTx: _r,
      signers: _s,
      votes: _v,
      votingState: _m,
      inputs: _i,
      timingsMs: _t,
      ...transaction
    } = detailOf(signed, { txid: "9".repeat(64), rawTx: null }, waiting(given));
    return transaction;
  };
  bench.node.answers.getRequest = () => ({
    request: spendRequestHash(signed.body),
    body: spendRequestText(signed.body),
    signature: signed.signature,
    transaction: view(),
    ...shown,
  });
  bench.node.answers.approveRequest = ({ body }) => {
    const approval = parseShape(signedSpendApprovalSchema, body);
    taken.push(approval);
    given.push(approval.body.approver);
    const { requestHash: request, approver, expiry } = approval.body;
    return { request, approver, expiry: new Date(expiry).toISOString(), transaction: view() };
  };
  return taken;
}

test("init approver makes a key that no one else can read; init puts approvers into policy and manifest", async () => {
  const folder = await temporaryFolder();
  const file = join(folder, "dan.pem");
  const made = await runCairn(["init", "approver", "--file", file, "--json"], { HOME: folder });
  assert.equal(made.exit, 0, made.stderr);
  const { approver } = JSON.parse(made.stdout);
  assert.equal(Ed25519Signer.fromPem(await readFile(file)).publicKey, approver);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  const again = await runCairn(["init", "approver", "--file", file, "--json"], { HOME: folder });
  assert.equal(codeOf(again.stderr), "file-exists");
  const dir = join(folder, "cluster");
  const init = ["init", "--dir", dir, "--network", "regtest", "--chain", "http://127.0.0.1:3002", "--json"];
  const alone = await runCairn([...init, "--approvals", "1"], { HOME: folder });
  assert.equal(codeOf(alone.stderr), "malformed");
  const named = [
    "--approver",
    approver,
    "--approver",
    ann.publicKey,
    "--approvals",
    "1",
    "--approvals-above",
    "0.001",
  ];
  const ran = await runCairn([...init, ...named], { HOME: folder });
  assert.equal(ran.exit, 0, ran.stderr);
  const { manifest } = decodeCanonical(signedManifestSchema, await readFile(join(dir, "manifest.cbor")));
  const policy = decodeCanonical(policySchema, await readFile(join(dir, "policy.cbor")));
  assert.deepEqual(manifest.approvers, [approver, ann.publicKey]);
  assert.deepEqual(policy.approvals, { m: 1, keys: [approver, ann.publicKey], aboveSats: 100_000n });
});

test("approve shows the request and signs the hash that was computed here", async () => {
  const request = requestFor();
  const taken = serve(request);
  const hash = spendRequestHash(request.body);
  const asked: string[] = [];
  const words = ["--config", bench.cluster.cliConfig, "--endpoint", bench.node.url];
  const approve = [...words, "tx", "approve", hash, "--key", annKey];
  const no = await runCairn(approve, {}, { confirm: async (question) => asked.push(question) < 0 });
  assert.equal(no.exit, 75);
  assert.deepEqual([taken.length, asked.length], [0, 1]);
  assert.match(no.stderr, /pay 0\.00150000 BTC \(150,000 sat\) to bcrt1q/);
  assert.match(no.stderr, /fee at most 5,000 sat/);
  assert.match(no.stderr, new RegExp(`asked for by ${requester.publicKey}`));
  assert.match(no.stderr, new RegExp(`from wallet savings \\(${request.body.wallet.slice(0, 16)}`));
  assert.match(no.stderr, new RegExp(`valid until ${new Date(request.body.expiry).toISOString()}`));
  assert.match(
    no.stderr,
    new RegExp(`1 of 2: ${cem.publicKey.slice(0, 16)}; not yet: ${ann.publicKey.slice(0, 16)}`),
  );
  const yes = await runCairn(approve, {}, { confirm: async () => true });
  assert.equal(yes.exit, 0, yes.stderr);
  const [approval] = taken;
  assert.ok(approval);
  assert.equal(approval.body.expiry, request.body.expiry);
  const { manifest } = bench.cluster.signedManifest;
  verifySpendApproval(approval, {
    manifest,
    requestHash: hash,
    now: request.body.createdAt,
    clockSkewMs: 60_000,
  });
  assert.match(yes.stdout, /approvals +2 of 2: /);
  const json = await bench.cairn(
    "tx",
    "approve",
    "9".repeat(64),
    "--key",
    annKey,
    "--expiry",
    "10m",
    "--json",
  );
  assert.equal(json.exit, 0, json.stderr);
  assert.equal(JSON.parse(json.stdout).approver, ann.publicKey);
  assert.deepEqual(JSON.parse(json.stdout).approved, spendRequestText(request.body));
  const short = taken.at(-1)?.body;
  assert.equal((short?.expiry ?? 0) - (short?.createdAt ?? 0), 600_000);
});

test("approve signs nothing when the node's words contradict the request, or nobody may ask for it", async () => {
  const request = requestFor();
  const hash = spendRequestHash(request.body);
  const refuses = async (code: string, words: readonly string[] = [hash, "--key", annKey]) => {
    const ran = await bench.cairn("tx", "approve", ...words, "--json");
    assert.equal(codeOf(ran.stderr), code, ran.stderr);
    assert.equal(ran.stdout, "");
  };
  const cheap = { ...request, body: { ...request.body, maxFeeSats: satsSchema.parse(1n) } };
  const taken = serve(request, { body: spendRequestText(cheap.body) });
  await refuses("peer-disagrees");
  const other = requestFor({ nonce: nonceSchema.parse("8".repeat(64)) });
  const alsoTaken = [serve(other)];
  await refuses("peer-disagrees");
  alsoTaken.push(
    serve(request, { transaction: { ...detailOf(other, { txid: hash, rawTx: null }), ...waiting([]) } }),
  );
  await refuses("peer-disagrees");
  alsoTaken.push(serve(request, { signature: null }));
  await refuses("unsigned-request");
  alsoTaken.push(serve(request, { signature: other.signature }));
  await refuses("signature-invalid");
  const thief = requestFor({}, namedSigner("thief"));
  const over = { ...detailOf(request, { txid: hash, rawTx: null }), ...waiting([]), state: "confirmed" };
  alsoTaken.push(serve(request, { transaction: over }));
  await refuses("wrong-state");
  alsoTaken.push(serve(thief));
  await refuses("unknown-requester", [spendRequestHash(thief.body), "--key", annKey]);
  const old = requestFor({ createdAt: 1 as never, expiry: 2 as never });
  alsoTaken.push(serve(old));
  await refuses("expired", [spendRequestHash(old.body), "--key", annKey]);
  alsoTaken.push(serve(request));
  await refuses("unknown-approver", [hash, "--key", bench.cluster.requesterKey]);
  await refuses("config-invalid", [hash]);
  await refuses("malformed", ["77", "--key", annKey]);
  const elsewhere = requestFor({
    outputs: [
      { address: "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", amountSats: satsSchema.parse(1_000n) },
    ],
  });
  alsoTaken.push(serve(elsewhere));
  await refuses("wrong-network", [spendRequestHash(elsewhere.body), "--key", annKey]);
  assert.deepEqual([taken, ...alsoTaken].flat(), []);
});

test("approve refuses where policy does not ask for this key; tx status shows who approved and who has not", async () => {
  const request = requestFor();
  const taken = serve(request);
  bench.node.answers.getRequest = () => {
    const detail = detailOf(request, { txid: "9".repeat(64), rawTx: null });
    return {
      request: spendRequestHash(request.body),
      body: spendRequestText(request.body),
      signature: request.signature,
      transaction: detail,
    };
  };
  const ran = await bench.cairn("tx", "approve", "9".repeat(64), "--key", annKey, "--json");
  assert.equal(codeOf(ran.stderr), "wrong-state");
  assert.equal(taken.length, 0);
  bench.node.answers.getTransaction = () =>
    detailOf(request, { txid: "9".repeat(64), rawTx: null }, waiting([bob.publicKey]));
  const status = await bench.cairn("tx", "status", "9".repeat(64));
  const short = (key: string) => key.slice(0, 16);
  assert.match(
    status.stdout,
    new RegExp(
      `approvals +1 of 2: ${short(bob.publicKey)}; not yet: ${short(ann.publicKey)}, ${short(cem.publicKey)}`,
    ),
  );
});
