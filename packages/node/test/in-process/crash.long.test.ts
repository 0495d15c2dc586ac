import assert from "node:assert/strict";
import { test } from "node:test";
import { CrashScene, describePoint } from "./crash-scene.ts";

const faults = ["lost", "unacknowledged"] as const;
/** More commits than any node makes for one spend or one key. */
const farthest = 60;

for (const fault of faults) {
  for (const node of [1, 3]) {
    test(`node ${node} dies around every commit of a spend (${fault}), and each request is paid exactly once`, async (t) => {
      const scene = await CrashScene.start();
      try {
        const record = await scene.cluster.makeWallet("frost");
        for (let coin = 0; coin < 4; coin += 1) scene.fund(record, 500_000n);
        let struck = true;
        let commit = 0;
        for (; struck && commit < farthest; commit += 1) {
          const point = { node, commit: commit + 1, fault };
          await t.test(describePoint(point), async () => {
            scene.fund(record, 500_000n);
            struck = await scene.payThrough(record, point);
          });
        }
        assert.ok(commit > 8, "a spend takes more commits than that");
      } finally {
        await scene.close();
      }
    });
  }

  test(`a node dies around every commit of a key generation (${fault}), and all have the key in the end`, async (t) => {
    let struck = true;
    for (let commit = 1; struck && commit < farthest; commit += 1) {
      const point = { node: 4, commit, fault };
      await t.test(describePoint(point), async () => {
        const scene = await CrashScene.start();
        try {
          const result = await scene.generateThrough(point);
          struck = result.struck;
          assert.deepEqual(new Set(result.stages), new Set(["active"]));
        } finally {
          await scene.close();
        }
      });
    }
  });
}
