import assert from "node:assert/strict";
import { test } from "node:test";
import { CairnClient } from "@cairn/client";
import { CairnError, type Clock, isCairnError, systemClock, systemRandom, type UnixMs } from "@cairn/core";
import { freeEndpoints } from "@cairn/core/test-support";
import { createReducedEngine } from "@cairn/engine/reduced";
import { ClockWatch } from "../src/clock-watch.ts";
import { CairnNode, createLog, loadConfig } from "../src/index.ts";
import { ADMIN_TOKEN, NodeFolder, type TestCluster, testCluster } from "./node-folder.ts";
import { signedKeygen } from "./signed-keygen.ts";
import { until } from "./until.ts";

const TEN_MINUTES = 600_000;

/** The system's clock, wrong by `offsetMs`. */
class WrongClock implements Clock {
  offsetMs: number;

  constructor(offsetMs: number) {
    this.offsetMs = offsetMs;
  }

  now(): UnixMs {
    return (systemClock.now() + this.offsetMs) as UnixMs;
  }
  monotonic = systemClock.monotonic;
  after = systemClock.after;
}

interface Running {
  readonly client: CairnClient;
  readonly url: string;
  readonly log: string[];
  close(): Promise<void>;
}

async function start(cluster: TestCluster, index: number, listen: string, clock: Clock): Promise<Running> {
  const folder = await NodeFolder.create(cluster, index);
  const log: string[] = [];
  try {
    const loaded = await loadConfig({
      file: folder.config,
      environment: {},
      flags: { "transport.p2p_listen": listen },
    });
    const node = await CairnNode.start(loaded, {
      engine: { level: "reduced", create: createReducedEngine },
      log: createLog(
        { level: "info", fields: {} },
        { destination: { write: (line) => log.push(line) }, clock: systemClock },
      ),
      clock,
      random: systemRandom,
      storageFailed: (error) => assert.fail(error),
    });
    return {
      client: new CairnClient({ endpoints: [node.apiUrl], token: ADMIN_TOKEN }),
      url: node.apiUrl,
      log,
      close: async () => {
        await node.close();
        await folder.remove();
      },
    };
  } catch (error) {
    await folder.remove();
    throw error;
  }
}

test("a node whose clock is ten minutes off is told so by its own health and by its peer's, and in both logs", {
  timeout: 120_000,
}, async () => {
  const places = await freeEndpoints(2);
  const cluster = testCluster({ addresses: places.map(({ address }) => [`tcp://${address}`]) });
  const nodes = [
    await start(cluster, 1, places[0]?.address ?? "", systemClock),
    await start(cluster, 2, places[1]?.address ?? "", new WrongClock(TEN_MINUTES)),
  ];
  try {
    const [right, wrong] = nodes;
    assert.ok(right !== undefined && wrong !== undefined);
    await until(
      () => right.client.call("getClusterStatus", {}),
      ({ up }) => up === 2,
    );
    // A keygen request is something that these two have to talk about.
    await right.client.call("createKey", { body: signedKeygen(cluster) });
    await until(
      () => wrong.client.call("health", {}),
      ({ clock }) => clock === "disagrees",
    );
    const health = await wrong.client.call("health", {});
    assert.equal(health.status, "degraded");
    assert.ok(wrong.log.some((line) => line.includes("clock-skew") && line.includes("time synchronisation")));
    await wrong.client.call("createKey", { body: signedKeygen(cluster) }).catch((error: unknown) => {
      assert.ok(error instanceof CairnError, String(error));
    });
    await until(
      () => right.client.call("health", {}),
      ({ clock }) => clock === "disagrees",
    );
    assert.ok(right.log.some((line) => line.includes("clock-skew")));
    const { keys } = await right.client.call("listKeys", {});
    assert.ok(keys.every(({ status }) => status !== "active"));
  } finally {
    for (const node of nodes) await node.close();
  }
});

test("a clock that goes back under a running node harms nothing: what comes from the future is refused by name, and taken once the clock is right", async () => {
  const cluster = testCluster();
  const clock = new WrongClock(0);
  const node = await start(cluster, 1, "127.0.0.1:0", clock);
  try {
    const body = signedKeygen(cluster);
    clock.offsetMs = -TEN_MINUTES;
    await assert.rejects(node.client.call("createKey", { body }), (error) => {
      assert.ok(isCairnError(error, "clock-skew"), String(error));
      assert.match(error.message, /check the clocks/);
      return true;
    });
    assert.deepEqual((await node.client.call("listKeys", {})).keys, []);
    assert.equal((await node.client.call("health", {})).storage, "ok");
    const name = "made-in-the-past";
    const made = { name, role: "viewer" as const, hash: "ab".repeat(32), expiresAt: null };
    await node.client.call("createToken", { body: made });
    clock.offsetMs = 0;
    const key = await node.client.call("createKey", { body });
    assert.equal(key.status, "generating");
    const { entries } = await node.client.call("listAudit", {});
    assert.ok(entries.every(({ seq }, at) => seq === at));
  } finally {
    await node.close();
  }
});

test("a node does not start before its certificate's time, and says what to look at", async () => {
  await assert.rejects(
    start(testCluster(), 1, "127.0.0.1:0", new WrongClock(-10 * 365 * 86_400_000)),
    (error) => {
      assert.ok(isCairnError(error, "not-yet-valid"), String(error));
      assert.match(error.message, /clock/);
      return true;
    },
  );
});

test("a disagreement of clocks counts for a minute", () => {
  let time = 0;
  let told = 0;
  const watch = new ClockWatch({ clock: { monotonic: () => time }, began: () => (told += 1) });
  assert.equal(watch.agrees(), true);
  watch.refused("replayed");
  assert.equal(watch.agrees(), true);
  watch.refused("clock-skew");
  watch.refused("clock-skew");
  assert.equal(told, 1);
  time = 59_999;
  assert.equal(watch.agrees(), false);
  time = 60_000;
  assert.equal(watch.agrees(), true);
});
