import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  AUDIT_ROOT,
  type Checkpoint,
  decodeCanonical,
  encodeCanonical,
  hashHexSchema,
  isCairnError,
  manifestHash,
  type NodeIndex,
  nonceSchema,
  type SignedCheckpoint,
  signCheckpoint,
  signedCheckpointSchema,
  signFenceAnswer,
  systemClock,
  verifyCheckpoint,
  verifyCheckpointChain,
} from "@cairn/core";
import { InProcessCluster } from "./cluster.ts";

let cluster: InProcessCluster;

before(async () => {
  cluster = await InProcessCluster.start({ audit: { fenceMs: 300, checkpointMs: 1_000 } });
});
after(() => cluster.close());

async function checkpointsOf(index: number): Promise<readonly SignedCheckpoint[]> {
  const rows = await cluster.node(index).store.checkpoints({ from: 0, limit: 1_000 });
  return rows.map(({ body }) => decodeCanonical(signedCheckpointSchema, body));
}

/** Leaves an entry in the logs of `nodes`. */
async function work(nodes: readonly number[], of = cluster): Promise<void> {
  await Promise.all(
    nodes.map((index) => of.node(index).runtime.loop.run((batch) => batch.audit("work", ""))),
  );
}

/** Waits until all that run hold a checkpoint that covers their log as it is now. */
async function covered(): Promise<void> {
  const heads = await Promise.all(
    [...cluster.nodes.values()].map(async ({ index, store }) => ({
      index,
      length: ((await store.auditHead())?.seq ?? -1) + 1,
    })),
  );
  await cluster.until(
    async () => {
      for (const { index } of heads) {
        const newest = cluster.node(index).runtime.checkpoints.newest;
        if (newest === null) return false;
        if (heads.some((head) => (newest.checkpoint.heads[head.index - 1]?.length ?? 0) < head.length))
          return false;
      }
      return true;
    },
    60_000,
    () => "no checkpoint covers all logs",
  );
}

test("nodes co-sign where their logs stand, again as they grow, and one that is down stops nobody", async () => {
  const inForce = { manifest: cluster.manifest, manifestHash: manifestHash(cluster.manifest) };
  await work([1, 2, 3, 4, 5]);
  await covered();
  await cluster.node(2).stop();
  await work([1, 3, 4, 5]);
  await covered();
  await cluster.startNode(2 as NodeIndex);
  await covered();
  for (const index of [1, 3, 4, 5]) {
    const all = await checkpointsOf(index);
    assert.ok(all.length >= 2);
    for (const [at, signed] of all.entries()) {
      verifyCheckpoint(signed, inForce);
      const previous = all[at - 1];
      if (previous === undefined) continue;
      const { manifest } = cluster;
      verifyCheckpointChain(
        { checkpoint: previous.checkpoint, manifest },
        { checkpoint: signed.checkpoint, manifest },
      );
    }
  }
});

test("a head that its node did not sign is not co-signed, and two that contradict each other are kept and told", async (t) => {
  const quiet = await InProcessCluster.start({ audit: { fenceMs: 300 } });
  t.after(() => quiet.close());
  await work([5], quiet);
  const { runtime, store } = quiet.node(1);
  const remembered = () => runtime.fence.records().find(({ body }) => body.node === 5);
  await quiet.until(
    () => (remembered()?.body.position.auditLength ?? 0) > 0,
    30_000,
    () => "node 1 does not know of node 5's entry",
  );
  const record = remembered();
  assert.ok(record);
  const forked = signFenceAnswer(
    {
      ...record.body,
      nonce: nonceSchema.parse("ab".repeat(32)),
      auditHead: hashHexSchema.parse("cd".repeat(32)),
    },
    quiet.signerOf(5),
  );
  const checkpoint: Checkpoint = {
    version: 1,
    cluster: quiet.manifest.cluster,
    manifestHash: manifestHash(quiet.manifest),
    sequence: 0,
    previous: null,
    heads: quiet.manifest.members.map(({ index: node }) =>
      node === 5
        ? { node, epoch: 0, length: record.body.position.auditLength, hash: forked.body.auditHead }
        : { node, epoch: 0, length: 0, hash: AUDIT_ROOT },
    ),
    createdAt: systemClock.now(),
  };
  const two = 2 as NodeIndex;
  const { signature } = signCheckpoint(checkpoint, two, quiet.signerOf(2));
  const propose = (heads: readonly unknown[]) =>
    runtime.checkpoints.onProposal(
      two,
      encodeCanonical({ version: 1, checkpoint, signature, previous: null, heads }),
    );
  const broken = (error: unknown) => isCairnError(error, "audit-broken") && error.data.node === 5;
  await assert.rejects(propose([]), broken);
  await assert.rejects(propose([record]), broken);
  assert.deepEqual(await store.audit({ from: 0, limit: 1, kind: "peer-forked" }), []);
  await assert.rejects(propose([forked]), broken);
  const [violation] = await store.violations({ node: 5 as NodeIndex, limit: 1 });
  assert.equal(violation?.type, "Rollback");
  assert.equal((await store.audit({ from: 0, limit: 9, kind: "peer-forked" })).length, 1);
});
