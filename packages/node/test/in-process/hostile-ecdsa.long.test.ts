import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { grantIdOf, grantNonceOf, type Intent, intentHash } from "@cairn/consensus";
import {
  encodeCanonical,
  type HashHex,
  type IntentHash,
  type NodeIndex,
  type PeerMessage,
  type PresignatureRow,
  type SessionId,
  signBody,
  type UnixMs,
  type ViolationRow,
} from "@cairn/core";
import { hostileMessage } from "@cairn/runtime/test-support";
import {
  type Ack,
  decodeSessionMessage,
  encodeSessionMessage,
  initiatorOrder,
  makeProposal,
  proposalHash,
  type SignedAck,
} from "@cairn/signing";
import type { InProcessClusterOptions } from "./cluster.ts";
import { HostileScene } from "./hostile-scene.ts";

/** A funded ECDSA wallet whose coins lie on one path, with presignatures under way. */
function run(
  options: Pick<InProcessClusterOptions, "timeouts" | "attempts">,
  play: (scene: HostileScene) => Promise<void>,
): Promise<void> {
  return HostileScene.run(play, {
    protocol: "cggmp24",
    presignatures: 10,
    samePath: true,
    ...options,
    timeouts: { ackMs: 3_000, startMs: 4_000, roundMs: 15_000, sessionMs: 40_000, ...options.timeouts },
  });
}

/** Ready presignatures at a node that the hostile node shares in. */
async function shared(scene: HostileScene, index: number): Promise<readonly PresignatureRow[]> {
  const { store } = scene.cluster.node(index);
  const rows = await store.presignatures({ keyId: scene.record.keyId, path: [0, 0], state: "ready" });
  return rows.filter(({ signers }) => signers.includes(scene.hostile.index));
}

/** Waits until so many presignatures of one signer set with the hostile node in it are ready at the hostile node. */
async function stocked(scene: HostileScene, count = 1): Promise<readonly PresignatureRow[]> {
  let rows: readonly PresignatureRow[] = [];
  await scene.eventually(
    async () => {
      rows = await shared(scene, scene.hostile.index);
      return [...Map.groupBy(rows, ({ signers }) => signers.join()).values()].some(
        (set) => set.length >= count,
      );
    },
    "no presignature became ready",
    120_000,
  );
  return rows;
}

/** Pays with presignatures until the hostile node had its chance. @returns the last payment */
async function payPresigned(
  scene: HostileScene,
  holds: () => boolean | Promise<boolean>,
  count = 1,
): Promise<IntentHash> {
  for (let tries = 0; tries < 40; tries += 1) {
    scene.fund(500_000n);
    await stocked(scene, count);
    const intent = await scene.submit(1 + (tries % 4));
    await scene.signed(intent, 90_000);
    if (await holds()) return intent;
  }
  return assert.fail(`the hostile node never had its chance; it lied ${scene.hostile.lies} times`);
}

/** Whoever honest nodes recorded a fault against, other than the hostile node. */
async function wronglyNamed(scene: HostileScene): Promise<readonly ViolationRow[]> {
  const rows = await Promise.all(scene.honestNodes().map(({ store }) => store.violations({ limit: 1_000 })));
  return rows.flat().filter(({ node, type }) => node !== scene.hostile.index && type !== "Timeout");
}

async function signersOf(scene: HostileScene, intent: IntentHash): Promise<ReadonlySet<unknown>> {
  const signed = await scene.audited("transaction-signed");
  return new Set(signed.filter(({ subject }) => subject === intent).map(({ data }) => data.signers));
}

