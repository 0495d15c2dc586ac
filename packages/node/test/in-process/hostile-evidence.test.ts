import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import {
  type Evidence,
  evidenceSchema,
  intentSchema,
  type SignedBroadcast,
  signedVoteSchema,
} from "@cairn/consensus";
import { decodeCanonical, type IntentHash, manifestHash } from "@cairn/core";
import { hostileAccusation, hostileVote } from "@cairn/runtime/test-support";
import { decodeSessionMessage } from "@cairn/signing";
import { HostileScene } from "./hostile-scene.ts";

const claim = ({ cluster }: HostileScene) =>
  ({ version: 1, manifestHash: manifestHash(cluster.manifest) }) as const;

/** Node 2's vote for an intent, as node 1 holds it. */
async function voteOfTwo(scene: HostileScene, intent: IntentHash) {
  const votes = await scene.cluster.node(1).store.votes(intent);
  const row = votes.find(({ voter }) => voter === 2);
  return decodeCanonical(signedVoteSchema, (row ?? assert.fail("node 2 voted")).body);
}

/** An honest node's vote, and the same with another word that it never signed. */
async function inventedVotes(scene: HostileScene, intent: IntentHash): Promise<Evidence> {
  const real = await voteOfTwo(scene, intent);
  const reason = { code: "dust", blocking: [] };
  const invented = { ...real, body: { ...real.body, approve: false, reason } };
  return { type: "DoubleVote", ...claim(scene), votes: [real, invented] };
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

/** An intent of the scene and its wallet's record, as node 1 holds them. */
async function intentAndWallet(scene: HostileScene, hash: IntentHash) {
  const { store, runtime } = scene.cluster.node(1);
  const row = await store.transaction({ intent: hash });
  const intent = decodeCanonical(intentSchema, (row ?? assert.fail()).intentBody);
  return { intent, wallet: runtime.wallets.get(intent.wallet).signed };
}

/** Made of nothing but what honest nodes truly signed, but for the last. */
const framings: Record<string, (scene: HostileScene) => Promise<Evidence>> = {
  "two votes of an honest node for two intents": async (scene) => {
    const votes = [
      await voteOfTwo(scene, await scene.pay(1)),
      await voteOfTwo(scene, await scene.pay(1)),
    ] as const;
    return { type: "DoubleVote", ...claim(scene), votes: [...votes] };
  },
  "one vote of an honest node, twice": async (scene) => {
    const vote = await voteOfTwo(scene, await scene.pay(1));
    return { type: "DoubleVote", ...claim(scene), votes: [vote, vote] };
  },
  "an honest approval of a sound intent": async (scene) => {
    const hash = await scene.pay(1);
    const vote = await voteOfTwo(scene, hash);
    return { type: "MinorityVote", ...claim(scene), ...(await intentAndWallet(scene, hash)), vote };
  },
  "an honest approval beside an intent that it was not for": async (scene) => {
    const hash = await scene.pay(1);
    const { intent: sound, wallet } = await intentAndWallet(scene, hash);
    const intent = { ...sound, psbt: sound.psbt.slice(0, -1) };
    const vote = await voteOfTwo(scene, hash);
    return { type: "MinorityVote", ...claim(scene), intent, wallet, vote };
  },
  "broadcasts of an honest node in two executions": async (scene) => {
    await scene.payUntil(() => broadcastsOfOne(scene).length > 1);
    const [first, second] = broadcastsOfOne(scene);
    return {
      type: "Equivocation",
      ...claim(scene),
      broadcasts: [first ?? assert.fail(), second ?? assert.fail()],
    };
  },
  "a vote that was never cast": async (scene) => inventedVotes(scene, await scene.pay(1)),
};

for (const [name, frame] of Object.entries(framings)) {
  test(`evidence made of ${name}, told to one node, bans its sender everywhere with proof, and nobody else`, async () => {
    await HostileScene.run(async (scene) => {
      scene.hostile.send(2 as never, hostileAccusation(scene, await frame(scene)));
      await scene.bannedByAll("FalseAccusation");
      scene.assertHonestUnbanned();
      const rows = await scene.recorded("FalseAccusation");
      assert.equal(new Set(rows.map(({ id }) => id)).size, 1, "one offence, whoever recorded it");
      await scene.pay(2);
    });
  });
}

test("evidence of another cluster or an older manifest, or in another's name, accuses nobody", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile, cluster } = scene;
    const evidence = await inventedVotes(scene, await scene.pay(1));
    const elsewhere = { ...evidence, manifestHash: "ab".repeat(32) as never };
    for (const to of scene.honest) {
      hostile.send(to, hostileAccusation(scene, elsewhere));
      const inAnothersName = hostileAccusation(scene, evidence, { accuser: 1 as never });
      hostile.send(to, inAnothersName);
    }
    await scene.eventually(
      async () =>
        (await scene.audited("message-refused")).filter(({ data }) => data.kind === "evidence").length >= 4,
      "what was told in another's name was not refused",
    );
    const rows = await Promise.all(scene.honestNodes().map(({ store }) => store.violations({ limit: 100 })));
    assert.deepEqual(rows.flat(), []);
    for (const { runtime } of scene.honestNodes()) assert.deepEqual(runtime.bans.bans(), []);
    await cluster.node(1).stop();
    await cluster.startNode(1 as never);
    await scene.pay(2);
  });
});

