import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { CairnClient } from "@cairn/client";
import {
  AMNESIA_KEY,
  decodeCanonical,
  Ed25519Signer,
  type ErrorCode,
  encodeCanonical,
  errorCodes,
  isCairnError,
  nodeIndexSchema,
  signedVerifiedBackupSchema,
  systemClock,
  verifyVerifiedBackup,
} from "@cairn/core";
import { freeEndpoints } from "@cairn/core/test-support";
import type { BackupParts, OpenedBackup } from "@cairn/engine";
import { createReducedBackupOpener, createReducedEngine } from "@cairn/engine/reduced";
import { openSqliteStore } from "@cairn/storage";
import { Decrypter } from "age-encryption";
import { type BackupDocument, backupDocumentSchema } from "../src/backup/backup-document.ts";
import { checkBackup } from "../src/backup/check-backup.ts";
import { Daemon } from "./daemon-process.ts";
import { heapSnapshotOf, startWithSnapshots } from "./heap-snapshot.ts";
import { ADMIN_TOKEN, NodeFolder, type TestCluster, testCluster } from "./node-folder.ts";
import { signedKeygen } from "./signed-keygen.ts";
import { until } from "./until.ts";

const PROGRAM = fileURLToPath(new URL("../src/backup-main-reduced.ts", import.meta.url));
const LIMIT_MS = 120_000;

let scratch: string;
let identity: string;
let recipient: string;
let cluster: TestCluster;
let folders: NodeFolder[];
/** Made by the running node 1. */
let file: string;
let bytes: Uint8Array;
let heap: Buffer;
let log: string;
let made: { readonly backup: string; readonly keys: readonly string[] };

/** Runs the program; with `refusal`, it must fail so. */
function run(refusal: ErrorCode | null, ...words: readonly string[]): Record<string, unknown> {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...words, "--json"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  assert.equal(status, refusal === null ? 0 : errorCodes[refusal].exit, stderr);
  if (refusal === null) return JSON.parse(stdout);
  assert.match(stderr, /: |; |must /, "a refusal says what to do");
  return {};
}

const opened = async (content: Uint8Array): Promise<OpenedBackup> =>
  (await createReducedBackupOpener()).open(content, { kind: "file", path: identity });

/** What a second implementation of age finds in the file. */
async function plain(): Promise<Buffer> {
  const decrypter = new Decrypter();
  const [, secret] = /(AGE-SECRET-KEY-1\S+)/.exec(await readFile(identity, "utf8")) ?? [];
  decrypter.addIdentity(secret ?? "");
  return Buffer.from(await decrypter.decrypt(bytes));
}

before(
  async () => {
    scratch = await mkdtemp(join(tmpdir(), "cairn-backup-"));
    identity = join(scratch, "identity.txt");
    recipient = String(run(null, "keygen", "--out", identity).recipient);
    const places = await freeEndpoints(2);
    cluster = testCluster({ addresses: places.map(({ address }) => [`tcp://${address}`]) });
    folders = [await NodeFolder.create(cluster, 1), await NodeFolder.create(cluster, 2)];
    const path = folders[0]?.path ?? "";
    process.env.CAIRN_BACKUP__RECIPIENTS = recipient;
    const daemons = startWithSnapshots(path, () =>
      folders.map(
        ({ config }, at) =>
          new Daemon("main-reduced", [
            "--config",
            config,
            "--transport.p2p_listen",
            places[at]?.address ?? "",
          ]),
      ),
    );
    delete process.env.CAIRN_BACKUP__RECIPIENTS;
    try {
      const [daemon] = daemons;
      assert.ok(daemon !== undefined);
      const { api } = await daemon.logged("node ready");
      const client = new CairnClient({ endpoints: [String(api)], token: ADMIN_TOKEN });
      await client.call("createKey", { body: signedKeygen(cluster), idempotencyKey: "keygen" });
      await until(
        () => client.call("listWallets", {}),
        ({ wallets }) => wallets.length > 0,
      );
      const answer = await client.call("createBackup", {});
      made = answer;
      assert.deepEqual(answer.recipients, [recipient]);
      bytes = Uint8Array.from(Buffer.from(answer.file, "base64"));
      heap = await heapSnapshotOf(daemon, path);
      log = JSON.stringify(daemon.lines) + daemon.errors;
      for (const one of daemons) one.process.kill("SIGTERM");
      for (const one of daemons) assert.equal(await one.exit, 0);
    } finally {
      for (const one of daemons) await one.stop();
    }
    file = join(scratch, "node-1.age");
    await writeFile(file, bytes, { mode: 0o600 });
  },
  { timeout: LIMIT_MS },
);

