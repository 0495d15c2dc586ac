import assert from "node:assert/strict";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import type { BackupList } from "@cairn/client";
import {
  Ed25519Signer,
  encodeCanonical,
  errorCodes,
  type HashHex,
  keyIdSchema,
  nodeIndexSchema,
  sha256Hex,
  signVerifiedBackup,
  type UnixMs,
  type VerifiedBackup,
} from "@cairn/core";
import { type Bench, createBench, runCairn, temporaryFolder } from "../bench.ts";

let bench: Bench;
let folder: string;
before(async () => {
  bench = await createBench({}, "mainnet");
  folder = await temporaryFolder();
});

const FILE = Buffer.from("age-encryption.org/v1 …");

/** The word of the operator of each of `nodes` on a backup with the wallet's key. */
async function words(
  nodes: readonly number[],
  signedBy = (node: number) => node,
): Promise<BackupList["backups"]> {
  const { manifest } = bench.cluster.signedManifest;
  const keyId = keyIdSchema.parse(bench.node.wallet.view.record.keyId);
  return Promise.all(
    nodes.map(async (node) => {
      const pem = await readFile(bench.cluster.operatorKeys[signedBy(node) - 1] ?? "");
      const body: VerifiedBackup = {
        version: 1,
        cluster: manifest.cluster,
        node: nodeIndexSchema.parse(node),
        backup: sha256Hex(FILE) as HashHex,
        keys: [{ keyId, epoch: 0 }],
        createdAt: 1_800_000_000_000 as UnixMs,
        verifiedAt: 1_800_000_000_000 as UnixMs,
      };
      const word = Buffer.from(encodeCanonical(signVerifiedBackup(body, Ed25519Signer.fromPem(pem))));
      return {
        ...body,
        keys: [{ keyId, epoch: 0 }],
        createdAt: "2027-01-15T08:00:00.000Z",
        verifiedAt: "2027-01-15T08:00:00.000Z",
        word: word.toString("base64"),
      };
    }),
  );
}

test("a running node's backup is written for its owner alone, and only if it is the file that the node names", async () => {
  const answer = {
    node: 1,
    createdAt: "2027-01-15T08:00:00.000Z",
    keys: [],
    recipients: ["age1"],
    file: FILE.toString("base64"),
  };
  bench.node.answers.createBackup = () => ({ ...answer, backup: sha256Hex(FILE) });
  const out = join(folder, "node-1.age");
  const ran = await bench.cairn("backup", "create", "--out", out);
  assert.equal(ran.exit, 0, ran.stderr);
  assert.deepEqual(await readFile(out), FILE);
  assert.equal((await stat(out)).mode & 0o777, 0o600);
  assert.equal((await bench.cairn("backup", "create", "--out", out)).exit, errorCodes["file-exists"].exit);
  const other = await bench.cairn("backup", "create", "--out", `${out}.2`, "--node", "2");
  assert.equal(other.exit, errorCodes["wrong-recipient"].exit);
  bench.node.answers.createBackup = () => ({ ...answer, backup: "0".repeat(64) });
  const lied = await bench.cairn("backup", "create", "--out", `${out}.2`);
  assert.equal(lied.exit, errorCodes["peer-disagrees"].exit);
  await assert.rejects(stat(`${out}.2`));
});

test("nobody can name another recipient for a running node, nor a secret as an argument", async () => {
  for (const option of [["--recipient", "age1x"], ["--passphrase"], ["--passphrase-file", "x"]]) {
    const ran = await bench.cairn("backup", "create", "--out", join(folder, "never.age"), ...option);
    assert.equal(ran.exit, errorCodes.malformed.exit);
    assert.match(ran.stderr, /backup\.recipients/);
  }
});

test("what opens or makes files away from a node is done by the node's own program, with what was asked", async () => {
  const started: (readonly string[])[] = [];
  const run = (...words: readonly string[]) =>
    runCairn(
      words,
      { HOME: folder },
      {
        runDaemon: async (_, args) => {
          started.push(args);
          return 0;
        },
      },
    );
  await run("backup", "verify", "a.age", "--identity", "id.txt", "--node", "3");
  await run(
    "backup",
    "restore",
    "a.age",
    "--into",
    "node-3",
    "--epoch",
    "4",
    "--chain",
    "http://one",
    "--chain",
    "http://two",
  );
  await run("backup", "create", "--offline", "cairn.toml", "--passphrase", "--out", "a.age");
  assert.deepEqual(started, [
    ["verify", "a.age", "--identity", "id.txt", "--node", "3"],
    [
      "restore",
      "a.age",
      "--into",
      "node-3",
      "--chain",
      "http://one",
      "--chain",
      "http://two",
      "--epoch",
      "4",
    ],
    ["create", "--config", "cairn.toml", "--out", "a.age", "--passphrase"],
  ]);
  const half = await run("backup", "verify", "a.age", "--operator-key", "operator.pem");
  assert.equal(half.exit, errorCodes.malformed.exit);
});

test("a word is handed in as it is, and what is none is not", async () => {
  const [one] = await words([2]);
  const file = join(folder, "word");
  await writeFile(file, Buffer.from(one?.word ?? "", "base64"));
  bench.node.answers.confirmBackup = () => ({ backups: [one], unbacked: [] });
  const ran = await bench.cairn("backup", "confirm", file);
  assert.equal(ran.exit, 0, ran.stderr);
  assert.deepEqual(bench.node.called("confirmBackup")[0]?.body, { word: one?.word });
  await writeFile(file, "no word");
  assert.notEqual((await bench.cairn("backup", "confirm", file)).exit, 0);
  assert.equal(bench.node.called("confirmBackup").length, 1);
});

test("on mainnet the command shows no address before it has seen all operators' signatures, whatever a node says", async () => {
  const unbacked = [{ keyId: bench.node.wallet.view.record.keyId, epoch: 0, missing: [3] }];
  const said = (backups: BackupList["backups"]) => {
    bench.node.answers.listBackups = () => ({ backups, unbacked: [] });
  };
  for (const backups of [
    [],
    await words([1, 2, 4, 5]),
    await words([1, 2, 3, 4, 5], (node) => (node === 3 ? 1 : node)),
  ]) {
    said(backups);
    for (const index of [[], ["--index", "0"]]) {
      const refused = await bench.cairn("wallet", "address", ...index);
      assert.equal(refused.exit, errorCodes["not-backed-up"].exit, refused.stderr);
      assert.equal(refused.stdout, "");
      assert.match(refused.stderr, /3/);
    }
  }
  const exported = await bench.cairn("wallet", "export", "--json");
  assert.equal(JSON.parse(exported.stdout).firstAddress, null);
  bench.node.answers.overrideAddress = () => ({
    ...(bench.node.answers.getAddress?.({ params: {}, query: {}, body: {}, headers: {} }) as object),
  });
  const overridden = await bench.cairn("wallet", "address", "--override-backups");
  assert.equal(overridden.exit, 0, overridden.stderr);
  assert.match(overridden.stderr, /no verified backup/);
  assert.equal(bench.node.called("overrideAddress").length, 1);
  said(await words([1, 2, 3, 4, 5]));
  const shown = await bench.cairn("wallet", "address");
  assert.equal(shown.exit, 0, shown.stderr);
  assert.match(shown.stdout, /^bc1q/);
  bench.node.answers.listBackups = () => ({ backups: [], unbacked });
  assert.match((await bench.cairn("backup", "status")).stderr, /nodes 3/);
});
