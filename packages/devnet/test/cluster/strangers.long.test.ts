import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { ClusterOwner, type OwnedWallet } from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";
import { StrangerCrowd } from "./stranger-crowd.ts";

const PAYMENTS = 8;
/** Memory that a node may take more than before, in bytes; buffers of a few hundred handshakes are a tenth of it. */
const MOST_GROWTH = 96 * 1024 * 1024;
/** Files and connections that strangers may make a node hold. */
const MOST_FILES = 256;

let cluster: Cluster;
let owner: ClusterOwner;
let wallet: OwnedWallet;

before(async () => {
  // All processes share this machine with the strangers, who take a good part of it.
  cluster = await startReducedCluster({ settings: { consensus: { round_ms: 20_000 } } });
  owner = new ClusterOwner(cluster);
  wallet = await owner.wallet(await owner.requestKey("frost", "savings"), 60_000);
  for (let coin = 0; coin < PAYMENTS + 1; coin += 1) owner.fund(wallet, [0, coin], 100_000n);
});
after(() => cluster.close());

interface Size {
  readonly rss: number;
  readonly files: number;
}

function sizes(): Promise<readonly Size[]> {
  return Promise.all(
    cluster.indices.map(async (index) => ({
      rss: await cluster.rssBytes(index),
      files: (await readdir(`/proc/${cluster.node(index).pid}/fd`)).length,
    })),
  );
}

const pay = (at: number) =>
  owner.pay(at, owner.spendRequest(wallet, [{ address: cluster.chain.faucet.address, amountSats: 20_000n }]));

test("payments finish while strangers crowd the peers' ports of all nodes, and what that takes is bounded and given back", {
  timeout: 600_000,
}, async (t) => {
  await pay(1);
  const before = await sizes();
  const crowd = new StrangerCrowd(cluster.manifest, 2);
  const during: (readonly Size[])[] = [];
  try {
    for (let payment = 0; payment < PAYMENTS; payment += 1) {
      await pay(1 + (payment % 5));
      during.push(await sizes());
    }
  } finally {
    await crowd.leave();
  }
  assert.equal(Object.keys(crowd.acts).length, 5);
  for (const [name, times] of Object.entries(crowd.acts)) assert.ok(times > 10, `${name}: ${times} times`);
  for (const seen of during) {
    for (const [at, { rss, files }] of seen.entries()) {
      const first = before[at] ?? assert.fail();
      assert.ok(rss - first.rss < MOST_GROWTH, `node ${at + 1} grew from ${first.rss} to ${rss} bytes`);
      assert.ok(
        files - first.files < MOST_FILES,
        `node ${at + 1} went from ${first.files} to ${files} files`,
      );
    }
  }
  await cluster.meshed();
  let left: readonly number[] = [];
  await until(
    async () => {
      left = (await sizes()).map(({ files }, at) => files - (before[at]?.files ?? 0));
      return left.every((more) => more < 16) ? true : null;
    },
    { timeoutMs: 60_000, describe: () => `files beyond those before: ${left}` },
  );
  await pay(3);
  for (const index of cluster.indices) {
    assert.deepEqual(
      cluster.logs(index).filter(({ level }) => level === "error"),
      [],
      `node ${index}`,
    );
  }
  const most = (key: keyof Size) => Math.max(...during.flat().map((size) => size[key]));
  t.diagnostic(`most: ${most("rss")} bytes, ${most("files")} files; acts: ${JSON.stringify(crowd.acts)}`);
});