after(async () => {
  for (const folder of folders ?? []) await folder.remove();
  await rm(scratch, { recursive: true, force: true });
});

test("a second implementation of age opens a backup: it holds the share and the keys, and neither the vault's key nor a token", async () => {
  const content = await plain();
  for (const name of ["identity.pem", "sealing.pem", "policy.cbor"])
    assert.ok(content.includes(await readFile(join(folders[0]?.path ?? "", name))), name);
  assert.ok(content.includes(await shareOf(content)));
  for (const [name, absent] of [
    ["vault.key", await readFile(join(folders[0]?.path ?? "", "vault.key"))],
    ["a token", Buffer.from(ADMIN_TOKEN)],
  ] as const)
    assert.ok(!content.includes(absent), name);
});

async function filesOf(folder: string): Promise<readonly Buffer[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  assert.ok(files.some(({ name }) => name.endsWith(".db")));
  return Promise.all(files.map(({ parentPath, name }) => readFile(join(parentPath, name))));
}

/** The 32 bytes of the FROST share: after the text "secret" and the head of a byte string of 32. */
async function shareOf(content: Buffer): Promise<Buffer> {
  const head = Buffer.concat([Buffer.from("secret"), Buffer.of(0x58, 0x20)]);
  const at = content.indexOf(head);
  assert.ok(at > 0, "the payload holds a share");
  return content.subarray(at + head.length, at + head.length + 32);
}

test("neither the heap nor the log nor the disk of the node that made it holds the share", async () => {
  const share = await shareOf(await plain());
  const forms = [
    share.toString("hex"),
    share.toString("base64"),
    share.toString("base64url"),
    share.join(","),
  ];
  for (const form of [share, ...forms.map((text) => Buffer.from(text, "latin1"))]) {
    assert.ok(!heap.includes(form), "the heap holds the share");
    assert.ok(!Buffer.from(log).includes(form), "the log holds the share");
  }
  for (const content of await filesOf(folders[0]?.path ?? ""))
    assert.ok(!content.includes(share), "the disk holds the share");
  assert.ok(heap.includes(recipient), "the snapshot shows what strings the daemon holds");
});

test("a verified backup gives its operator's word, which names the file and its keys", async () => {
  const key = join(scratch, "operator.pem");
  await writeFile(key, cluster.operators[0]?.toPem() ?? "", { mode: 0o600 });
  const out = join(scratch, "word");
  const report = run(null, "verify", file, "--identity", identity, "--operator-key", key, "--out", out);
  assert.equal(report.backup, made.backup);
  assert.equal(report.node, 1);
  const word = decodeCanonical(signedVerifiedBackupSchema, await readFile(out));
  verifyVerifiedBackup(word, cluster.manifest);
  assert.deepEqual(
    word.body.keys.map(({ keyId }) => keyId),
    made.keys,
  );
  const stranger = join(scratch, "stranger.pem");
  await writeFile(stranger, Ed25519Signer.generate().toPem(), { mode: 0o600 });
  run(
    "operator-signature-missing",
    "verify",
    file,
    "--identity",
    identity,
    "--operator-key",
    stranger,
    "--out",
    `${out}-2`,
  );
  await assert.rejects(stat(`${out}-2`), "nothing is written");
});

test("the wrong identity, a damaged or cut file, no backup, and another cluster's or node's are refused", async () => {
  const other = join(scratch, "other.txt");
  run(null, "keygen", "--out", other);
  run("vault-locked", "verify", file, "--identity", other);
  const damaged = join(scratch, "damaged.age");
  for (const spoilt of [
    bytes.subarray(0, bytes.length - 1),
    bytes.subarray(0, 100),
    bytes.map((byte, at) => (at === bytes.length - 40 ? byte ^ 1 : byte)),
    Buffer.from("no backup"),
    new Uint8Array(),
  ]) {
    await assert.rejects(opened(spoilt), (error) => isCairnError(error, "malformed"));
  }
  await writeFile(damaged, bytes.subarray(0, bytes.length - 1));
  run("malformed", "verify", damaged, "--identity", identity);
  run("file-missing", "verify", join(scratch, "nothing"), "--identity", identity);
  run("wrong-cluster", "verify", file, "--identity", identity, "--cluster", "ab".repeat(32));
  run("wrong-recipient", "verify", file, "--identity", identity, "--node", "2");
});

