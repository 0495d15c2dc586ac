import assert from "node:assert/strict";
import { test } from "node:test";
import { type Evidence, intentSchema, type SignedBroadcast, signedVoteSchema } from "@cairn/consensus";
import { decodeCanonical, encodeCanonical, type IntentHash } from "@cairn/core";
import { decodeSessionMessage } from "@cairn/signing";
import { hostileMessage } from "./hostile-message.ts";
import { HostileScene } from "./hostile-scene.ts";
import { hostileVote } from "./hostile-vote.ts";

/** Node 2's vote for an intent, as node 1 holds it. */
async function voteOfTwo(scene: HostileScene, intent: IntentHash) {
  const votes = await scene.cluster.node(1).store.votes(intent);
  const row = votes.find(({ voter }) => voter === 2);
  return decodeCanonical(signedVoteSchema, (row ?? assert.fail("node 2 voted")).body);
}

/** First-round broadcasts of one honest node, as the hostile node heard them, one of each execution. */
function broadcastsOfOne(scene: HostileScene): readonly SignedBroadcast[] {
  const found = new Map<string, SignedBroadcast>();
  for (const { message } of scene.hostile.heard) {
    if (message.kind !== "round") continue;
    const decoded = decodeSessionMessage("round", message.payload);
    if (decoded.kind !== "round" || decoded.content.type !== "broadcast") continue;
    const { signed } = decoded.content;
    const [first] = found.values();
    if (signed.body.round !== 1 || signed.body.from !== (first ?? signed).body.from) continue;
    found.set(signed.body.execution, signed);
  }
  return [...found.values()];
}

/** Made of nothing but what honest nodes truly signed. */
const framings: Record<string, (scene: HostileScene) => Promise<Evidence>> = {
  "two votes of an honest node for two intents": async (scene) => {
    const votes = [
      await voteOfTwo(scene, await scene.pay(1)),
      await voteOfTwo(scene, await scene.pay(1)),
    ] as const;
    return { type: "DoubleVote", version: 1, votes: [...votes] };
  },
  "one vote of an honest node, twice": async (scene) => {
    const vote = await voteOfTwo(scene, await scene.pay(1));
    return { type: "DoubleVote", version: 1, votes: [vote, vote] };
  },
  "an honest approval of a sound intent": async (scene) => {
    const hash = await scene.pay(1);
    const row = await scene.cluster.node(1).store.transaction({ intent: hash });
    const intent = decodeCanonical(intentSchema, (row ?? assert.fail()).intentBody);
    return { type: "MinorityVote", version: 1, intent, vote: await voteOfTwo(scene, hash) };
  },
  "an honest approval beside an intent that it was not for": async (scene) => {
    const hash = await scene.pay(1);
    const row = await scene.cluster.node(1).store.transaction({ intent: hash });
    const sound = decodeCanonical(intentSchema, (row ?? assert.fail()).intentBody);
    const intent = { ...sound, psbt: sound.psbt.slice(0, -1) };
    return { type: "MinorityVote", version: 1, intent, vote: await voteOfTwo(scene, hash) };
  },
  "broadcasts of an honest node in two executions": async (scene) => {
    await scene.payUntil(() => broadcastsOfOne(scene).length > 1);
    const [first, second] = broadcastsOfOne(scene);
    return {
      type: "Equivocation",
      version: 1,
      broadcasts: [first ?? assert.fail(), second ?? assert.fail()],
    };
  },
};

for (const [name, frame] of Object.entries(framings)) {
  test(`evidence made of ${name} excludes its sender and bans nobody else`, async () => {
    await HostileScene.run(async (scene) => {
      const evidence = encodeCanonical(await frame(scene));
      for (const to of scene.honest) scene.hostile.send(to, hostileMessage("evidence", evidence));
      await scene.bannedByAll("InvalidSignature", "local");
      scene.assertHonestUnbanned();
      await scene.pay(2);
    });
  });
}

test("a true proof that comes again, also after a restart, makes no ban longer and accuses nobody who hands it in", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile, cluster } = scene;
    hostile.rewrite = (to, said) => {
      if (said.kind === "vote") {
        const { intentHash, round } = decodeCanonical(signedVoteSchema, said.payload).body;
        const reason = { code: "dust", blocking: [] };
        hostile.send(to, hostileVote(scene, intentHash, { round, approve: false, reason }));
      }
      return said;
    };
    await scene.pay(1);
    await scene.bannedByAll("DoubleVote");
    hostile.rewrite = (_, said) => said;
    const before = cluster.node(1).runtime.bans.bans();
    const [proof] = await scene.recorded("DoubleVote");
    const evidence = (proof ?? assert.fail()).evidence;
    for (const to of scene.honest) hostile.send(to, hostileMessage("evidence", evidence));
    await cluster.node(1).stop();
    const again = await cluster.startNode(scene.honest[0] ?? assert.fail());
    for (const from of scene.honest.slice(1)) await again.runtime.bans.onEvidence(from, evidence);
    assert.deepEqual(again.runtime.bans.bans(), before);
    scene.assertHonestUnbanned();
    await scene.pay(2);
  });
});
