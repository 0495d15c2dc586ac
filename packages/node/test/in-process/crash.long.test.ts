import assert from "node:assert/strict";
import { test } from "node:test";
import { CrashScene, describePoint } from "./crash-scene.ts";

const faults = ["lost", "unacknowledged"] as const;
/** More commits than any node makes for one spend or one key. */
const farthest = 60;
/** So many runs in a row without a crash: the node makes no such commit, and not only by chance, as when it did not sign. */
const misses = 3;

/** Calls `strike` with commit after commit, until none is left. @returns how many there were */
async function aroundEvery(strike: (commit: number) => Promise<boolean>): Promise<number> {
  let commit = 1;
  for (let missed = 0; missed < misses && commit < farthest; ) {
    if (await strike(commit)) {
      commit += 1;
      missed = 0;
    } else missed += 1;
  }
  return commit - 1;
}

for (const fault of faults) {
  for (const node of [1, 3]) {
    test(`node ${node} dies around every commit of a spend (${fault}), and each request is paid exactly once`, async (t) => {
      const scene = await CrashScene.start();
      try {
        const record = await scene.cluster.makeWallet("frost");
        for (let coin = 0; coin < 4; coin += 1) scene.fund(record, 500_000n);
        const commits = await aroundEvery(async (commit) => {
          const point = { node, commit, fault };
          let struck = false;
          await t.test(describePoint(point), async () => {
            scene.fund(record, 500_000n);
            struck = await scene.payThrough(record, point);
          });
          return struck;
        });
        assert.ok(commits > 5, `a spend takes more commits than ${commits}`);
      } finally {
        await scene.close();
      }
    });
  }

  test(`a node dies around every commit of a key generation (${fault}), and all have the key in the end`, async (t) => {
    const commits = await aroundEvery(async (commit) => {
      const point = { node: 4, commit, fault };
      let struck = false;
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
      return struck;
    });
    assert.ok(commits > 20, `a key takes more commits than ${commits}`);
  });
}
