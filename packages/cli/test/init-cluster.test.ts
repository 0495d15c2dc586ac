import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmod, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { test } from "node:test";
import {
  decodeCanonical,
  Ed25519Signer,
  isCairnError,
  manifestHash,
  nodeConfigSchema,
  policyHash,
  policySchema,
  SealingKey,
  sha256Hex,
  signedManifestSchema,
  verifyGenesis,
} from "@cairn/core";
import {
  certificateFingerprint,
  certificateFromPem,
  openAuthority,
  readKeyFile,
  verifyNodeCertificate,
} from "@cairn/pki";
import { parse } from "smol-toml";
import { initCluster, readCliConfig } from "../src/index.ts";
import { clusterOptions, temporaryFolder } from "./bench.ts";

const modeOf = async (path: string) => (await stat(path)).mode & 0o777;

const openFiles = new Set(["manifest.cbor", "policy.cbor", "ca.pem", "certificate.pem", "epoch"]);

test("a cluster has exactly the documented files; folders are 0700, and whatever is secret is 0600", async () => {
  const cluster = await initCluster(clusterOptions(join(await temporaryFolder(), "c"), 3));
  const entries = await readdir(cluster.dir, { recursive: true, withFileTypes: true });
  const node = [
    "ca.pem",
    "cairn.toml",
    "certificate.pem",
    "data",
    "epoch",
    "identity.pem",
    "manifest.cbor",
  ].concat(["policy.cbor", "sealing.pem", "vault.key"]);
  const expected = [
    ...["ca", "ca/ca-key.pem", "ca/ca.pem", "config.toml", "manifest.cbor", "operators", "policy.cbor"],
    ...[1, 2, 3].map((index) => `operators/operator-${index}.pem`),
    ...["requester.pem", "tokens", "tokens/admin", "tokens/operator", "tokens/spender", "tokens/viewer"],
    ...[1, 2, 3].flatMap((index) => [`node-${index}`, ...node.map((name) => `node-${index}/${name}`)]),
  ];
  const found = entries.map((entry) => relative(cluster.dir, join(entry.parentPath, entry.name)));
  assert.deepEqual(found.sort(), expected.sort());
  assert.equal(await modeOf(cluster.dir), 0o700);
  for (const entry of entries) {
    const wanted = entry.isDirectory() ? 0o700 : openFiles.has(entry.name) ? 0o644 : 0o600;
    assert.equal(await modeOf(join(entry.parentPath, entry.name)), wanted, entry.name);
  }
});

test("the genesis manifest is signed by all operators, pins CA and policy, and every node's keys are its own", async () => {
  const options = {
    ...clusterOptions(join(await temporaryFolder(), "c")),
    policy: { rolling24hMaxSats: 5n },
  };
  const cluster = await initCluster(options);
  const { manifest } = cluster.signedManifest;
  verifyGenesis(cluster.signedManifest);
  assert.equal(manifest.threshold, 4);
  assert.equal(cluster.manifestHash, manifestHash(manifest));
  assert.equal(cluster.fingerprint.replaceAll(" ", ""), cluster.manifestHash);
  const requester = Ed25519Signer.fromPem(await readKeyFile(cluster.requesterKey));
  assert.deepEqual(manifest.requesters, [requester.publicKey]);

  const authority = openAuthority(
    await readKeyFile(join(cluster.dir, "ca", "ca-key.pem")),
    await readFile(join(cluster.dir, "ca", "ca.pem")),
  );
  assert.equal(authority.fingerprint, manifest.caFingerprint);
  assert.equal(cluster.caFingerprint, certificateFingerprint(authority.certificate));

  const vaultKeys = new Set<string>();
  for (const member of manifest.members) {
    const own = (name: string) => join(cluster.dir, `node-${member.index}`, name);
    const identity = Ed25519Signer.fromPem(await readKeyFile(own("identity.pem")));
    const sealing = SealingKey.fromPem(await readKeyFile(own("sealing.pem")));
    const operator = Ed25519Signer.fromPem(await readKeyFile(cluster.operatorKeys[member.index - 1] ?? ""));
    assert.equal(identity.publicKey, member.identity);
    assert.equal(sealing.publicKey, member.sealing);
    assert.equal(operator.publicKey, member.operator);
    verifyNodeCertificate(certificateFromPem(await readFile(own("certificate.pem"))), {
      manifest,
      authority: certificateFromPem(await readFile(own("ca.pem"))),
      index: member.index,
      now: Date.now(),
      revocations: null,
    });
    const signed = decodeCanonical(signedManifestSchema, await readFile(own("manifest.cbor")));
    assert.deepEqual(signed, cluster.signedManifest);
    const policy = decodeCanonical(policySchema, await readFile(own("policy.cbor")));
    assert.equal(policyHash(policy), manifest.policy);
    assert.equal(policy.rolling24hMaxSats, 5n);
    assert.equal(await readFile(own("epoch"), "utf8"), "0\n");
    const vaultKey = await readFile(own("vault.key"));
    assert.equal(vaultKey.length, 32);
    vaultKeys.add(vaultKey.toString("hex"));
  }
  assert.equal(vaultKeys.size, 5);
});

