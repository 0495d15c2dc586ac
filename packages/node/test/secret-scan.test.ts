import assert from "node:assert/strict";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { CairnClient } from "@cairn/client";
import { freeEndpoints } from "@cairn/core/test-support";
import { Daemon } from "./daemon-process.ts";
import { heapSnapshotOf, startWithSnapshots } from "./heap-snapshot.ts";
import { ADMIN_TOKEN, NodeFolder, testCluster } from "./node-folder.ts";
import { signedKeygen } from "./signed-keygen.ts";
import { until } from "./until.ts";

/** Files of a node's folder that hold its keys by nature. */
const keyFiles: ReadonlySet<string> = new Set(["identity.pem", "sealing.pem", "vault.key"]);

/** A node's secrets, in every form in which they could leak as text, and raw. */
async function secretsOf(folder: NodeFolder): Promise<ReadonlyMap<string, readonly Buffer[]>> {
  const found = new Map<string, readonly Buffer[]>();
  for (const name of keyFiles) {
    const content = await readFile(join(folder.path, name));
    const pem = /-----\n([^-]+)\n-----/.exec(content.toString("latin1"))?.[1];
    // The last 32 bytes of a PKCS#8 Ed25519 or X25519 key are the key itself (RFC 8410 §7).
    const raw = pem === undefined ? content : Buffer.from(pem, "base64").subarray(-32);
    const texts = [raw.toString("hex"), raw.toString("base64"), raw.toString("base64url"), raw.join(",")];
    if (pem !== undefined) texts.push(pem);
    found.set(name, [raw, ...texts.map((text) => Buffer.from(text, "latin1"))]);
  }
  return found;
}

function assertAbsent(place: string, content: Buffer, secrets: ReadonlyMap<string, readonly Buffer[]>): void {
  for (const [name, forms] of secrets) {
    assert.ok(!forms.some((form) => content.includes(form)), `${place} holds what is in ${name}`);
  }
}

test("neither the heap nor the disk nor the log of a daemon that made a key and signed with it holds its private keys", {
  timeout: 120_000,
}, async () => {
  const places = await freeEndpoints(2);
  const cluster = testCluster({ addresses: places.map(({ address }) => [`tcp://${address}`]) });
  const folders = [await NodeFolder.create(cluster, 1), await NodeFolder.create(cluster, 2)];
  const [folder] = folders;
  assert.ok(folder !== undefined);
  const daemons = startWithSnapshots(folder.path, () =>
    folders.map(
      ({ config }, at) =>
        new Daemon("main-reduced", ["--config", config, "--transport.p2p_listen", places[at]?.address ?? ""]),
    ),
  );
  try {
    const [daemon] = daemons;
    assert.ok(daemon !== undefined);
    const { api } = await daemon.logged("node ready");
    const client = new CairnClient({ endpoints: [String(api)], token: ADMIN_TOKEN });
    await client.call("createKey", { body: signedKeygen(cluster), idempotencyKey: "keygen" });
    // A key is active when test signatures with every share have verified.
    await until(
      () => client.call("listKeys", {}),
      ({ keys }) => keys.some(({ status }) => status === "active"),
    );

    const snapshot = await heapSnapshotOf(daemon, folder.path);
    const secrets = await secretsOf(folder);
    const identity = cluster.identities[0]?.publicKey ?? assert.fail();
    assert.ok(snapshot.includes(identity), "the snapshot shows what strings the daemon holds");
    assertAbsent("the heap", snapshot, secrets);

    assertAbsent("the log", Buffer.from(JSON.stringify(daemon.lines) + daemon.errors), secrets);
    daemon.process.kill("SIGTERM");
    assert.equal(await daemon.exit, 0);
    const files = await readdir(folder.path, { recursive: true, withFileTypes: true });
    const written = files.filter((entry) => entry.isFile() && !keyFiles.has(entry.name));
    assert.ok(
      written.some(({ name }) => name.endsWith(".db") || name.endsWith(".sqlite")),
      "a database",
    );
    for (const { parentPath, name } of written)
      assertAbsent(name, await readFile(join(parentPath, name)), secrets);
  } finally {
    for (const daemon of daemons) await daemon.stop();
    for (const { path } of folders) await rm(path, { recursive: true, force: true });
  }
});
