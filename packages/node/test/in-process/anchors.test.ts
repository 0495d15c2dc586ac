import assert from "node:assert/strict";
import { test } from "node:test";
import { anchoredIn, encodePsbt, type Psbt, parsePsbt, parseTransaction } from "@cairn/bitcoin";
import { type Intent, intentHash, intentSchema } from "@cairn/consensus";
import {
  type AnchorRow,
  type Checkpoint,
  checkpointAnchor,
  checkpointHash,
  decodeCanonical,
  encodeCanonical,
  fromHex,
  type IntentHash,
  manifestHash,
  type Sats,
  type SignedCheckpoint,
  signCheckpoint,
  verifyCheckpoint,
} from "@cairn/core";
import { hostileMessage } from "@cairn/runtime/test-support";
import { HostileScene } from "./hostile-scene.ts";

const anchoring = { checkpointAnchors: true, audit: { fenceMs: 300, checkpointMs: 1_000 } };

/** Waits until every honest node holds a checkpoint, of at least this sequence number. */
async function checkpointed(scene: HostileScene, sequence = 0): Promise<void> {
  await scene.eventually(
    () =>
      scene
        .honestNodes()
        .every(({ runtime }) => (runtime.checkpoints.newest?.checkpoint.sequence ?? -1) >= sequence),
    `not every node holds checkpoint ${sequence}`,
    30_000,
  );
}

async function intentAt(scene: HostileScene, hash: IntentHash): Promise<Intent> {
  const row = await scene.cluster.node(1).store.transaction({ intent: hash });
  return decodeCanonical(intentSchema, row?.intentBody ?? assert.fail());
}

/** The signed transaction, and the checkpoint that it anchors, as node `index` has them. */
async function anchored(scene: HostileScene, hash: IntentHash, index: number) {
  const row = await scene.cluster.node(index).store.transaction({ intent: hash });
  const { anchor } = await intentAt(scene, hash);
  return { transaction: parseTransaction(fromHex(row?.signedTx ?? "")), anchor };
}

function anchorsAt(scene: HostileScene, index: number): Promise<readonly AnchorRow[]> {
  return scene.cluster.node(index).store.anchors({ limit: 100 });
}

test("the wallet's next transaction anchors the newest checkpoint, once, and every node follows it, reorganisations included", async () => {
  await HostileScene.run(async (scene) => {
    const { chain } = scene.cluster;
    await checkpointed(scene);
    const paid = await scene.pay(1);
    const { transaction, anchor } = await anchored(scene, paid, 3);
    assert.ok(anchor !== null);
    assert.ok(anchoredIn(transaction, anchor.checkpoint));
    verifyCheckpoint(anchor, { manifest: scene.manifest, manifestHash: manifestHash(scene.manifest) });
    for (const index of [1, 2, 3, 4, 5]) {
      const [row, ...more] = await anchorsAt(scene, index);
      assert.deepEqual(more, []);
      assert.equal(row?.checkpoint, checkpointHash(anchor.checkpoint));
      assert.equal(row?.txid, transaction.txid);
    }
    const depths = () =>
      Promise.all(
        scene
          .honestNodes()
          .map(async ({ store }) => (await store.transaction({ intent: paid }))?.confirmations),
      );
    const until = (depth: number) =>
      scene.eventually(
        async () => (await depths()).every((found) => found === depth),
        `not ${depth} deep`,
        20_000,
      );
    await until(1);
    chain.reorganise(1);
    await until(0);
    chain.mine(2);
    await until(2);

    const { sequence } = anchor.checkpoint;
    await checkpointed(scene, sequence + 1);
    const next = await scene.pay(2);
    const second = await anchored(scene, next, 1);
    assert.ok(second.anchor !== null && second.anchor.checkpoint.sequence > sequence);
    assert.ok(anchoredIn(second.transaction, second.anchor.checkpoint));
  }, anchoring);
});

