import assert from "node:assert/strict";
import { test } from "node:test";
import { type CrashPoint, CrashScene, describePoint } from "./crash-scene.ts";

const faults = ["lost", "unacknowledged"] as const;

test("a node that dies around a commit of a spend comes back, and the request is paid exactly once", async (t) => {
  const scene = await CrashScene.start();
  try {
    const record = await scene.cluster.makeWallet("frost");
    for (let coin = 0; coin < 4; coin += 1) scene.fund(record, 500_000n);
    const points: CrashPoint[] = [1, 2, 3, 5, 6].flatMap((commit) =>
      faults.map((fault): CrashPoint => ({ node: commit % 2 === 0 ? 3 : 1, commit, fault })),
    );
    for (const point of points) {
      await t.test(describePoint(point), async () => {
        scene.fund(record, 500_000n);
        assert.ok(await scene.payThrough(record, point), "the crash struck");
      });
    }
  } finally {
    await scene.close();
  }
});

test("a node that dies between an approval by people and its vote comes back, and the request is paid exactly once", async (t) => {
  const scene = await CrashScene.start({ approvals: { m: 2, of: 2, aboveSats: 0n } });
  try {
    const record = await scene.cluster.makeWallet("frost");
    const points: CrashPoint[] = [1, 2, 3].flatMap((commit) =>
      faults.map((fault): CrashPoint => ({ node: commit === 2 ? 1 : 3, commit, fault, from: "approval" })),
    );
    for (const point of points) {
      await t.test(describePoint(point), async () => {
        scene.fund(record, 500_000n);
        assert.ok(await scene.payThrough(record, point), "the crash struck");
      });
    }
  } finally {
    await scene.close();
  }
});

test("a node that dies during key generation comes back, and all have the key or nobody has", async (t) => {
  for (const commit of [1, 3, 6, 9]) {
    for (const fault of faults) {
      const point: CrashPoint = { node: commit === 3 ? 1 : 4, commit, fault };
      await t.test(describePoint(point), async () => {
        const scene = await CrashScene.start();
        try {
          const { stages } = await scene.generateThrough(point);
          assert.deepEqual(new Set(stages), new Set(["active"]));
        } finally {
          await scene.close();
        }
      });
    }
  }
});