test("an altered ECDSA partial bans its signer with proof, and presignatures of another subset are refused", async () => {
  await run({}, async (scene) => {
    const { hostile, cluster, record, honest } = scene;
    await stocked(scene);
    let foreign = 0;
    const items = await Promise.all(
      honest.map((index) => cluster.node(index).store.presignatures({ keyId: record.keyId, path: [0, 0] })),
    );
    const own = items.flat();
    hostile.rewrite = (_, said) => {
      if (said.kind !== "proposal") return said;
      const decoded = decodeSessionMessage("proposal", said.payload);
      if (decoded.kind !== "proposal" || decoded.signed.body.items === null) return said;
      const { sessionId: _id, version: _version, ...body } = decoded.signed.body;
      const other = own.find(({ signers }) => signers.join() !== body.signers.join());
      if (other === undefined) return said;
      foreign += 1;
      const proposal = makeProposal({ ...body, items: [other.id] });
      const signed = signBody("cairn/proposal/v1", proposal, cluster.signerOf(5));
      return {
        ...said,
        session: proposal.sessionId,
        payload: encodeSessionMessage({ kind: "proposal", signed }),
      };
    };
    hostile.partial = (partial) => {
      const bent = new Uint8Array(partial);
      bent[bent.length - 1] = (bent[bent.length - 1] ?? 0) ^ 1;
      return bent;
    };
    await payPresigned(scene, async () => (await scene.recorded("InvalidPartial")).length > 0);
    await scene.bannedByAll("InvalidPartial");
    scene.assertHonestUnbanned();
    const refused = (await scene.audited("proposal-refused")).filter(({ data }) => data.from === 5);
    if (foreign > 0) assert.ok(refused.length > 0 || (await scene.audited("session-failed")).length > 0);
    const [proof] = await scene.recorded("InvalidPartial");
    assert.ok(proof !== undefined && proof.evidence.length > 0, "with evidence for third parties");
  });
});

test("who withholds its ECDSA partial is timed out, and the other four pay by another subset", async () => {
  await run({ timeouts: { roundMs: 5_000 } }, async (scene) => {
    const { hostile, record, cluster } = scene;
    const signing = new Set<SessionId | null>();
    const note = ({ kind, payload }: PeerMessage): void => {
      if (kind !== "proposal") return;
      const decoded = decodeSessionMessage("proposal", payload);
      if (decoded.kind !== "proposal" || decoded.signed.body.purpose !== "sign") return;
      signing.add(decoded.signed.body.sessionId);
    };
    hostile.hear = (_, said) => note(said);
    // Neither in one round nor in the full protocol does it do its part.
    hostile.rewrite = (_, said) => {
      note(said);
      if (said.kind === "partial" || said.kind === "finalize") return null;
      return said.kind === "round" && signing.has(said.session) ? null : said;
    };
    // Nor does it combine the others' partials, or it would publish the payment itself.
    hostile.ignores = ({ kind }) => kind === "partial" || kind === "finalize";
    const intent = await payPresigned(scene, async () => (await scene.recorded("Timeout")).length > 0);
    assert.deepEqual(await signersOf(scene, intent), new Set(["1,2,3,4"]));
    assert.deepEqual(await wronglyNamed(scene), []);
    for (const { runtime } of scene.honestNodes()) assert.deepEqual(runtime.bans.bans(), []);
    await scene.partials.assertUsedOnce(cluster.nodes.values(), record.keyId);
  });
});

test("a partial that is handed to one signer alone is enough for all to be paid", async () => {
  await run({}, async (scene) => {
    const { hostile, record, cluster } = scene;
    let withheld = 0;
    /** The one signer of each session that gets the partial. */
    const favoured = new Map<SessionId | null, NodeIndex>();
    hostile.rewrite = (to, said) => {
      if (said.kind === "finalize" || said.kind === "final") return null;
      if (said.kind !== "partial") return said;
      if (!favoured.has(said.session)) favoured.set(said.session, to);
      if (favoured.get(said.session) === to) return said;
      withheld += 1;
      return null;
    };
    const intent = await payPresigned(scene, () => withheld > 0);
    const [signers] = await signersOf(scene, intent);
    assert.ok(String(signers).includes("5"), `the withholder is among the signers: ${signers}`);
    assert.deepEqual(await wronglyNamed(scene), []);
    for (const { runtime } of scene.honestNodes()) assert.deepEqual(runtime.bans.bans(), []);
    await scene.partials.assertUsedOnce(cluster.nodes.values(), record.keyId);
  });
});

/** Variants of an intent until the hostile node is the initiator of its first attempt: a receiver can have that if it wants to. */
function ground(scene: HostileScene, intent: Intent): Intent {
  const { hostile, cluster } = scene;
  const members = cluster.manifest.members.map(({ index }) => index);
  for (let back = 0; back < 1_000; back += 1) {
    const variant = { ...intent, createdAt: (intent.createdAt - back) as UnixMs };
    const hash = intentHash(variant);
    const grant = grantIdOf(hash) as string as HashHex;
    if (initiatorOrder(grant, grantNonceOf(hash), members)[0] === hostile.index) return variant;
  }
  return assert.fail("no variant would do");
}

