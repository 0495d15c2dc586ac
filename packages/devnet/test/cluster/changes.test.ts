import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { runCli, writeCliConfig } from "@cairn/cli";
import { CairnClient } from "@cairn/client";
import {
  Ed25519Signer,
  encodeCanonical,
  hashHexSchema,
  manifestHashSchema,
  nodeIndexSchema,
  parseShape,
  signChangeProposal,
  systemClock,
  systemRandom,
  type UnixMs,
} from "@cairn/core";
import { z } from "zod";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { until } from "../../src/cluster/until.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

const LOOSENING_MS = 5_000;
const LIMIT = { timeoutMs: 30_000 };
const proposalSchema = z.object({ proposal: z.string(), state: z.string() });

let cluster: Cluster;
before(async () => {
  cluster = await startReducedCluster({ policy: { perTransactionMaxSats: 10_000n } });
  // Each operator's own command: its key, and its node alone.
  for (const index of cluster.indices) {
    await writeCliConfig(
      configOf(index),
      {
        endpoints: [cluster.node(index).api],
        token: cluster.files.tokens.operator,
        cluster: cluster.manifest.cluster,
        manifest: cluster.files.manifestHash,
        operator_key: cluster.files.operatorKeys[index - 1],
      },
      { replace: false },
    );
  }
});
after(() => cluster.close());

const configOf = (index: number) => join(cluster.files.dir, `operator-${index}.toml`);

/** Runs `cairn` as an operator, and answers with its JSON. */
async function cairn(operator: number, ...words: readonly string[]): Promise<unknown> {
  const ran = await attempt(operator, ...words);
  assert.equal(ran.exit, 0, ran.stderr);
  return JSON.parse(ran.stdout);
}

async function attempt(operator: number, ...words: readonly string[]) {
  const stdout: string[] = [];
  const stderr: string[] = [];
  const exit = await runCli(["--config", configOf(operator), "--json", ...words], {
    stdout: { write: (text) => void stdout.push(text), isTTY: false },
    stderr: { write: (text) => void stderr.push(text), isTTY: false },
    environment: {},
    clock: systemClock,
    random: systemRandom,
    sleep: (ms) => delay(ms),
    signal: new AbortController().signal,
    pollMs: 100,
    confirm: null,
    questions: null,
    runDaemon: async () => 0,
  });
  return { exit, stdout: stdout.join(""), stderr: stderr.join("") };
}

async function propose(operator: number, ...words: readonly string[]): Promise<string> {
  return proposalSchema.parse(await cairn(operator, "proposal", "create", ...words)).proposal;
}

/** Each signs at its own node, once that has heard of the proposal. */
async function sign(proposal: string, operators: readonly number[]): Promise<void> {
  for (const operator of operators) {
    await state(proposal, operator, () => true);
    await cairn(operator, "proposal", "sign", proposal);
  }
}

function state(proposal: string, index: number, wanted: (state: string) => boolean): Promise<string> {
  let seen = "unknown";
  return until(
    async () => {
      const found = await cluster
        .client(index)
        .call("getProposal", { params: { proposal } })
        .catch(() => null);
      seen = found?.state ?? "unknown";
      return found !== null && wanted(seen) ? seen : null;
    },
    { ...LIMIT, describe: () => `the proposal is ${seen} at node ${index}` },
  );
}

async function inForce(proposal: string, nodes: readonly number[]): Promise<void> {
  for (const index of nodes) await state(proposal, index, (seen) => seen === "in-force");
}

/** What a node's policy says of a payment of so many satoshi. */
async function decision(index: number, amountSats: number): Promise<string> {
  const answer = await cluster.client(index).call("checkPolicy", {
    body: {
      outputs: [{ address: cluster.chain.faucet.address, amountSats: String(amountSats) }],
      maxFeeSats: "100",
    },
  });
  return answer.decision;
}

