import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, beforeEach, test } from "node:test";
import { type Evidence, offenceOf, signVote, type Vote } from "@cairn/consensus";
import { Ed25519Signer, encodeCanonical, type IntentHash, type NodeIndex, type Signer } from "@cairn/core";
import { namedSigner } from "@cairn/core/test-support";
import { type Bench, createBench, runCairn, temporaryFolder } from "../bench.ts";

let bench: Bench;
let folder: string;
/** Node 5, which voted both ways. */
let liar: Signer;
let proof: Evidence;
let violation: string;
before(async () => {
  bench = await createBench();
  folder = await temporaryFolder();
  const dir = bench.cluster.nodes[4]?.dir ?? assert.fail();
  liar = Ed25519Signer.fromPem(await readFile(join(dir, "identity.pem")));
  proof = doubleVote(liar);
  violation = offenceOf(proof).id;
});

function doubleVote(voter: Signer): Evidence {
  const { manifestHash, signedManifest } = bench.cluster;
  const body: Vote = {
    version: 1,
    cluster: signedManifest.manifest.cluster,
    manifestHash,
    intentHash: "1".repeat(64) as IntentHash,
    round: 1,
    voter: 5 as NodeIndex,
    approve: true,
    reason: null,
  };
  const rejection: Vote = { ...body, approve: false, reason: { code: "dust", blocking: [] } };
  const votes: [ReturnType<typeof signVote>, ReturnType<typeof signVote>] = [
    signVote(body, voter),
    signVote(rejection, voter),
  ];
  return { type: "DoubleVote", version: 1, manifestHash, votes };
}

const ban = {
  node: 5,
  scope: "cluster" as const,
  count: 1,
  from: "2026-01-01T00:00:00.000Z",
  until: "2026-01-02T00:00:00.000Z",
  liftedAt: null,
  inForce: true,
};
beforeEach(() => {
  bench.node.answers.listBans = () => ({ bans: [{ ...ban, violation }] });
  bench.node.answers.getViolation = () => violationView(proof);
});

const violationView = (evidence: Evidence | null) => ({
  violation,
  node: 5,
  type: "DoubleVote",
  subject: null,
  action: "ban",
  detectedAt: ban.from,
  evidence: evidence === null ? null : Buffer.from(encodeCanonical(evidence)).toString("base64"),
});

let files = 0;
/** Judges evidence with nothing but the manifest's file: no configuration, no node. */
async function verify(bytes: Uint8Array, ...words: readonly string[]) {
  const file = join(folder, `${files++}.evidence`);
  await writeFile(file, bytes);
  const manifest = join(bench.cluster.dir, "manifest.cbor");
  return runCairn(["evidence", "verify", file, "--manifest", manifest, ...words], { HOME: folder });
}

test("evidence verify says what is proven, with nothing but the manifest", async () => {
  const people = await verify(encodeCanonical(proof));
  assert.equal(people.exit, 0, people.stderr);
  assert.match(people.stdout, /node 5 \(n5\): it signed two different votes/);
  assert.match(people.stderr, new RegExp(bench.cluster.fingerprint.slice(0, 8)));
  const programs = await verify(encodeCanonical(proof), "--json");
  const { cluster } = bench.cluster.signedManifest.manifest;
  assert.deepEqual(JSON.parse(programs.stdout), {
    verdict: "proven",
    type: "DoubleVote",
    node: 5,
    name: "n5",
    violation,
    subject: "1".repeat(64),
    cluster,
    manifest: bench.cluster.manifestHash,
  });
});

test("evidence verify takes the manifest as a node tells it too, and nothing else for one", async () => {
  const told = await bench.cairn("cluster", "manifest", "--json");
  const file = join(folder, "told.evidence");
  await writeFile(file, encodeCanonical(proof));
  for (const [text, exit] of [
    [told.stdout, 0],
    ["{}", 2],
    ["{", 2],
    ["", 2],
  ] as const) {
    const manifest = join(folder, `${files++}.json`);
    await writeFile(manifest, text);
    const ran = await runCairn(["evidence", "verify", file, "--manifest", manifest], { HOME: folder });
    assert.equal(ran.exit, exit, ran.stderr);
  }
});

