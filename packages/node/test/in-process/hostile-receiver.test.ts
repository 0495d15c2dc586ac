import assert from "node:assert/strict";
import { test } from "node:test";
import {
  deriveKey,
  encodePsbt,
  finalizeSpend,
  parsePsbt,
  psbtDerivation,
  unsignedTransactionId,
} from "@cairn/bitcoin";
import { type Intent, intentHash } from "@cairn/consensus";
import {
  auditEntrySchema,
  decodeCanonical,
  encodeCanonical,
  fromHex,
  type IntentHash,
  type NodeStore,
  outpointText,
  type Sats,
  spendRequestHash,
  type UnixMs,
} from "@cairn/core";
import { hostileMessage, hostileVote } from "@cairn/runtime/test-support";
import { HostileScene } from "./hostile-scene.ts";

function coinsOf(intent: Intent): readonly string[] {
  return parsePsbt(intent.psbt).transaction.inputs.map(outpointText);
}

/** Hands an intent to honest nodes, with the hostile node's approval in every round. */
function press(scene: HostileScene, intent: Intent): IntentHash {
  const hash = intentHash(intent);
  for (const { index } of scene.running()) {
    scene.hostile.send(index, hostileMessage("intent", encodeCanonical(intent)));
    for (const round of [1, 2, 3]) scene.hostile.send(index, hostileVote(scene, hash, { round }));
  }
  return hash;
}

async function approvals(scene: HostileScene, intent: IntentHash): Promise<number> {
  const votes = await Promise.all(scene.running().map(({ store }) => store.votes(intent)));
  return votes.flat().filter(({ voter, approve }) => approve && voter !== scene.hostile.index).length;
}

/** Why a node put its vote off. */
async function deferrals(store: NodeStore, intent: IntentHash): Promise<readonly unknown[]> {
  return (await store.audit({ from: 0, limit: 10_000 }))
    .filter(({ kind }) => kind === "vote-deferred")
    .map(({ body }) => decodeCanonical(auditEntrySchema, body))
    .filter(({ subject }) => subject === intent)
    .map(({ data }) => data.code);
}

for (const kind of ["request", "replacement"] as const) {
  test(`a receiver that keeps the signature of one intent gets no other coins for the same ${kind}`, async () => {
    await HostileScene.run(
      async (scene) => {
        const { hostile, cluster } = scene;
        const expiry = (Date.now() + 60_000) as UnixMs;
        const first = scene.request({ expiry });
        const second =
          kind === "request"
            ? first
            : scene.request({ expiry, replaces: spendRequestHash(first.body), maxFeeSats: 30_000n as Sats });

        // With node 4 away the honest three need node 5, which gathers their shares and hands out neither its own nor the result.
        await cluster.node(4).stop();
        hostile.keeps = (result) => result.kind === "frost-sign";
        hostile.rewrite = (_, said) => (said.kind === "round" && said.round === 2 ? null : said);
        const { intent: paid } = await cluster.node(5).runtime.submit(first.body, first.signature);
        await scene.eventually(() => hostile.kept.length > 0, "node 5 never held the signature", 20_000);

        const { checked } = cluster.node(5).runtime.spends.get(paid) ?? assert.fail();
        const [kept] = hostile.kept;
        assert.ok(checked !== null && kept?.kind === "frost-sign");
        const other = await scene.secretIntent(scene.request({ expiry }));
        const disjoint: Intent = {
          ...other,
          request: { body: second.body, signature: second.signature },
        };
        const held = checked.inputs.map(({ outpoint }) => outpointText(outpoint));
        assert.equal(
          coinsOf(disjoint).some((coin) => held.includes(coin)),
          false,
          "the two share no coin",
        );

        const wanted = press(scene, disjoint);
        await scene.eventually(
          async () => {
            const rows = await Promise.all(
              scene.running().map(({ store }) => store.transaction({ intent: wanted })),
            );
            return rows.every((row) => row !== null && row.state !== "pending" && row.state !== "voting");
          },
          "voting on the other intent never ended",
          30_000,
        );
        assert.equal(await approvals(scene, wanted), 0, "no honest node approved of other coins");
        for (const { store, index } of scene.running()) {
          const deferred = await deferrals(store, wanted);
          assert.ok(deferred.includes("lineage-open"), `node ${index} deferred for ${deferred}`);
        }

        await cluster.chain.broadcast(fromHex(finalizeSpend(checked, kept.signatures).hex));
        await cluster.startNode(scene.honest[3] ?? assert.fail());
        await scene.eventually(
          () => scene.honestNodes().every(({ runtime }) => runtime.spends.get(paid)?.row.signedTx != null),
          "the payment that the chain holds was not seen",
          20_000,
        );
        cluster.chain.mine(6);
        await scene.unreserved(20_000);
        for (const row of await scene.rows(wanted)) assert.equal(row?.signedTx ?? null, null);
        scene.assertHonestUnbanned();
        hostile.keeps = () => false;
        hostile.rewrite = (_, said) => said;
        await scene.pay(1);
      },
      { coins: 8 },
    );
  });
}

