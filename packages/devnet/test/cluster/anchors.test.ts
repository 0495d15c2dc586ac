import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { z } from "zod";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { ClusterOwner } from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";
import { Operators } from "./operators.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

const LIMIT = { timeoutMs: 30_000 };
const anchorsSchema = z.object({
  anchors: z.array(
    z.object({
      sequence: z.number(),
      txid: z.string(),
      block: z.object({ height: z.number(), hash: z.string() }).nullable(),
      confirmations: z.number().nullable(),
    }),
  ),
});

let cluster: Cluster;
let operators: Operators;
before(async () => {
  cluster = await startReducedCluster({
    settings: { audit: { fence_ms: 1_000, checkpoint_ms: 2_000, anchor_ms: 0 } },
  });
  operators = await Operators.of(cluster);
});
after(() => cluster.close());

/** Waits until every node holds a checkpoint made under the manifest with this sequence number. */
async function checkpointedUnder(manifestSequence: number): Promise<void> {
  await until(
    async () => {
      for (const index of cluster.indices) {
        const { manifest } = await cluster.client(index).call("getClusterStatus", {});
        const { lines } = await cluster.client(index).call("exportAudit", { query: { part: "checkpoints" } });
        const newest = JSON.parse(lines.at(-1) ?? "null");
        if (manifest.sequence !== manifestSequence) return null;
        if (newest?.checkpoint.checkpoint.manifestHash !== manifest.hash) return null;
      }
      return true;
    },
    { ...LIMIT, describe: () => "no checkpoint under the new manifest" },
  );
}

test("operators switch anchors on, a payment carries one, and the chain proves it to whoever has the logs and the manifest", async () => {
  const owner = new ClusterOwner(cluster);
  const wallet = await owner.wallet(await owner.requestKey("frost", "main"), 60_000);
  for (const index of [0, 1, 2]) owner.fund(wallet, [0, index], 100_000n);
  const recipients = [{ address: cluster.chain.faucet.address, amountSats: 50_000n }];
  const { txid: before } = await owner.pay(1, owner.spendRequest(wallet, recipients));

  const shown = z
    .object({ manifest: z.looseObject({}) })
    .parse(await operators.cairn(1, "cluster", "manifest"));
  const file = join(cluster.files.dir, "anchoring.json");
  await writeFile(file, JSON.stringify({ ...shown.manifest, checkpointAnchors: true }));
  const proposal = await operators.propose(1, "manifest", file);
  await operators.sign(proposal, [2, 3, 4]);
  await operators.inForce(proposal, cluster.indices);
  await checkpointedUnder(1);

  const { txid } = await owner.pay(2, owner.spendRequest(wallet, recipients));
  for (const index of cluster.indices) {
    const { anchors } = await cluster.client(index).call("listAnchors", { query: {} });
    assert.deepEqual(
      anchors.map((anchor) => [anchor.txid, anchor.state, anchor.confirmations]),
      [[txid, "confirmed", 1]],
    );
  }

  const exported = join(cluster.files.dir, "node-3.jsonl");
  await operators.cairn(3, "audit", "export", "--output", exported);
  const offline = anchorsSchema.parse(await operators.cairn(3, "audit", "verify", exported, "--anchors"));
  const [anchor] = offline.anchors;
  assert.equal(anchor?.txid, txid);
  assert.notEqual(anchor?.txid, before);
  const block = cluster.chain.chain.blockAt(anchor?.block?.height ?? -1);
  assert.equal(block?.hash, anchor?.block?.hash);
  assert.equal(anchor?.confirmations, null);

  cluster.chain.faucet.mine(3);
  const online = ["audit", "verify", exported, "--chain", cluster.node(3).chain];
  const [deep] = anchorsSchema.parse(await operators.cairn(3, ...online)).anchors;
  assert.equal(deep?.confirmations, 4);

  // Another transaction in its place anchors nothing, and a block that is not in the best chain is told online alone.
  const lines = (await readFile(exported, "utf8")).split("\n");
  const at = lines.findIndex((line) => line.startsWith('{"anchor"'));
  const line = JSON.parse(lines[at] ?? "null");
  const wrong = join(cluster.files.dir, "wrong.jsonl");
  const other = cluster.chain.chain.transaction(before)?.raw ?? assert.fail();
  line.anchor.txid = before;
  line.anchor.transaction = Buffer.from(other).toString("hex");
  await writeFile(wrong, lines.with(at, JSON.stringify(line)).join("\n"));
  const refused = await operators.attempt(3, "audit", "verify", wrong, "--anchors");
  assert.equal(refused.exit, 74);
  assert.match(refused.stderr, /does not anchor the checkpoint/);
});