test("evidence verify has an exit code for what proves nothing, for another manifest, and for what is no evidence", async () => {
  const forged = await verify(encodeCanonical(doubleVote(namedSigner("thief"))), "--json");
  assert.deepEqual([forged.exit, JSON.parse(forged.stderr).code, forged.stdout], [1, "evidence-invalid", ""]);
  const elsewhere = await verify(encodeCanonical({ ...proof, manifestHash: "2".repeat(64) }), "--json");
  assert.deepEqual([elsewhere.exit, JSON.parse(elsewhere.stderr).code], [75, "wrong-manifest"]);
  const none = await verify(Buffer.from("no evidence"));
  assert.equal(none.exit, 2);
  const missing = await runCairn(["evidence", "verify", "/none", "--manifest", "/none"], {});
  assert.match(missing.stderr, /file-missing/);
});

test("cluster bans list shows who is kept out, by whom and until when", async () => {
  const local = { ...ban, scope: "local" as const, node: 2, until: null, violation: "f".repeat(64) };
  bench.node.answers.listBans = () => ({
    bans: [{ ...ban, violation }, local, { ...local, liftedAt: ban.from, inForce: false }],
  });
  const ran = await bench.cairn("cluster", "bans", "list");
  assert.equal(ran.exit, 0, ran.stderr);
  assert.match(ran.stdout, new RegExp(`5 n5 +banned +all, with proof .* ${violation}`));
  assert.match(ran.stdout, /2 n2 +banned +the asked node alone .* for good/);
  assert.match(ran.stdout, /2 n2 +lifted/);
  bench.node.answers.listBans = () => ({ bans: [] });
  assert.match((await bench.cairn("cluster", "bans", "list")).stdout, /No node was ever banned/);
});

test("cluster bans explain judges the evidence itself and exports it for others", async () => {
  const file = join(folder, "exported.evidence");
  const ran = await bench.cairn("cluster", "bans", "explain", violation.slice(0, 8), "--export", file);
  assert.equal(ran.exit, 0, ran.stderr);
  assert.match(ran.stdout, /node 5 \(n5\): it signed two different votes/);
  const exported = await readFile(file);
  assert.equal((await verify(exported)).exit, 0);
  const again = await bench.cairn("cluster", "bans", "explain", violation, "--export", file);
  assert.match(again.stderr, /file-exists/);
});

test("cluster bans explain believes no node: evidence that proves nothing, or another fault, is refused", async () => {
  bench.node.answers.getViolation = () => violationView(doubleVote(namedSigner("thief")));
  const forged = await bench.cairn("cluster", "bans", "explain", violation);
  assert.match(forged.stderr, /evidence-invalid/);
  bench.node.answers.listBans = () => ({ bans: [{ ...ban, node: 2, violation }] });
  bench.node.answers.getViolation = () => violationView(proof);
  const another = await bench.cairn("cluster", "bans", "explain", violation);
  assert.match(another.stderr, /peer-disagrees/);
  const unknown = await bench.cairn("cluster", "bans", "explain", "00000000");
  assert.match(unknown.stderr, /not-found/);
});

test("a fault that one node alone saw is told as such, and there is nothing to export", async () => {
  bench.node.answers.getViolation = () => violationView(null);
  const ran = await bench.cairn("cluster", "bans", "explain", violation);
  assert.match(ran.stdout, /seen by the asked node alone/);
  const file = join(folder, "none.evidence");
  const refused = await bench.cairn("cluster", "bans", "explain", violation, "--export", file);
  assert.match(refused.stderr, /not-found/);
});

test("the evidence of any fault on record is exported, banned for or not, and one that nobody else can judge is not there", async () => {
  const file = join(folder, "any.evidence");
  const ran = await bench.cairn("evidence", "export", violation, file);
  assert.equal(ran.exit, 0, ran.stderr);
  assert.deepEqual(new Uint8Array(await readFile(file)), new Uint8Array(encodeCanonical(proof)));
  assert.notEqual(
    (await bench.cairn("evidence", "export", violation, file)).exit,
    0,
    "no file is overwritten",
  );
  bench.node.answers.getViolation = () => violationView(null);
  const none = await bench.cairn("evidence", "export", violation, join(folder, "none.evidence"));
  assert.match(none.stderr, /no evidence to export/);
});
