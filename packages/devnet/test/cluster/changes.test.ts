import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CairnClient } from "@cairn/client";
import {
  Ed25519Signer,
  encodeCanonical,
  hashHexSchema,
  manifestHashSchema,
  nodeIndexSchema,
  parseShape,
  signChangeProposal,
  type UnixMs,
} from "@cairn/core";
import { z } from "zod";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { until } from "../../src/cluster/until.ts";
import { Operators } from "./operators.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

const LOOSENING_MS = 5_000;
const LIMIT = { timeoutMs: 30_000 };

let cluster: Cluster;
let operators: Operators;
before(async () => {
  cluster = await startReducedCluster({ policy: { perTransactionMaxSats: 10_000n } });
  operators = await Operators.of(cluster);
});
after(() => cluster.close());

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
    .parse(await operators.cairn(1, "cluster", "manifest"));
  const members = shown.manifest.members.map((member, at) => ({ ...member, name: `operator ${at + 1}'s` }));
  await writeFile(
    file,
    JSON.stringify({ manifest: { ...shown.manifest, members, changeDelayMs: LOOSENING_MS } }),
  );
  const renamed = await operators.propose(1, "manifest", file);
  await operators.sign(renamed, [2, 3, 4]);
  await operators.inForce(renamed, four);

  assert.equal(await decision(1, 2_000), "allow");
  const tighter = await operators.propose(2, "policy", "--max-per-transaction", "1000");
  await operators.sign(tighter, [1, 3]);
  for (const index of four) assert.equal(await operators.state(tighter, index, () => true), "open");
  assert.equal(await decision(4, 2_000), "allow");
  await operators.sign(tighter, [4]);
  await operators.inForce(tighter, four);
  for (const index of four) assert.equal(await decision(index, 2_000), "deny");

  const began = Date.now();
  const looser = await operators.propose(3, "policy", "--max-per-transaction", "5000");
  await operators.sign(looser, [1, 2, 4]);
  for (const index of four) {
    await operators.state(looser, index, (seen) => seen === "committed" || seen === "in-force");
    const said = await decision(index, 2_000);
    if (Date.now() < began + LOOSENING_MS) assert.equal(said, "deny");
  }
  await cluster.kill(2);
  await cluster.start(2);
  await operators.inForce(looser, four);
  assert.ok(Date.now() - began >= LOOSENING_MS, "it took effect before its delay was over");
  for (const index of four) assert.equal(await decision(index, 2_000), "allow");

  await cluster.start(5);
  await operators.inForce(looser, [5]);
  assert.equal(await decision(5, 6_000), "deny");
  const status = await cluster.client(5).call("getClusterStatus", {});
  assert.equal(status.manifest.sequence, 3);
  // The command pins the genesis still, and believes what follows from it.
  const policy = z
    .object({ perTransactionMaxSats: z.string() })
    .parse(await operators.cairn(5, "policy", "show"));
  assert.equal(policy.perTransactionMaxSats, "5000");
  const seen = z
    .object({ nodes: z.array(z.object({ state: z.string() })) })
    .parse(await operators.cairn(1, "cluster", "status"));
  assert.deepEqual(
    seen.nodes.map(({ state: agreement }) => agreement),
    ["agrees"],
  );
});

test("what nodes cannot change while they run is refused before anybody signs, and says what to do", async () => {
  const file = join(cluster.files.dir, "threshold.json");
  const shown = z
    .object({ manifest: z.looseObject({}) })
    .parse(await operators.cairn(1, "cluster", "manifest"));
  await writeFile(file, JSON.stringify({ ...shown.manifest, threshold: 3 }));
  const ran = await operators.attempt(1, "proposal", "create", "manifest", file);
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
  const proposal = await operators.propose(1, "policy", "--max-per-transaction", "4000");
  await operators.state(proposal, 2, () => true);
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
  for (const operator of [2, 3]) await operators.cairn(operator, "proposal", "refuse", proposal);
  await operators.state(proposal, 1, (seen) => seen === "rejected");
  const alert = await until(
    () =>
      cluster
        .logs(1)
        .find(
          ({ level, message, subject }) =>
            level === "error" && /proposal failed/.test(message) && subject === proposal,
        ) ?? null,
    { ...LIMIT, describe: () => "no line at the level of alerts" },
  );
  assert.equal(alert.refused, "2:operator-refused,3:operator-refused");
  const { alerts } = await cluster.client(1).call("listAlerts", {});
  const raised = alerts.find(({ kind, subject }) => kind === "proposal-failed" && subject === proposal);
  assert.equal(raised?.data.refused, "2:operator-refused,3:operator-refused");
  const metrics = await fetch(`${cluster.node(1).api}/metrics`, {
    headers: { authorization: `Bearer ${cluster.files.tokens.viewer}` },
  });
  assert.match(await metrics.text(), /cairn_events\{type="change",state="rejected"\} 1/);
});