test("an initiator that names different presignatures to different signers has none released twice, nor an honest node blamed", async () => {
  const attempts = { slotMs: 500, patienceMs: 20_000 };
  await run({ attempts }, async (scene) => {
    const { hostile, cluster, record } = scene;
    const signer = cluster.signerOf(hostile.index);
    const sets = Map.groupBy(await stocked(scene, 2), ({ signers }) => signers.join());
    const [set] = [...sets.values()].filter((rows) => rows.length >= 2);
    const [one, other] = set ?? assert.fail();
    assert.ok(one !== undefined && other !== undefined);
    const { signers } = one;

    const intent = ground(scene, await scene.secretIntent(scene.request()));
    const hash = intentHash(intent);
    for (const to of scene.honest) {
      hostile.send(to, hostileMessage("intent", encodeCanonical(intent)));
    }
    await scene.eventually(
      async () => (await scene.rows(hash)).every((row) => row !== null && row.certificate !== null),
      "the intent was not certified",
      20_000,
    );

    const proposed = [one, other].map((item) =>
      makeProposal({
        cluster: cluster.manifest.cluster,
        purpose: "sign",
        subject: grantIdOf(hash) as string as HashHex,
        stage: null,
        job: null,
        attempt: 0,
        initiator: hostile.index,
        signers: [...signers],
        protocolVersion: 1,
        items: [item.id],
      }),
    );
    const toldOf = (to: NodeIndex) => proposed[to % 2] ?? assert.fail();
    const acks = new Map<NodeIndex, SignedAck>();
    hostile.hear = (from, said) => {
      if (said.kind !== "ack") return;
      const decoded = decodeSessionMessage("ack", said.payload);
      if (decoded.kind === "ack" && decoded.signed.body.proposalHash === proposalHash(toldOf(from)))
        acks.set(from, decoded.signed);
    };
    for (const to of scene.honest) {
      const signed = signBody("cairn/proposal/v1", toldOf(to), signer);
      const payload = encodeSessionMessage({ kind: "proposal", signed });
      hostile.send(to, hostileMessage("proposal", payload, toldOf(to).sessionId));
    }
    await scene.eventually(() => acks.size === 3, "the signers did not acknowledge");

    // Each is started on the proposal that it was told, with the Acks that the others gave on the other one.
    const partners = scene.honest.filter((node) => signers.includes(node));
    for (const to of partners) {
      const proposal = toldOf(to);
      const ack: Ack = {
        version: 1,
        cluster: proposal.cluster,
        session: proposal.sessionId,
        node: hostile.index,
        proposalHash: proposalHash(proposal),
        nonce: randomBytes(32).toString("hex") as Ack["nonce"],
        sealing: null,
      };
      const mine = signBody("cairn/ack/v1", ack, signer);
      const { version, cluster: id, session, proposalHash: told } = ack;
      const start = {
        version,
        cluster: id,
        session,
        initiator: hostile.index,
        proposalHash: told,
        acks: signers.map((node) => acks.get(node) ?? mine),
      };
      const signed = signBody("cairn/start/v1", start, signer);
      hostile.send(to, hostileMessage("start", encodeSessionMessage({ kind: "start", signed }), session));
    }
    await scene.eventually(
      async () => {
        const failed = await scene.audited("session-failed");
        return failed.filter(({ subject }) => subject === toldOf(hostile.index).sessionId).length >= 3;
      },
      "the session did not fail at its honest signers",
      20_000,
    );
    const ends = (await scene.audited("session-failed"))
      .filter(({ subject }) => subject === toldOf(hostile.index).sessionId)
      .map(({ data }) => data.failure);
    assert.deepEqual(
      new Set(ends),
      new Set(["peer-disagrees"]),
      "the Starts were judged, not waited for in vain",
    );
    await scene.signed(hash, 90_000);

    scene.assertHonestUnbanned();
    assert.deepEqual(await wronglyNamed(scene), []);
    const issued = (await scene.audited("partial-issued")).map(({ data }) => data.presignature);
    for (const { id } of [one, other]) {
      assert.ok(!issued.includes(id), "nothing of what was named two ways was released");
    }
    for (const index of partners) {
      const item = toldOf(index) === proposed[0] ? one : other;
      const row = await cluster.node(index).store.presignature(item.id);
      assert.equal(row?.state, "discarded", `node ${index} may use what it acknowledged again`);
    }
    await scene.partials.assertUsedOnce(cluster.nodes.values(), record.keyId);
    await scene.pay(1);
  });
});
