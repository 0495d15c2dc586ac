import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { MAX_REQUEST_LIFETIME_MS, type SpendRequest, type UnixMs } from "@cairn/core";
import { freeEndpoints } from "@cairn/core/test-support";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { ClusterOwner, type OwnedWallet } from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

const PROGRAM = fileURLToPath(new URL("backup-main-reduced.ts", import.meta.resolve("@cairn/node")));
const LOST = 3;
const LIMIT_MS = 120_000;

let folder: string;
let identity: string;
let cluster: Cluster;
let owner: ClusterOwner;
let savings: OwnedWallet;
let spending: OwnedWallet;

/** What the program answers; it must not fail. */
async function backup(...words: readonly string[]): Promise<Record<string, unknown>> {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [PROGRAM, ...words, "--json"]);
  assert.equal(stderr, "");
  return JSON.parse(stdout);
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "cairn-backup-"));
  identity = join(folder, "identity.txt");
  const { recipient } = await backup("keygen", "--out", identity);
  cluster = await startReducedCluster({
    ecdsa: true,
    settings: { backup: { recipients: [String(recipient)] } },
  });
  owner = new ClusterOwner(cluster);
  const keys = [await owner.requestKey("frost", "savings"), await owner.requestKey("cggmp24", "spending")];
  savings = await owner.wallet(keys[0] ?? assert.fail(), LIMIT_MS);
  spending = await owner.wallet(keys[1] ?? assert.fail(), LIMIT_MS);
});
after(async () => {
  await cluster?.close();
  await rm(folder, { recursive: true, force: true });
});

async function pay(wallet: OwnedWallet, at: number, change: Partial<SpendRequest> = {}): Promise<void> {
  owner.fund(wallet, [0, 0], 200_000n);
  const recipients = [{ address: cluster.chain.faucet.address, amountSats: 50_000n }];
  await owner.pay(at, owner.spendRequest(wallet, recipients, change), LIMIT_MS);
}

/** How often a node's fence said `state` of the node itself, over all its lives. */
const saidOfItself = (index: number, state: string): number =>
  cluster
    .logs(index)
    .filter((line) => line.message === "fence" && line.subject === String(index) && line.state === state)
    .length;

/** Of a request that could not have been made before now: a restored node takes part in no other. */
function latest(): Partial<SpendRequest> {
  const createdAt = Date.now() as UnixMs;
  return { createdAt, expiry: (createdAt + MAX_REQUEST_LIFETIME_MS) as UnixMs };
}

async function readyIds(index: number): Promise<readonly string[]> {
  const { presignatures } = await cluster.client(index).call("listPresignatures", {
    query: { keyId: spending.record.keyId, state: "ready", limit: 1_000 },
  });
  return presignatures.map(({ id }) => id);
}

test("the drill: a node is backed up while it pays, lost, restored elsewhere, and signs again; its old machine never does", async () => {
  const { client } = cluster.node(LOST);
  const [, made] = await Promise.all([pay(savings, 1), client.call("createBackup", {})]);
  await pay(spending, 2);
  await until(async () => ((await readyIds(LOST)).length > 0 ? true : null), {
    timeoutMs: LIMIT_MS,
    describe: () => "node 3 has no presignature to lose",
  });
  const before = await readyIds(LOST);

  const file = join(folder, "node-3.age");
  await writeFile(file, Buffer.from(made.file, "base64"), { mode: 0o600 });
  const word = join(folder, "node-3.verified");
  const verified = await backup(
    "verify",
    file,
    "--identity",
    identity,
    "--operator-key",
    cluster.files.operatorKeys[LOST - 1] ?? "",
    "--out",
    word,
  );
  assert.equal(verified.backup, made.backup);
  assert.equal((verified.keys as unknown[]).length, 2);

  const others = [1, 2, 4, 5];
  const { unbacked } = await cluster.client(1).call("listBackups", {});
  assert.deepEqual(
    unbacked.map(({ missing }) => missing),
    [
      [1, 2, 3, 4, 5],
      [1, 2, 3, 4, 5],
    ],
  );
  await client.call("confirmBackup", { body: { word: (await readFile(word)).toString("base64") } });
  for (const index of others) {
    await until(
      async () => {
        const list = await cluster.client(index).call("listBackups", {});
        return list.unbacked.every(({ missing }) => missing.join() === "1,2,4,5") ? true : null;
      },
      { timeoutMs: LIMIT_MS, describe: () => `node ${index} does not know of the verified backup` },
    );
  }

  const { dir } = cluster.node(LOST);
  const stale = join(folder, "stale");
  await cluster.stop(LOST);
  await cp(dir, stale, { recursive: true });
  await rm(dir, { recursive: true });

  const into = join(folder, "restored");
  const [peer, api] = await freeEndpoints(2);
  const restored = await backup(
    "restore",
    file,
    "--identity",
    identity,
    "--into",
    into,
    "--cluster",
    cluster.manifest.cluster,
    "--node",
    String(LOST),
    "--peer-listen",
    peer?.address ?? "",
    "--api-listen",
    api?.address ?? "",
  );
  assert.equal(restored.epoch, 1);
  for (const entry of await readdir(into, { recursive: true, withFileTypes: true })) {
    const { mode } = await stat(join(entry.parentPath, entry.name));
    if (entry.isDirectory()) assert.equal(mode & 0o777, 0o700, entry.name);
    else if (entry.name !== "epoch") assert.equal(mode & 0o777, 0o600, entry.name);
  }
  const token = (await readFile(join(into, "tokens", "admin"), "utf8")).trim();
  cluster.move(LOST, { dir: into, api: `http://${api?.address}`, token });
  const admissions = saidOfItself(LOST, "admitted");
  await cluster.start(LOST);
  await cluster.meshed();
  await until(async () => (saidOfItself(LOST, "admitted") > admissions ? true : null), {
    timeoutMs: LIMIT_MS,
    describe: () =>
      "the restored node is not admitted by its peers, or has not learnt from them what it forgot",
  });
  assert.deepEqual(
    (await readyIds(LOST)).filter((id) => before.includes(id)),
    [],
    "no presignature of before is there",
  );

  // Four of five sign: without node 5 it takes the restored share.
  await cluster.stop(5);
  await pay(savings, 1, latest());
  await pay(spending, 2, latest());
  await cluster.start(5);
  await cluster.meshed();

  await cluster.stop(LOST);
  cluster.move(LOST, {
    dir: stale,
    api: cluster.files.nodes[LOST - 1]?.api ?? "",
    token: cluster.files.tokens.admin,
  });
  await cluster.start(LOST);
  await until(async () => (saidOfItself(LOST, "rolled-back") > 0 ? true : null), {
    timeoutMs: LIMIT_MS,
    describe: () => "the old machine does not hear that it was set back",
  });
});
