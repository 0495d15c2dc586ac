import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { CairnClient } from "@cairn/client";
import { Daemon } from "./daemon-process.ts";
import { ADMIN_TOKEN, NodeFolder, testCluster } from "./node-folder.ts";

test("a daemon says when it is ready, serves its API with the manifest's facts, and stops in order at SIGTERM", async () => {
  const cluster = testCluster();
  const folder = await NodeFolder.create(cluster);
  const daemon = new Daemon("main-reduced", ["--config", folder.config]);
  try {
    const ready = await daemon.logged("node ready");
    assert.equal(ready.pid, daemon.process.pid);
    assert.match(String(ready.peer), /^127\.0\.0\.1:[1-9][0-9]*$/);
    const client = new CairnClient({ endpoints: [String(ready.api)], token: ADMIN_TOKEN });
    const health = await client.call("health", {});
    assert.equal(health.cluster, cluster.manifest.cluster);
    assert.equal(health.status, "degraded");
    assert.equal(health.storage, "ok");
    const status = await client.call("getClusterStatus", {});
    assert.deepEqual([status.total, status.up, status.canSign], [2, 1, false]);
    const { nodes } = await client.call("listNodes", {});
    assert.deepEqual(
      nodes.map(({ index, self, up }) => [index, self, up]),
      [
        [1, true, true],
        [2, false, false],
      ],
    );
    const scrape = await fetch(`${ready.api}/metrics`, {
      headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
    });
    const metrics = await scrape.text();
    for (const name of [
      "cairn_peers_up 0",
      "cairn_burn_counter 0",
      "p2p_connection_failures",
      "cairn_primes_ready 0",
    ]) {
      assert.ok(metrics.includes(name), name);
    }
    daemon.process.kill("SIGTERM");
    assert.equal(await daemon.exit, 0);
    assert.ok(daemon.lines.some(({ message }) => message === "stopped"));
    assert.ok(!JSON.stringify(daemon.lines).includes(ADMIN_TOKEN));
    assert.deepEqual(
      daemon.lines.filter(({ level }) => level === "error"),
      [],
    );
  } finally {
    await daemon.stop();
    await folder.remove();
  }
});

test("a daemon takes up its database again, and refuses one that was made with another manifest", async () => {
  const cluster = testCluster();
  const folder = await NodeFolder.create(cluster);
  const run = async (): Promise<Daemon> => {
    const daemon = new Daemon("main-reduced", ["--config", folder.config]);
    await daemon.logged("node ready");
    daemon.process.kill("SIGINT");
    assert.equal(await daemon.exit, 0);
    return daemon;
  };
  try {
    await run();
    await run();
    const stranger = await NodeFolder.create(testCluster());
    const daemon = new Daemon("main-reduced", [
      "--config",
      stranger.config,
      "--node.data_dir",
      join(folder.path, "data"),
    ]);
    assert.notEqual(await daemon.exit, 0);
    assert.match(daemon.errors, /another node|another cluster|made with|belongs/);
    await stranger.remove();
  } finally {
    await folder.remove();
  }
});

test("the entry point with the reduced engine refuses every network but regtest", async () => {
  const folder = await NodeFolder.create(testCluster({ manifest: { network: "signet" } }));
  const daemon = new Daemon("main-reduced", ["--config", folder.config]);
  try {
    assert.equal(await daemon.exit, 78);
    assert.match(daemon.errors, /reduced engine protects nothing/);
  } finally {
    await daemon.stop();
    await folder.remove();
  }
});

test("a start that fails says why, exits with the code's status and leaves nothing open", async () => {
  const folder = await NodeFolder.create(testCluster());
  const occupied = createServer();
  await new Promise<void>((resolve) => occupied.listen(0, "127.0.0.1", resolve));
  const address = occupied.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const daemon = new Daemon("main-reduced", ["--config", folder.config, "--api.listen", `127.0.0.1:${port}`]);
  try {
    assert.equal(await daemon.exit, 78);
    assert.match(daemon.errors, /EADDRINUSE.*api\.listen/s);
    await writeFile(folder.config, "[node]\nindex = 9\n");
    const second = new Daemon("main", ["--config", folder.config]);
    assert.equal(await second.exit, 78);
    assert.match(second.errors, /chain\.endpoints: is not set/);
  } finally {
    await daemon.stop();
    occupied.close();
    await folder.remove();
  }
});

test("a second signal ends a daemon at once", async () => {
  const folder = await NodeFolder.create(testCluster());
  const daemon = new Daemon("main-reduced", ["--config", folder.config]);
  try {
    await daemon.logged("node ready");
    daemon.process.kill("SIGTERM");
    daemon.process.kill("SIGINT");
    // Both may also arrive after an orderly stop: what must not happen is a hang.
    assert.ok([0, 130].includes((await daemon.exit) ?? -1));
  } finally {
    await daemon.stop();
    await folder.remove();
  }
});
