import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, beforeEach, test } from "node:test";
import {
  buildPsbt,
  checkPsbtTimeless,
  decodeAddress,
  deriveKey,
  encodePsbt,
  MemoryChainSource,
  scanWallet,
  signingInputs,
} from "@cairn/bitcoin";
import {
  deriveGrant,
  formCertificate,
  type GrantDocument,
  type Intent,
  intentHash,
  type KeygenGrant,
  type SigningGrant,
  signKeygenApproval,
  signVote,
} from "@cairn/consensus";
import {
  Ed25519Signer,
  type ErrorCode,
  encodeCanonical,
  errorCodes,
  type KeygenRequest,
  type KeyId,
  keygenRequestHash,
  type NodeIndex,
  type Nonce,
  parseShape,
  type SpendRequest,
  satsSchema,
  signBody,
  signedWalletRecordSchema,
  spendRequestHash,
  spendRequestSchema,
  type UnixMs,
} from "@cairn/core";
import { type Bench, createBench, runCairn, temporaryFolder } from "../bench.ts";

let bench: Bench;
let folder: string;
let signing: SigningGrant;
let keygen: KeygenGrant;
const NOW = Date.now() as UnixMs;
const HOUR = 3_600_000;

before(async () => {
  bench = await createBench();
  folder = await temporaryFolder();
  const nodes = await Promise.all(
    bench.cluster.nodes.map(async ({ dir }) =>
      Ed25519Signer.fromPem(await readFile(join(dir, "identity.pem"))),
    ),
  );
  const requester = Ed25519Signer.fromPem(await readFile(bench.cluster.requesterKey));
  const operator = Ed25519Signer.fromPem(await readFile(bench.cluster.operatorKeys[0] ?? assert.fail()));
  signing = await signingGrant(nodes, requester);
  keygen = keygenGrant(nodes, operator);
});

async function signingGrant(
  nodes: readonly Ed25519Signer[],
  requester: Ed25519Signer,
): Promise<SigningGrant> {
  const { signedManifest, manifestHash } = bench.cluster;
  const { manifest } = signedManifest;
  const { descriptor, view } = bench.node.wallet;
  const wallet = parseShape(signedWalletRecordSchema, view);
  const chain = new MemoryChainSource();
  chain.fund(deriveKey(descriptor, [0, 0]).script, 60_000n);
  chain.mine();
  const { coins } = await scanWallet({ descriptor }, { chain });
  const [coin] = coins;
  assert.ok(coin !== undefined);
  const { address } = deriveKey(descriptor, [0, 9]);
  const request: SpendRequest = parseShape(spendRequestSchema, {
    version: 1,
    cluster: manifest.cluster,
    network: manifest.network,
    wallet: wallet.record.wallet,
    outputs: [{ address, amountSats: satsSchema.parse(50_000n) }],
    maxFeeSats: satsSchema.parse(10_000n),
    feeRateSatsPerKvb: null,
    nonce: "11".repeat(32) as Nonce,
    createdAt: NOW,
    expiry: NOW + HOUR,
    replaces: null,
    requester: requester.publicKey,
  });
  const psbt = buildPsbt({
    descriptor,
    coins: [{ previousTransaction: coin.previousTransaction, vout: coin.outpoint.vout, path: coin.path }],
    recipients: [{ script: decodeAddress(address, "regtest").script, amountSats: 50_000n }],
    lockTime: 1,
  });
  const intent: Intent = {
    version: 1,
    cluster: manifest.cluster,
    request: { body: request, signature: requester.sign("cairn/spend-request/v1", request) },
    psbt: new Uint8Array(encodePsbt(psbt)),
    wallet: wallet.record.wallet,
    manifestHash,
    policyVersion: 1,
    protocolVersion: 1,
    createdAt: NOW,
    anchor: null,
  };
  const votes = nodes.slice(0, 4).map((node, at) =>
    signVote(
      {
        version: 1,
        cluster: manifest.cluster,
        manifestHash,
        intentHash: intentHash(intent),
        round: 1,
        voter: (at + 1) as NodeIndex,
        approve: true,
        reason: null,
      },
      node,
    ),
  );
  const inputs = signingInputs(await checkPsbtTimeless(intent.psbt, wallet.record, request, null));
  return {
    version: 1,
    type: "signing",
    grant: deriveGrant({ intent, manifest, wallet: wallet.record, inputs }),
    proof: { certificate: formCertificate(votes, manifest), engines: [] },
    intent,
    wallet,
  };
}

