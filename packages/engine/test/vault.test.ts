import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { clusterIdSchema } from "@cairn/core";
import { native } from "@cairn/native-engine/reduced";
import { openEngine } from "../src/open-engine.ts";
import { executionId, hex32, keyId, node } from "./support/wire.ts";

describe("the vault", () => {
  let folder: string;
  const clusterId = clusterIdSchema.parse(hex32());

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-vault-"));
    native.createKeyFile(join(folder, "key"));
    native.createKeyFile(join(folder, "other"));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const open = (key: string, change: { dataDir?: string; me?: number } = {}) =>
    openEngine(native, {
      clusterId,
      me: node(change.me ?? 1),
      dataDir: join(folder, change.dataDir ?? "data"),
      keySource: { kind: "file", path: join(folder, key) },
      primes: { target: 0 },
    });

  test("seals the node's own secrets under their labels, across restarts", async () => {
    const secret = new Uint8Array([1, 2, 3]);
    const first = await open("key");
    const sealed = await first.vault.seal("identity", secret);
    assert.equal(Buffer.from(sealed).includes(Buffer.from(secret)), false);
    assert.notDeepEqual(await first.vault.seal("identity", secret), sealed);
    await first.vault.close();

    const { vault } = await open("key");
    assert.deepEqual(await vault.open("identity", sealed), secret);
    await assert.rejects(vault.open("tls", sealed), { code: "sealed-blob-invalid" });
    for (let at = 0; at < sealed.length; at += 1) {
      const altered = Uint8Array.from(sealed);
      altered[at] = (altered[at] ?? 0) ^ 0x10;
      await assert.rejects(vault.open("identity", altered), { code: "sealed-blob-invalid" });
    }
    await vault.close();
  });

  test("another key file, node or cluster does not open it", async () => {
    await (await open("key")).vault.close();
    await assert.rejects(open("other"), { code: "vault-locked" });
    await assert.rejects(open("key", { me: 2 }), { code: "vault-locked" });
  });

  test("a share never opens as a secret of the node", async () => {
    const { engine, vault } = await open("key");
    const listener = { send() {}, progress() {}, done() {}, failed() {} };
    // Any blob of another kind: the header check is sealed too.
    const other = await vault.seal("identity", new Uint8Array(32));
    other[2] = 6;
    await assert.rejects(vault.open("identity", other), { code: "sealed-blob-invalid" });
    const failed = await new Promise<{ code: string }>((resolve) => {
      engine.start(
        {
          kind: "frost-sign",
          executionId: executionId(),
          keyId: keyId(),
          epoch: 0,
          me: node(1),
          signers: [1, 2].map(node),
          sealedShare: other,
          items: [{ path: [0, 0], preimage: new Uint8Array(1) }],
        },
        { ...listener, failed: resolve },
      );
    });
    assert.equal(failed.code, "sealed-blob-invalid");
    await engine.close();
  });

  test("keeps its files to their owner", async () => {
    await (await open("key", { dataDir: "modes" })).vault.close();
    const mode = async (name: string) => (await stat(join(folder, name))).mode & 0o777;
    assert.equal(await mode("modes"), 0o700);
    assert.equal(await mode("modes/vault.header"), 0o600);
    assert.equal(await mode("modes/primes"), 0o700);
    assert.equal(await mode("key"), 0o600);
    assert.deepEqual((await readdir(join(folder, "modes"))).sort(), ["primes", "vault.header"]);
  });

  test("refuses key files that others can read, of a wrong length, or missing", async () => {
    const loose = join(folder, "loose");
    native.createKeyFile(loose);
    await chmod(loose, 0o644);
    await assert.rejects(open("loose", { dataDir: "a" }), { code: "file-mode" });
    await writeFile(join(folder, "short"), new Uint8Array(31), { mode: 0o600 });
    await assert.rejects(open("short", { dataDir: "b" }), { code: "vault-locked" });
    await assert.rejects(open("absent", { dataDir: "c" }), { code: "file-missing" });
    assert.throws(() => native.createKeyFile(join(folder, "key")), { code: "file-exists" });
  });

  test("opens with a passphrase that Rust reads, and not with another", async () => {
    const write = (name: string, text: string) => writeFile(join(folder, name), text, { mode: 0o600 });
    await write("right", "correct horse battery staple\n");
    await write("wrong", "correct horse battery stable\n");
    const unlock = (name: string) =>
      openEngine(native, {
        clusterId,
        me: node(1),
        dataDir: join(folder, "phrase"),
        keySource: { kind: "passphrase-file", path: join(folder, name) },
        primes: { target: 0 },
      });
    const sealed = await (await unlock("right")).vault.seal("x", new Uint8Array([7]));
    assert.deepEqual(await (await unlock("right")).vault.open("x", sealed), new Uint8Array([7]));
    await assert.rejects(unlock("wrong"), { code: "vault-locked" });
  });

  test("takes a systemd credential", async () => {
    const before = process.env.CREDENTIALS_DIRECTORY;
    process.env.CREDENTIALS_DIRECTORY = folder;
    const unlock = (name: string) =>
      openEngine(native, {
        clusterId,
        me: node(1),
        dataDir: join(folder, "credential"),
        keySource: { kind: "credential", name },
        primes: { target: 0 },
      });
    try {
      await (await unlock("key")).vault.close();
      await assert.rejects(unlock("other"), { code: "vault-locked" });
      await assert.rejects(unlock("../key"), { code: "file-missing" });
    } finally {
      if (before === undefined) delete process.env.CREDENTIALS_DIRECTORY;
      else process.env.CREDENTIALS_DIRECTORY = before;
    }
  });
});