/** Verifies on a pseudo-terminal, as `script` makes one, typing `keys` once it is asked; what was shown, and the exit status. */
async function typed(keys: string): Promise<{ readonly shown: string; readonly status: number }> {
  const line = [process.execPath, PROGRAM, "verify", file].map((word) => `'${word}'`).join(" ");
  const child = spawn("script", ["-qefc", line, "/dev/null"], { env: { ...process.env, SHELL: "/bin/sh" } });
  const exit = once(child, "exit");
  let shown = "";
  for await (const chunk of child.stdout) {
    const asked = shown.includes("Identity");
    shown += String(chunk);
    if (!asked && shown.includes("Identity")) child.stdin.write(keys);
  }
  const [status] = await exit;
  return { shown, status: Number(status) };
}

test("an identity is asked for on the terminal, which does not show it, and an interruption ends it", async () => {
  const [, secret = ""] = /(AGE-SECRET-KEY-1\S+)/.exec(await readFile(identity, "utf8")) ?? [];
  const told = await typed(`wrong\x15${secret}\r`);
  assert.equal(told.status, 0, told.shown);
  assert.match(told.shown, new RegExp(made.backup));
  assert.ok(!told.shown.includes(secret));
  const interrupted = await typed("AGE\x03");
  assert.equal(interrupted.status, errorCodes["vault-locked"].exit);
  assert.match(interrupted.shown, /interrupted/);
});

test("an identity that others can read is refused, and is never taken as an argument", async () => {
  const open = join(scratch, "open.txt");
  await writeFile(open, await readFile(identity), { mode: 0o644 });
  run("file-mode", "verify", file, "--identity", open);
});

/** A vault that stands for the node's, to make backups that lack something. */
async function spoilt(
  change: (parts: {
    document: BackupDocument;
    files: BackupParts["files"];
    items: BackupParts["items"];
  }) => Partial<{ document: unknown; files: BackupParts["files"]; items: BackupParts["items"] }>,
) {
  const folder = await mkdtemp(join(scratch, "vault-"));
  const opener = await createReducedBackupOpener();
  opener.createKeyFile(join(folder, "vault.key"));
  const { engine, backups } = await createReducedEngine({
    clusterId: cluster.manifest.cluster,
    me: nodeIndexSchema.parse(1),
    dataDir: join(folder, "data"),
    keySource: { kind: "file", path: join(folder, "vault.key") },
    primes: { target: 0 },
  });
  const whole = await opened(bytes);
  try {
    const document = decodeCanonical(backupDocumentSchema, whole.document());
    const files = whole.names().map((name) => ({ name, content: whole.file(name) ?? new Uint8Array() }));
    const items = backups.reseal(whole);
    const changed = { document, files, items, ...change({ document, files, items }) };
    const content = await backups.create({
      document: encodeCanonical(changed.document),
      files: changed.files,
      items: changed.items,
      lock: { recipients: [recipient] },
    });
    return await opened(content);
  } finally {
    whole.close();
    await engine.close();
  }
}

test("a backup that lacks a share, a file, a state or a signature, or holds another's, is found out though it opens", async () => {
  const same = await spoilt(() => ({}));
  assert.equal((await checkBackup(same)).document.node, 1);
  const stranger = Ed25519Signer.generate();
  const cases: Parameters<typeof spoilt>[0][] = [
    ({ items }) => ({ items: items.filter(({ kind }) => kind !== "frost-share") }),
    ({ files }) => ({ files: files.filter(({ name }) => name !== "sealing.pem") }),
    ({ files }) => ({
      files: files.map((one) => (one.name === "identity.pem" ? { ...one, content: stranger.toPem() } : one)),
    }),
    ({ files }) => ({
      files: files.map((one) =>
        one.name === "manifest.cbor"
          ? { ...one, content: encodeCanonical({ ...cluster.signedManifest, signatures: [] }) }
          : one,
      ),
    }),
    ({ document }) => ({ document: { ...document, meta: [] } }),
    ({ document }) => ({ document: { ...document, node: 2 } }),
    ({ document }) => ({ document: { ...document, keys: [] } }),
    ({ document }) => ({
      document: { ...document, keys: document.keys.map((key) => ({ ...key, protocol: "cggmp24" })) },
    }),
    ({ document }) => ({
      document: {
        ...document,
        wallets: document.wallets.map((wallet) => ({ ...wallet, keyId: "0".repeat(64) })),
      },
    }),
    ({ document }) => ({ document: { ...document, extra: true } }),
  ];
  for (const [at, change] of cases.entries()) {
    const backup = await spoilt(change);
    await assert.rejects(
      checkBackup(backup),
      (error) => isCairnError(error, "backup-incomplete"),
      `case ${at}`,
    );
    backup.close();
  }
});

