import assert from "node:assert/strict";
import { test } from "node:test";
import { signBroadcast } from "@cairn/consensus";
import { type NodeIndex, type PeerMessage, sha256Hex } from "@cairn/core";
import { decodeSessionMessage, encodeSessionMessage } from "@cairn/signing";
import { HostileScene } from "./hostile-scene.ts";

/** Attempts that failed at honest nodes because the signers did not see the same, by intent. */
async function splits(scene: HostileScene): Promise<ReadonlyMap<string, ReadonlySet<unknown>>> {
  const failed = (await scene.audited("attempt-failed")).filter(({ data }) => data.code === "equivocation");
  const byIntent = Map.groupBy(failed, ({ subject }) => subject);
  return new Map(
    [...byIntent].map(([intent, all]) => [intent, new Set(all.map(({ data }) => data.attempt))]),
  );
}

/** Payments end, however often the liar spoils an attempt without being named, and nobody honest is held to account. */
async function assertHarmless(scene: HostileScene): Promise<void> {
  await scene.payUntil(async () => (await splits(scene)).size >= 3);
  for (const [intent, attempts] of await splits(scene))
    assert.ok(attempts.size <= 8, `${attempts.size} attempts of ${intent} were spoilt`);
  scene.assertHonestUnbanned();
  const rows = await Promise.all(scene.honestNodes().map(({ store }) => store.violations({ limit: 1_000 })));
  const named = rows.flat().filter(({ node, type }) => node !== scene.hostile.index && type !== "Timeout");
  assert.deepEqual(named, [], "no honest node is named");
}

/** Its commitments with both nonces swapped: as well formed as the true ones, and others. */
function swapped(payload: Uint8Array): Uint8Array {
  const head = payload.subarray(0, -66);
  return Uint8Array.of(...head, ...payload.subarray(-33), ...payload.subarray(-66, -33));
}

/** Tells every other node other commitments than the rest, signed as its own all the same. */
function splitCommitments(scene: HostileScene) {
  return (to: NodeIndex, said: PeerMessage): PeerMessage => {
    if (said.kind !== "round" || to % 2 === 0) return said;
    const decoded = decodeSessionMessage("round", said.payload);
    if (decoded.kind !== "round" || decoded.content.type !== "broadcast") return said;
    if (decoded.content.signed.body.round !== 1) return said;
    const payload = swapped(decoded.content.payload);
    const body = { ...decoded.content.signed.body, digest: sha256Hex(payload) as never };
    const signed = signBroadcast(body, scene.cluster.signerOf(scene.hostile.index));
    const content = { type: "broadcast", signed, payload } as const;
    return { ...said, payload: encodeSessionMessage({ kind: "round", content }) };
  };
}

test("a FROST signer that commits to different nonces towards different signers stops no payment and has nobody named", async () => {
  await HostileScene.run(async (scene) => {
    scene.hostile.rewrite = splitCommitments(scene);
    await assertHarmless(scene);
  });
});

test("a FROST signer that lies about the commitments that it saw stops no payment and has nobody named", async () => {
  await HostileScene.run(async (scene) => {
    scene.hostile.say = (spec, said) => {
      if (spec.kind !== "frost-sign" || said.round !== 2) return said;
      const at = Buffer.from(said.payload).indexOf("seen") + 6;
      return { ...said, payload: said.payload.with(at, (said.payload[at] ?? 0) ^ 1) };
    };
    await assertHarmless(scene);
  });
});