function keygenGrant(nodes: readonly Ed25519Signer[], operator: Ed25519Signer): KeygenGrant {
  const { signedManifest, manifestHash } = bench.cluster;
  const { cluster } = signedManifest.manifest;
  const body: KeygenRequest = {
    version: 1,
    cluster,
    manifest: manifestHash,
    protocol: "frost",
    threshold: 4,
    total: 5,
    label: "savings",
    nonce: "22".repeat(32) as Nonce,
    createdAt: NOW,
    expiry: (NOW + HOUR) as UnixMs,
    operator: operator.publicKey,
  };
  const approvals = nodes.map((node, at) =>
    signKeygenApproval(
      {
        version: 1,
        cluster,
        keyId: keygenRequestHash(body),
        node: (at + 1) as NodeIndex,
        approve: true,
        reason: null,
        auxExecution: null,
      },
      node,
    ),
  );
  return {
    version: 1,
    type: "keygen",
    request: signBody("cairn/keygen-request/v1", body, operator),
    approvals,
  };
}

const textOf = (document: GrantDocument) => Buffer.from(encodeCanonical(document)).toString("base64");
const at = new Date(NOW).toISOString();

function signingView(document: SigningGrant) {
  const { grant } = document;
  return {
    status: "granted",
    grant: grant.grantId,
    request: spendRequestHash(document.intent.request.body),
    intent: intentHash(document.intent),
    txid: "33".repeat(32),
    wallet: grant.wallet,
    keyId: grant.keyId,
    notBefore: at,
    expiry: at,
    document: textOf(document),
  };
}

beforeEach(() => {
  bench.node.answers.getSigningGrant = () => signingView(signing);
  const keyId = keygenRequestHash(keygen.request.body);
  bench.node.answers.getKeygenGrant = () => ({
    status: "granted",
    keyId,
    expiry: at,
    document: textOf(keygen),
  });
});

let files = 0;
/** Judges a grant with nothing but the manifest's file: no configuration, no node. */
async function verify(document: GrantDocument, ...words: readonly string[]) {
  const file = join(folder, `${files++}.grant`);
  await writeFile(file, encodeCanonical(document));
  const manifest = join(bench.cluster.dir, "manifest.cbor");
  return runCairn(["grant", "verify", file, "--manifest", manifest, ...words], { HOME: folder });
}

async function refuses(document: GrantDocument, code: ErrorCode, ...words: readonly string[]): Promise<void> {
  const { exit, stderr } = await verify(document, "--json", ...words);
  assert.match(stderr, new RegExp(`"code":"${code}"`), stderr);
  assert.equal(exit, errorCodes[code].exit);
}

test("grant verify judges both kinds with nothing but the manifest, now and as of another time", async () => {
  const people = await verify(signing);
  assert.equal(people.exit, 0, people.stderr);
  assert.match(people.stdout, /0\.0005.*bcrt1/s);
  const program = await verify(signing, "--json");
  const answer = JSON.parse(program.stdout);
  assert.equal(answer.verdict, "valid");
  assert.deepEqual(
    answer.approvedBy.map(({ name }: { name: string }) => name),
    ["n1", "n2", "n3", "n4"],
  );
  const made = JSON.parse((await verify(keygen, "--json")).stdout);
  assert.deepEqual([made.label, made.approvedBy.length], ["savings", 5]);
  await refuses(signing, "grant-expired", "--at", new Date(NOW + HOUR).toISOString());
  await refuses(signing, "not-yet-valid", "--at", new Date(NOW - HOUR).toISOString());
  await refuses(keygen, "grant-expired", "--at", new Date(NOW + HOUR).toISOString());
});

