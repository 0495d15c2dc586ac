import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { runCli } from "@cairn/cli";
import type { TransactionDetail } from "@cairn/client";
import {
  Ed25519Signer,
  isCairnError,
  parseShape,
  requestHashSchema,
  signSpendApproval,
  systemClock,
  systemRandom,
  type Txid,
  txidSchema,
  type UnixMs,
} from "@cairn/core";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { ClusterOwner, type OwnedWallet } from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

let folder: string;
let cluster: Cluster;
let owner: ClusterOwner;
let wallet: OwnedWallet;

/** Runs `cairn`, as a person at a shell does. */
async function cairn(...words: readonly string[]) {
  const [stdout, stderr]: string[][] = [[], []];
  const exit = await runCli(words, {
    stdout: { write: (text) => void stdout?.push(text), isTTY: false },
    stderr: { write: (text) => void stderr?.push(text), isTTY: false },
    environment: { HOME: folder },
    clock: systemClock,
    random: systemRandom,
    sleep: (ms, signal) => delay(ms, undefined, { signal }).catch(() => undefined),
    signal: new AbortController().signal,
    pollMs: 100,
    confirm: null,
    questions: null,
    runDaemon: async () => 0,
  });
  return { exit, stdout: stdout?.join("") ?? "", stderr: stderr?.join("") ?? "" };
}

/** Runs `cairn` against one node, and reads its JSON. */
async function at(node: number, ...words: readonly string[]): Promise<Record<string, unknown>> {
  const ran = await cairn(
    ...["--config", cluster.files.cliConfig, "--endpoint", cluster.node(node).api],
    ...[...words, "--json"],
  );
  assert.equal(ran.exit, 0, ran.stderr);
  return JSON.parse(ran.stdout);
}

const keyFile = (name: string): string => join(folder, `${name}.pem`);
const approve = (node: number, id: string, name: string) =>
  at(node, "tx", "approve", id, "--key", keyFile(name), "--yes");

/** Asks for a payment that needs approvals. */
async function send(node: number, ...words: readonly string[]): Promise<{ txid: Txid; request: string }> {
  const to = [
    "--to",
    cluster.chain.faucet.address,
    "--amount",
    "300000",
    "--max-fee",
    "20000",
    "--fee-rate",
    "2",
  ];
  const { txid, request } = await at(node, "send", ...to, ...words);
  return { txid: parseShape(txidSchema, txid), request: parseShape(requestHashSchema, request) };
}

/** Waits until every node that runs sees the transaction as `holds` says. */
async function everywhere(txid: Txid, holds: (view: TransactionDetail) => boolean): Promise<void> {
  await until(
    async () => ((await owner.views(txid)).every(({ view }) => view !== null && holds(view)) ? true : null),
    {
      timeoutMs: 60_000,
      describe: async () =>
        `it is at ${(await owner.views(txid)).map(({ view }) => `${view?.state}/${view?.reason}/${view?.approvals?.given.length}`)}`,
    },
  );
}

const waitsWith = (given: number) => (view: TransactionDetail) =>
  view.state === "pending" && view.approvals?.given.length === given;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "cairn-approvals-"));
  const keys: string[] = [];
  for (const name of ["ann", "bob", "cem"]) {
    const made = await cairn("init", "approver", "--file", keyFile(name), "--json");
    keys.push(JSON.parse(made.stdout).approver);
  }
  cluster = await startReducedCluster({ policy: { approvals: { m: 2, keys, aboveSats: 100_000n } } });
  owner = new ClusterOwner(cluster);
  wallet = await owner.wallet(await owner.requestKey("frost", "savings"), 60_000);
  for (const index of [0, 1, 2]) owner.fund(wallet, [0, index], 500_000n);
});
after(async () => {
  await cluster.close();
  await rm(folder, { recursive: true, force: true });
});

test("a payment waits for two people at five processes, and is made though the node that took the second approval is killed at once", async () => {
  const { txid, request } = await send(1);
  await everywhere(txid, waitsWith(0));
  await approve(2, request, "ann");
  await approve(4, txid, "ann");
  await everywhere(txid, waitsWith(1));
  const status = await cairn("--config", cluster.files.cliConfig, "tx", "status", txid);
  assert.match(status.stdout, /It waits for approvals by people: 1 of 2 are there\./);
  assert.match(status.stdout, /approvals +1 of 2: [0-9a-f]{16}; not yet: [0-9a-f]{16}, [0-9a-f]{16}/);
  await approve(3, request, "cem");
  await cluster.kill(3);
  await cluster.start(3);
  await cluster.meshed();
  await owner.published(txid, 60_000);
  cluster.chain.faucet.mine(1);
  const views = await owner.confirmed(txid, 60_000);
  assert.deepEqual(
    views.map(({ approvals }) => approvals?.given.length),
    [2, 2, 2, 2, 2],
  );
});

test("no node counts an approval that is altered, of a stranger, or of what a replacement replaces", async () => {
  const { txid, request } = await send(2, "--expiry", "10m");
  await everywhere(txid, waitsWith(0));
  const ann = Ed25519Signer.fromPem(await readFile(keyFile("ann")));
  const now = systemClock.now();
  const body = {
    version: 1,
    cluster: cluster.manifest.cluster,
    requestHash: parseShape(requestHashSchema, request),
    approver: ann.publicKey,
    createdAt: now,
    expiry: (now + 60_000) as UnixMs,
  } as const;
  const good = signSpendApproval(body, ann);
  const stranger = Ed25519Signer.generate();
  const bad = [
    ["signature-invalid", { ...good, body: { ...body, expiry: (now + 61_000) as UnixMs } }],
    ["signature-invalid", signSpendApproval(body, stranger)],
    ["unknown-approver", signSpendApproval({ ...body, approver: stranger.publicKey }, stranger)],
    ["expired", signSpendApproval({ ...body, createdAt: 1 as UnixMs, expiry: 2 as UnixMs }, ann)],
  ] as const;
  for (const { client } of cluster.running) {
    for (const [code, signed] of bad) {
      await assert.rejects(client.call("approveRequest", { body: signed }), (error) =>
        isCairnError(error, code),
      );
    }
  }
  await everywhere(txid, waitsWith(0));
  await approve(1, request, "ann");
  await everywhere(txid, waitsWith(1));
  // Another fee: the same transaction again would have the same id.
  const replacement = await send(2, "--replaces", request, "--fee-rate", "7");
  await approve(3, request, "bob");
  await everywhere(replacement.txid, waitsWith(0));
});
