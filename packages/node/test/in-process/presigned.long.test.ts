import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Sats, WalletRecord } from "@cairn/core";
import { type CrashPoint, CrashScene, describePoint } from "./crash-scene.ts";

const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const stocked = 24;
let scene: CrashScene;
let record: WalletRecord;

before(async () => {
  scene = await CrashScene.start({
    presignatures: stocked,
    timeouts: { ackMs: 3_000, startMs: 4_000, roundMs: 15_000, sessionMs: 40_000 },
  });
  record = await scene.cluster.makeWallet("cggmp24");
  for (let coin = 0; coin < 6; coin += 1) scene.fund(record, 500_000n, 0);
});
after(() => scene.close());

async function ready(): Promise<number> {
  const { store } = scene.cluster.node(1);
  return (await store.presignatures({ keyId: record.keyId, path: [0, 0], state: "ready" })).length;
}

async function stock(atLeast: number): Promise<void> {
  await scene.cluster.until(
    async () => (await ready()) >= atLeast,
    90_000,
    () => "presignatures were not made",
  );
}

const assertUsedOnce = () => scene.partials.assertUsedOnce(scene.cluster.nodes.values(), record.keyId);

test("presigned sessions side by side all end with a signature, their partials in the order of the burns", async () => {
  await stock(3);
  const { cluster } = scene;
  const intents = await Promise.all(
    [1, 2, 3].map(async (index) => {
      const { body, signature } = cluster.spendRequest(record, {
        outputs: [{ address: recipient, amountSats: 30_000n as Sats }],
      });
      // Requests at once may choose the same coin; the one who asks again gets another.
      for (;;) {
        const row = await cluster
          .node(1)
          .runtime.submit(body, signature)
          .catch(() => null);
        if (row !== null) return { index, intent: row.intent };
      }
    }),
  );
  for (const { intent } of intents) {
    await cluster.until(
      () =>
        [...cluster.nodes.values()].every(({ runtime }) => runtime.spends.get(intent)?.row.signedTx != null),
      40_000,
      () =>
        `the spend is at ${[...cluster.nodes.values()].map(({ runtime }) => runtime.spends.get(intent)?.row.state)}`,
    );
  }
  await assertUsedOnce();
  assert.ok(scene.partials.count >= 4, "presignatures were used");
  cluster.chain.mine(6);
});

for (const point of [
  { commit: 1, fault: "lost" },
  { commit: 1, fault: "unacknowledged" },
  { commit: 2, fault: "lost" },
  { commit: 2, fault: "unacknowledged" },
  { commit: 3, fault: "lost" },
] as const) {
  const spot: CrashPoint = { node: 2, from: "burn", ...point };
  test(`a presignature is used once: ${describePoint(spot)}`, async () => {
    let struck = false;
    for (let tries = 0; tries < 25 && !struck; tries += 1) {
      scene.fund(record, 500_000n, 0);
      await stock(1);
      struck = await scene.payThrough(record, spot);
    }
    assert.ok(struck, "the crash struck");
    await assertUsedOnce();
  });
}