test("operators change manifest and policy with their own keys at their own nodes; what loosens waits, over a kill; who was away follows", async () => {
  await cluster.stop(5);
  const four = [1, 2, 3, 4];

  // A longer delay tightens, so it holds at once; so does another name.
  const file = join(cluster.files.dir, "manifest.json");
  const shown = z
    .object({ manifest: z.looseObject({ members: z.array(z.looseObject({})) }) })
    .parse(await cairn(1, "cluster", "manifest"));
  const members = shown.manifest.members.map((member, at) => ({ ...member, name: `operator ${at + 1}'s` }));
  await writeFile(
    file,
    JSON.stringify({ manifest: { ...shown.manifest, members, changeDelayMs: LOOSENING_MS } }),
  );
  const renamed = await propose(1, "manifest", file);
  await sign(renamed, [2, 3, 4]);
  await inForce(renamed, four);

  assert.equal(await decision(1, 2_000), "allow");
  const tighter = await propose(2, "policy", "--max-per-transaction", "1000");
  await sign(tighter, [1, 3]);
  for (const index of four) assert.equal(await state(tighter, index, () => true), "open");
  assert.equal(await decision(4, 2_000), "allow");
  await sign(tighter, [4]);
  await inForce(tighter, four);
  for (const index of four) assert.equal(await decision(index, 2_000), "deny");

  const began = Date.now();
  const looser = await propose(3, "policy", "--max-per-transaction", "5000");
  await sign(looser, [1, 2, 4]);
  for (const index of four) {
    await state(looser, index, (seen) => seen === "committed" || seen === "in-force");
    const said = await decision(index, 2_000);
    if (Date.now() < began + LOOSENING_MS) assert.equal(said, "deny");
  }
  await cluster.kill(2);
  await cluster.start(2);
  await inForce(looser, four);
  assert.ok(Date.now() - began >= LOOSENING_MS, "it took effect before its delay was over");
  for (const index of four) assert.equal(await decision(index, 2_000), "allow");

  await cluster.start(5);
  await inForce(looser, [5]);
  assert.equal(await decision(5, 6_000), "deny");
  const status = await cluster.client(5).call("getClusterStatus", {});
  assert.equal(status.manifest.sequence, 3);
  // The command pins the genesis still, and believes what follows from it.
  const policy = z.object({ perTransactionMaxSats: z.string() }).parse(await cairn(5, "policy", "show"));
  assert.equal(policy.perTransactionMaxSats, "5000");
  const seen = z
    .object({ nodes: z.array(z.object({ state: z.string() })) })
    .parse(await cairn(1, "cluster", "status"));
  assert.deepEqual(
    seen.nodes.map(({ state: agreement }) => agreement),
    ["agrees"],
  );
});

test("what nodes cannot change while they run is refused before anybody signs, and says what to do", async () => {
  const file = join(cluster.files.dir, "threshold.json");
  const shown = z.object({ manifest: z.looseObject({}) }).parse(await cairn(1, "cluster", "manifest"));
  await writeFile(file, JSON.stringify({ ...shown.manifest, threshold: 3 }));
  const ran = await attempt(1, "proposal", "create", "manifest", file);
  assert.equal(ran.exit, 2);
  assert.match(ran.stderr, /unsupported-version.*threshold|threshold.*cairn init/s);
});

test("a stranger's proposal is refused, and a signature that is not the node's own operator's approves nothing", async () => {
  const client = new CairnClient({
    endpoints: [cluster.node(1).api],
    token: cluster.files.tokens.operator,
  });
  const status = await client.call("getClusterStatus", {});
  const manifestHash = parseShape(manifestHashSchema, status.manifest.hash);
  const stranger = Ed25519Signer.generate();
  const now = Date.now() as UnixMs;
  const rogue = signChangeProposal(
    {
      version: 1,
      cluster: cluster.manifest.cluster,
      manifestHash,
      change: {
        type: "ban-lift",
        lift: {
          version: 1,
          cluster: cluster.manifest.cluster,
          manifestHash,
          node: parseShape(nodeIndexSchema, 3),
          violations: [parseShape(hashHexSchema, "0".repeat(64))],
          createdAt: now,
          effectiveAt: (now + LOOSENING_MS) as UnixMs,
        },
      },
      createdAt: now,
      expiry: (now + 60_000) as UnixMs,
      operator: stranger.publicKey,
    },
    stranger,
  );
  await assert.rejects(
    client.call("createProposal", {
      body: { proposal: Buffer.from(encodeCanonical(rogue)).toString("base64") },
    }),
    /no operator of the manifest signed/,
  );
  const proposal = await propose(1, "policy", "--max-per-transaction", "4000");
  await state(proposal, 2, () => true);
  const other = await client.call("getProposal", { params: { proposal } });
  assert.deepEqual(
    other.votes.map(({ node }) => node),
    [1],
  );
  await assert.rejects(
    cluster.client(2).call("signProposal", {
      params: { proposal },
      body: { signature: rogue.signature },
    }),
    /operator's signature/,
  );
  // Two refusals leave no quorum of four: it fails, and every node says so where people look.
  for (const operator of [2, 3]) await cairn(operator, "proposal", "refuse", proposal);
  await state(proposal, 1, (seen) => seen === "rejected");
  const alert = await until(
    () =>
      cluster
        .logs(1)
        .find(
          ({ level, message, subject }) =>
            level === "error" && /change failed/.test(message) && subject === proposal,
        ) ?? null,
    { ...LIMIT, describe: () => "no line at the level of alerts" },
  );
  assert.equal(alert.refused, "2:operator-refused,3:operator-refused");
  const metrics = await fetch(`${cluster.node(1).api}/metrics`, {
    headers: { authorization: `Bearer ${cluster.files.tokens.viewer}` },
  });
  assert.match(await metrics.text(), /cairn_events\{type="change",state="rejected"\} 1/);
});