test("a true proof that comes again, in other words, also after a restart, makes no ban longer and accuses nobody who hands it in", async () => {
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
    const [proof] = await scene.recorded("DoubleVote");
    const evidence = decodeCanonical(evidenceSchema, (proof ?? assert.fail()).evidence);
    assert.ok(evidence.type === "DoubleVote");
    const [a, b] = evidence.votes;
    const turned: Evidence = { ...evidence, votes: [b, a] };
    await scene.eventually(async () => {
      const rows = await scene.recorded("DoubleVote");
      return scene.honestNodes().length * new Set(rows.map(({ id }) => id)).size <= rows.length;
    }, "every node records each offence");
    const before = cluster.node(1).runtime.bans.bans();
    for (const to of scene.honest) hostile.send(to, hostileAccusation(scene, turned));
    await cluster.node(1).stop();
    const again = await cluster.startNode(scene.honest[0] ?? assert.fail());
    for (const from of scene.honest.slice(1)) {
      for (const told of [evidence, turned]) {
        const honest = { hostile: { index: from }, manifest: scene.manifest, signer: cluster.signerOf(from) };
        await again.runtime.bans.onEvidence(from, hostileAccusation(honest, told).payload);
      }
    }
    assert.deepEqual(again.runtime.bans.bans(), before);
    scene.assertHonestUnbanned();
    await scene.pay(2);
  });
});

test("a flood of false accusations is recorded once and keeps nobody from paying", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile } = scene;
    const vote = await voteOfTwo(scene, await scene.pay(1));
    const about = (body: typeof vote.body, intentHash: string) => ({
      ...vote,
      body: { ...body, intentHash: intentHash as IntentHash },
    });
    const rejected = { ...vote.body, approve: false, reason: { code: "dust", blocking: [] } };
    for (let told = 0; told < 150; told += 1) {
      const intent = randomBytes(32).toString("hex");
      const votes: [typeof vote, typeof vote] = [about(vote.body, intent), about(rejected, intent)];
      const evidence: Evidence = { type: "DoubleVote", ...claim(scene), votes };
      for (const to of scene.honest) hostile.send(to, hostileAccusation(scene, evidence));
    }
    await scene.bannedByAll("FalseAccusation");
    await scene.pay(3);
    scene.assertHonestUnbanned();
    const rows = await scene.recorded("FalseAccusation");
    assert.ok(rows.length <= scene.honest.length ** 2, `${rows.length} records of one flood`);
  });
});