test("a restore makes a folder for its owner alone, with a raised epoch, new tokens, the mark of amnesia and no presignatures; a node starts on it", async () => {
  const into = join(scratch, "restored");
  const words = [
    "--identity",
    identity,
    "--into",
    into,
    "--api-listen",
    "127.0.0.1:0",
    "--peer-listen",
    "127.0.0.1:0",
  ];
  const restored = run(null, "restore", file, ...words);
  assert.equal(restored.epoch, 1);
  for (const entry of await readdir(into, { recursive: true, withFileTypes: true })) {
    const mode = (await stat(join(entry.parentPath, entry.name))).mode & 0o777;
    if (entry.name !== "epoch") assert.equal(mode, entry.isDirectory() ? 0o700 : 0o600, entry.name);
  }
  assert.equal((await stat(into)).mode & 0o777, 0o700);
  assert.notDeepEqual(
    await readFile(join(into, "vault.key")),
    await readFile(join(folders[0]?.path ?? "", "vault.key")),
  );
  assert.ok(!(await readFile(join(into, "cairn.toml"), "utf8")).includes(ADMIN_TOKEN));
  const share = await shareOf(await plain());
  for (const content of await filesOf(into)) assert.ok(!content.includes(share), "the disk holds the share");
  const owner = { cluster: cluster.manifest.cluster, node: nodeIndexSchema.parse(1) };
  const store = await openSqliteStore(
    { path: join(into, "data", "cairn.db"), ...owner },
    { clock: systemClock },
  );
  try {
    assert.ok((await store.meta(AMNESIA_KEY)) !== null);
    assert.deepEqual(await store.presignatures({}), []);
    assert.deepEqual(await store.tokens(), []);
    assert.deepEqual(
      (await store.keys()).map(({ keyId, status }) => [keyId, status]),
      made.keys.map((keyId) => [keyId, "active"]),
    );
    assert.equal((await store.wallets()).length, 1);
    assert.deepEqual(
      (await store.audit({ from: 0, limit: 10 })).map(({ kind }) => kind),
      ["restored"],
    );
  } finally {
    await store.close();
  }
  run("file-exists", "restore", file, ...words);

  const daemon = new Daemon("main-reduced", ["--config", join(into, "cairn.toml")]);
  try {
    const { api } = await daemon.logged("node ready");
    const token = (await readFile(join(into, "tokens", "admin"), "utf8")).trim();
    const client = new CairnClient({ endpoints: [String(api)], token });
    assert.equal((await client.call("listNodes", {})).nodes[0]?.epoch, 1);
    const old = new CairnClient({ endpoints: [String(api)], token: ADMIN_TOKEN });
    await assert.rejects(old.call("listNodes", {}), (error) => isCairnError(error, "unauthenticated"));
    daemon.process.kill("SIGTERM");
    assert.equal(await daemon.exit, 0);
  } finally {
    await daemon.stop();
  }
});

test("a restore that fails leaves nothing behind, and none goes into a folder that holds something", async () => {
  const parent = join(scratch, "parent");
  await mkdir(join(parent, "full"), { recursive: true });
  await writeFile(join(parent, "full", "mine"), "mine");
  run("file-exists", "restore", file, "--identity", identity, "--into", join(parent, "full"));
  run(
    "wrong-cluster",
    "restore",
    file,
    "--identity",
    identity,
    "--into",
    join(parent, "new"),
    "--cluster",
    "ab".repeat(32),
  );
  run(
    "config-invalid",
    "restore",
    file,
    "--identity",
    identity,
    "--into",
    join(parent, "new"),
    "--storage",
    "postgres://nobody:secret@127.0.0.1:1/none",
  );
  assert.deepEqual(await readdir(parent, { recursive: true }), ["full", join("full", "mine")]);
});

test("a stopped node is backed up from its folder, to a passphrase too", async () => {
  const passphrase = join(scratch, "passphrase");
  await writeFile(passphrase, "correct horse battery staple\n", { mode: 0o600 });
  const out = join(scratch, "offline.age");
  const config = folders[0]?.config ?? "";
  const facts = run(null, "create", "--config", config, "--out", out, "--passphrase-file", passphrase);
  assert.deepEqual(facts.keys, made.keys);
  assert.equal((await stat(out)).mode & 0o777, 0o600);
  assert.equal(run(null, "verify", out, "--passphrase-file", passphrase).backup, facts.backup);
  await writeFile(passphrase, "another\n");
  run("vault-locked", "verify", out, "--passphrase-file", passphrase);
  run("file-exists", "create", "--config", config, "--out", out, "--recipient", recipient);
  run("malformed", "create", "--config", config, "--out", `${out}.2`);
  run("malformed", "create", "--config", config, "--out", `${out}.2`, "--recipient", "age1nonsense");
  assert.ok(!(await readdir(scratch)).includes("offline.age.2"));
});