test("every node's configuration is one that the daemon accepts, with settings from general to particular", async () => {
  const options = clusterOptions(join(await temporaryFolder(), "c"), 2);
  const cluster = await initCluster({
    ...options,
    settings: { consensus: { round_ms: 700 }, signing: { threads: null }, log: { level: "warn" } },
    nodes: options.nodes.map((node, position) =>
      position === 1 ? { ...node, settings: { log: { level: "debug" as const } } } : node,
    ),
  });
  const configs = await Promise.all(
    cluster.nodes.map(async ({ config }) => nodeConfigSchema.parse(parse(await readFile(config, "utf8")))),
  );
  assert.deepEqual(
    configs.map(({ node, api, transport, consensus, log }) => [
      node.index,
      api.listen,
      transport.p2p_listen,
      consensus.round_ms,
      log.level,
    ]),
    [
      [1, "127.0.0.1:18000", "127.0.0.1:19000", 700, "warn"],
      [2, "127.0.0.1:18001", "127.0.0.1:19001", 700, "debug"],
    ],
  );
  for (const { api } of configs) {
    assert.deepEqual(
      api.tokens,
      (["viewer", "spender", "operator", "admin"] as const).map((role) => ({
        name: role,
        role,
        hash: sha256Hex(Buffer.from(cluster.tokens[role])),
      })),
    );
  }
});

test("tokens are 32 random bytes; the admin one is in the command's configuration and none is in a node's folder", async () => {
  const cluster = await initCluster(clusterOptions(join(await temporaryFolder(), "c"), 2));
  for (const [role, token] of Object.entries(cluster.tokens)) {
    assert.match(token, /^[A-Za-z0-9_-]{43}$/);
    assert.equal(await readFile(join(cluster.dir, "tokens", role), "utf8"), `${token}\n`);
    for (const { config } of cluster.nodes) assert.ok(!(await readFile(config, "utf8")).includes(token));
  }
  const config = await readCliConfig(cluster.cliConfig);
  assert.equal(config.token, cluster.tokens.admin);
  assert.equal(config.manifest, cluster.manifestHash);
  assert.deepEqual(config.endpoints, ["http://127.0.0.1:18000", "http://127.0.0.1:18001"]);
  assert.equal(config.requester_key, cluster.requesterKey);
  assert.equal(config.operator_key, cluster.operatorKeys[0]);
});

test("two clusters of the same people differ", async () => {
  const folder = await temporaryFolder();
  const first = await initCluster(clusterOptions(join(folder, "a"), 2));
  const second = await initCluster(clusterOptions(join(folder, "b"), 2));
  assert.notEqual(first.signedManifest.manifest.cluster, second.signedManifest.manifest.cluster);
});

test("a folder that holds anything is refused and left as it was; an empty one is taken", async () => {
  const folder = await temporaryFolder();
  const taken = join(folder, "taken");
  await mkdir(taken);
  await writeFile(join(taken, "key"), "precious");
  await assert.rejects(initCluster(clusterOptions(taken, 2)), (error) => isCairnError(error, "file-exists"));
  assert.deepEqual(await readdir(taken), ["key"]);
  assert.equal(await readFile(join(taken, "key"), "utf8"), "precious");
  await initCluster(clusterOptions(join(folder, "c"), 2));
  await assert.rejects(initCluster(clusterOptions(join(folder, "c"), 2)), (error) =>
    isCairnError(error, "file-exists"),
  );
  await mkdir(join(folder, "empty"));
  await initCluster(clusterOptions(join(folder, "empty"), 2));
  assert.deepEqual((await readdir(folder)).sort(), ["c", "empty", "taken"]);
});

test("what can't be a cluster is refused before anything is written", async () => {
  const folder = await temporaryFolder();
  const options = clusterOptions(join(folder, "c"), 3);
  const bad = async (change: object, code: "malformed" | "config-invalid") =>
    assert.rejects(
      initCluster({ ...options, ...change }),
      (error) => isCairnError(error, code),
      JSON.stringify(change),
    );
  await bad({ threshold: 4 }, "malformed");
  await bad({ nodes: options.nodes.slice(0, 1) }, "malformed");
  await bad({ network: "signet", unsignedRequests: true }, "malformed");
  await bad({ settings: { consensus: { round_ms: 1 } } }, "config-invalid");
  await bad({ nodes: options.nodes.map((node) => ({ ...node, name: "same" })) }, "config-invalid");
  await bad({ nodes: options.nodes.map((node) => ({ ...node, api: "127.0.0.1:1" })) }, "config-invalid");
  await bad({ nodes: options.nodes.map((node) => ({ ...node, chain: [] })) }, "config-invalid");
  await bad({ policy: { delayMs: -1 } }, "malformed");
  assert.deepEqual(await readdir(folder), []);
});

test("a full disk is said so, and nothing half-made stays", async (t) => {
  const folder = await temporaryFolder();
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", "size=24k,mode=700", "tmpfs", folder]);
  if (status !== 0) {
    t.diagnostic("only root may make a small disk: the mapping of ENOSPC is tested beside this");
    return;
  }
  try {
    await assert.rejects(initCluster(clusterOptions(join(folder, "c"))), (error) =>
      isCairnError(error, "storage-full"),
    );
    assert.deepEqual(await readdir(folder), []);
  } finally {
    assert.equal(spawnSync("umount", [folder]).status, 0);
  }
});

test("a place that can't be written is named, and nothing half-made stays", async (t) => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "file"), "");
  await assert.rejects(
    initCluster(clusterOptions(join(folder, "file", "c"), 2)),
    (error) => isCairnError(error, "storage-failed") || isCairnError(error, "file-exists"),
  );
  assert.deepEqual(await readdir(folder), ["file"]);
  if (process.getuid?.() === 0) {
    t.diagnostic("root may write anywhere: the read-only folder is tried as a user only");
    return;
  }
  const closed = join(folder, "closed");
  await mkdir(closed, { mode: 0o500 });
  await assert.rejects(initCluster(clusterOptions(join(closed, "c"), 2)), (error) =>
    isCairnError(error, "storage-failed"),
  );
  await chmod(closed, 0o700);
});