test("no payment waits or fails for an anchor: one is left out where it would cost more than the owner or the policy allows, or came lately", async () => {
  await HostileScene.run(
    async (scene) => {
      await checkpointed(scene);
      const bare = await intentAt(scene, await scene.submit(1, { maxFeeSats: 300n as Sats }));
      assert.equal(
        bare.anchor,
        null,
        "two outputs and an input at 2 sat/vB cost 282 sat, and 98 more with an anchor",
      );
      const dear = await intentAt(scene, await scene.submit(1));
      assert.equal(dear.anchor, null, "the policy's ceiling leaves no room");
      await scene.signed(intentHash(dear));
    },
    { ...anchoring, policy: { feeCeilingSats: 320n as Sats } },
  );
  await HostileScene.run(
    async (scene) => {
      await checkpointed(scene);
      const first = await intentAt(scene, await scene.pay(1));
      assert.ok(first.anchor !== null);
      await checkpointed(scene, first.anchor.checkpoint.sequence + 1);
      assert.equal(
        (await intentAt(scene, await scene.pay(2))).anchor,
        null,
        "the last one is less than an hour old",
      );
    },
    { ...anchoring, audit: { ...anchoring.audit, anchorMs: 3_600_000 } },
  );
});

test("without the operators' leave nothing is anchored", async () => {
  await HostileScene.run(
    async (scene) => {
      await checkpointed(scene);
      const { transaction, anchor } = await anchored(scene, await scene.pay(1), 2);
      assert.equal(anchor, null);
      assert.equal(transaction.outputs.length, 2);
    },
    { ...anchoring, checkpointAnchors: false },
  );
});

test("a hostile receiver puts nothing but a checkpoint of the cluster into a transaction", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile } = scene;
    await checkpointed(scene);
    const honest = await scene.secretIntent(scene.request());
    const { anchor } = honest;
    assert.ok(anchor !== null);
    const forged = (change: Partial<Checkpoint>): SignedCheckpoint => {
      const checkpoint = { ...anchor.checkpoint, ...change };
      return {
        checkpoint,
        signatures: scene.manifest.members.map(({ index }) =>
          signCheckpoint(checkpoint, index, scene.signer),
        ),
      };
    };
    const carrying = (data: Uint8Array) => {
      const psbt = parsePsbt(honest.psbt);
      return new Uint8Array(encodePsbt(withLast(psbt, Uint8Array.of(0x6a, data.length, ...data))));
    };
    const invented = forged({ createdAt: anchor.checkpoint.createdAt });
    const byData: Record<string, Intent> = {
      "words of its own": { ...honest, psbt: carrying(Buffer.from("read this")) },
      "its own words under the anchor's tag": {
        ...honest,
        psbt: carrying(
          Uint8Array.of(...checkpointAnchor(anchor.checkpoint).subarray(0, 6), ...new Uint8Array(32).fill(7)),
        ),
      },
      "an anchor that the intent does not name": { ...honest, anchor: null },
    };
    const byForm: Record<string, Intent> = {
      "a checkpoint that it signed alone": { ...honest, anchor: invented },
      "a checkpoint with other heads": {
        ...honest,
        anchor: {
          ...anchor,
          checkpoint: { ...anchor.checkpoint, heads: invented.checkpoint.heads.toReversed() },
        },
      },
      "a checkpoint of too few": {
        ...honest,
        anchor: { ...anchor, signatures: anchor.signatures.slice(0, 3) },
      },
    };
    for (const [name, intent] of Object.entries({ ...byData, ...byForm })) {
      for (const index of scene.honest)
        hostile.send(index, hostileMessage("intent", encodeCanonical(intent)));
      if (name in byForm) continue;
      await scene.eventually(
        async () => (await scene.rows(intentHash(intent))).every((row) => row?.state === "rejected"),
        `not every honest node rejected ${name}`,
        20_000,
      );
      for (const { store } of scene.honestNodes()) {
        const votes = await store.votes(intentHash(intent));
        assert.ok(
          votes.every(({ approve }) => !approve),
          `${name} was approved`,
        );
      }
    }
    // What has the wrong form is refused before it is stored; a payment after it shows that the refusals are behind it.
    await scene.pay(1);
    for (const [name, intent] of Object.entries(byForm))
      for (const row of await scene.rows(intentHash(intent))) assert.equal(row, null, name);
    scene.assertHonestUnbanned();
  }, anchoring);
});

function withLast(psbt: Psbt, script: Uint8Array): Psbt {
  const outputs = psbt.transaction.outputs.with(-1, { amountSats: 0n, script });
  return { ...psbt, transaction: { ...psbt.transaction, outputs } };
}