test("change far beyond the gap gets no honest approval, and as a node may lag nobody is banned for one", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile, cluster } = scene;
    const honest = await scene.secretIntent(scene.request({ expiry: (Date.now() + 5_000) as UnixMs }));
    const { descriptor } = cluster.node(1).runtime.wallets.get(scene.record.wallet);
    const psbt = parsePsbt(honest.psbt);
    const path = [1, 1_000_000] as const;
    const { script } = deriveKey(descriptor, path);
    const last = psbt.outputs.length - 1;
    const hidden = {
      ...psbt,
      transaction: {
        ...psbt.transaction,
        outputs: psbt.transaction.outputs.map((output, at) => (at === last ? { ...output, script } : output)),
      },
      outputs: psbt.outputs.map((map, at) =>
        at === last ? psbtDerivation(descriptor, path, "output") : map,
      ),
    };
    const wanted = press(scene, { ...honest, psbt: new Uint8Array(encodePsbt(hidden)) });
    await scene.eventually(
      async () => (await scene.rows(wanted)).every((row) => row?.reason === "psbt-change-beyond-gap"),
      "an honest node did not object",
    );
    await scene.eventually(
      async () =>
        (await scene.rows(wanted)).every((row) => row?.state === "expired" || row?.state === "failed"),
      "the intent never ended",
      20_000,
    );
    assert.equal(await approvals(scene, wanted), 0);
    for (const { runtime } of scene.honestNodes()) assert.deepEqual(runtime.bans.bans(), []);
    assert.ok(hostile.lies > 0);
    await scene.unreserved();
    await scene.pay(1);
  });
});

test("a receiver that wraps one transaction into two intents gets it paid once, with nothing left reserved", async () => {
  await HostileScene.run(async (scene) => {
    const { cluster } = scene;
    const intent = await scene.secretIntent(scene.request());
    const txid = unsignedTransactionId(parsePsbt(intent.psbt).transaction);
    press(scene, intent);
    press(scene, { ...intent, createdAt: (intent.createdAt - 1) as UnixMs });
    await scene.eventually(
      async () => (await cluster.chain.transactionStatus(txid)).state !== "unknown",
      "the transaction was not broadcast",
      20_000,
    );
    cluster.chain.mine(6);
    await scene.unreserved(20_000);
    for (const { runtime, store } of scene.honestNodes()) {
      const rows = await store.transactions({ limit: 10 });
      assert.equal(rows.length, 2);
      assert.deepEqual(new Set(rows.map((row) => row.txid)), new Set([txid]));
      assert.deepEqual(runtime.bans.bans(), []);
    }
    await scene.pay(1);
  });
});

test("variants of one request are refused from the ninth on, also when those before were certified or paid", async () => {
  await HostileScene.run(async (scene) => {
    const { cluster } = scene;
    const intent = await scene.secretIntent(scene.request());
    const refused = async () =>
      (await scene.audited("message-refused")).filter(
        ({ data }) => data.kind === "intent" && data.code === "rate-limited",
      ).length;
    for (let variant = 0; variant < 12; variant += 1) {
      const before = await refused();
      const hash = press(scene, { ...intent, createdAt: (intent.createdAt - variant) as UnixMs });
      await scene.eventually(
        async () =>
          (await refused()) >= before + scene.honest.length ||
          (await scene.rows(hash)).every((row) => row !== null && row.certificate !== null),
        `variant ${variant} was neither certified nor refused`,
        20_000,
      );
    }
    for (const { index, store, runtime } of scene.honestNodes()) {
      assert.equal((await store.transactions({ limit: 100 })).length, 8, `node ${index}`);
      assert.deepEqual(runtime.bans.bans(), []);
    }
    cluster.chain.mine(6);
    await scene.unreserved(20_000);
    await scene.pay(1);
  });
});