test("grant verify refuses altered grants and those of other clusters by their codes", async () => {
  const { grant } = signing;
  const altered = (change: Partial<typeof grant>): SigningGrant => ({
    ...signing,
    grant: { ...grant, ...change },
  });
  await refuses(altered({ nonce: "44".repeat(32) as Nonce }), "grant-invalid");
  await refuses(altered({ expiry: (grant.expiry + 1) as UnixMs }), "grant-invalid");
  await refuses(altered({ participants: [1, 2, 3, 4] as NodeIndex[] }), "grant-invalid");
  await refuses(altered({ keyId: "44".repeat(32) as KeyId }), "grant-invalid");
  await refuses({ ...keygen, approvals: keygen.approvals.slice(1) }, "quorum-missing");
  const other = await createBench();
  const file = join(folder, "foreign.grant");
  await writeFile(file, encodeCanonical(signing));
  const foreign = join(other.cluster.dir, "manifest.cbor");
  const { exit, stderr } = await runCairn(["grant", "verify", file, "--manifest", foreign], { HOME: folder });
  assert.match(stderr, /another cluster/);
  assert.equal(exit, errorCodes["wrong-cluster"].exit);
});

test("tx grant and dkg grant judge what the node serves before they show or believe it, and export it for others", async () => {
  const id = intentHash(signing.intent);
  const file = join(folder, "payment.grant");
  const shown = await bench.cairn("tx", "grant", id, "--export", file);
  assert.equal(shown.exit, 0, shown.stderr);
  assert.match(shown.stdout, new RegExp(signing.grant.grantId));
  assert.deepEqual(await readFile(file), Buffer.from(encodeCanonical(signing)));
  const keyId = keygenRequestHash(keygen.request.body);
  const key = await bench.cairn("dkg", "grant", keyId, "--json");
  assert.equal(JSON.parse(key.stdout).keyId, keyId);
  const forged = { ...signing, grant: { ...signing.grant, expiry: (signing.grant.expiry + 1) as UnixMs } };
  bench.node.answers.getSigningGrant = () => signingView(forged);
  const lied = await bench.cairn("tx", "grant", id, "--json");
  assert.match(lied.stderr, /"code":"peer-disagrees"/);
  // A sound grant of another spend is no answer either.
  bench.node.answers.getSigningGrant = () => signingView(signing);
  const swapped = await bench.cairn("tx", "grant", "55".repeat(32), "--json");
  assert.match(swapped.stderr, /"code":"peer-disagrees"/);
});

test("tx grant says what is missing while there is no grant, and grant check what the node says of a file", async () => {
  const id = intentHash(signing.intent);
  bench.node.answers.getSigningGrant = () => ({
    status: "waiting",
    request: spendRequestHash(signing.intent.request.body),
    intent: id,
    txid: "33".repeat(32),
    state: "voting",
    explanation: "it waits for the votes of two more nodes",
    approvals: null,
    approved: [1, 2],
    needed: 4,
    expiry: at,
    again: `/grant/signing/${id}`,
  });
  const waiting = await bench.cairn("tx", "grant", id);
  assert.equal(waiting.exit, errorCodes["quorum-missing"].exit);
  assert.match(waiting.stderr, /voting, and 2 of 4 nodes have approved.*two more nodes/);
  const file = join(folder, "checked.grant");
  await writeFile(file, encodeCanonical(signing));
  bench.node.answers.checkGrant = ({ body }) => {
    assert.deepEqual(body, { document: textOf(signing) });
    return { node: 1, type: "signing", subject: signing.grant.grantId, standing: "live", expiry: at };
  };
  const checked = await bench.cairn("grant", "check", file);
  assert.equal(checked.exit, 0, checked.stderr);
  assert.match(checked.stdout, /1 would act on it/);
});
