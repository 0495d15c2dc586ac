import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { encodePsbt, type Psbt, parsePsbt } from "@cairn/bitcoin";
import {
  type Intent,
  intentHash,
  intentSchema,
  signBroadcast,
  signedVoteSchema,
  signVoid,
} from "@cairn/consensus";
import {
  auditEntrySchema,
  decodeCanonical,
  encodeCanonical,
  type IntentHash,
  manifestHash,
  type NodeIndex,
  type PeerMessage,
  type Sats,
  sha256Hex,
  signBody,
  signedSchema,
  type TransactionRow,
  type UnixMs,
  walletRecordSchema,
} from "@cairn/core";
import { bent, HostileNode, hostileMessage, hostileVote } from "@cairn/runtime/test-support";
import {
  type Abort,
  decodeSessionMessage,
  encodeSessionMessage,
  makeProposal,
  type Proposal,
  signedPublicPackageWordSchema,
  subsetsInOrder,
} from "@cairn/signing";
import { InProcessCluster, type InProcessNode } from "./cluster.ts";
import { floodPresigning } from "./hostile-presigning.ts";
import { HostileScene } from "./hostile-scene.ts";

/** Whether nothing more becomes of a spend but confirmations. */
function isOver(row: TransactionRow): boolean {
  return (
    row.signedTx !== null ||
    ["failed", "expired", "rejected", "replaced", "aborted-timeout"].includes(row.state)
  );
}

test("a double voter is banned by all with proof, and the other four pay", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile, honest } = scene;
    hostile.rewrite = (to, said) => {
      if (said.kind === "vote") {
        const { intentHash: intent, round } = decodeCanonical(signedVoteSchema, said.payload).body;
        const reason = { code: "dust", blocking: [] };
        hostile.send(to, hostileVote(scene, intent, { round, approve: false, reason }));
      }
      return said;
    };
    await scene.pay(2);
    await scene.bannedByAll("DoubleVote");
    scene.assertHonestUnbanned();
    const [row] = await scene.recorded("DoubleVote");
    assert.ok(row !== undefined && row.evidence.length > 0, "with evidence for third parties");
    hostile.rewrite = (_, said) => said;
    await scene.pay(honest[0]);
  });
});

const alterations: Record<string, (psbt: Psbt) => Psbt> = {
  "recipient altered": (psbt) =>
    withOutput(psbt, 0, { script: Uint8Array.from([0, 20, ...randomBytes(20)]) }),
  "amount altered": (psbt) => withOutput(psbt, 0, { amountSats: 15_000n as Sats }),
  "sequence altered": (psbt) => ({
    ...psbt,
    transaction: {
      ...psbt.transaction,
      inputs: psbt.transaction.inputs.map((input) => ({ ...input, sequence: 0xffffffff })),
    },
  }),
  "extra output": (psbt) => ({
    ...psbt,
    transaction: {
      ...psbt.transaction,
      outputs: [
        ...psbt.transaction.outputs,
        { amountSats: 1_000n as Sats, script: Uint8Array.from([0, 20, ...randomBytes(20)]) },
      ],
    },
    outputs: [...psbt.outputs, []],
  }),
  "sighash type altered": (psbt) => ({
    ...psbt,
    inputs: psbt.inputs.map((map) => [
      ...map,
      { type: 3, keyData: new Uint8Array(), value: Uint8Array.from([0x82, 0, 0, 0]) },
    ]),
  }),
  "locktime in the future": (psbt) => ({ ...psbt, transaction: { ...psbt.transaction, lockTime: 900_000 } }),
};

function withOutput(
  psbt: Psbt,
  position: number,
  change: Partial<Psbt["transaction"]["outputs"][number]>,
): Psbt {
  const outputs = psbt.transaction.outputs.map((output, at) =>
    at === position ? { ...output, ...change } : output,
  );
  return { ...psbt, transaction: { ...psbt.transaction, outputs } };
}

test("no altered PSBT gets an honest approval, and whoever approves one is banned with proof", async () => {
  await HostileScene.run(
    async (scene) => {
      const { hostile } = scene;
      const altered: IntentHash[] = [];
      for (const [name, alter] of Object.entries(alterations)) {
        let lie: { readonly intent: Intent; readonly hash: IntentHash } | null = null;
        hostile.rewrite = (_, said) => {
          if (said.kind === "vote" || said.kind === "certificate") return null;
          if (said.kind !== "intent") return said;
          if (lie === null) {
            const honest = decodeCanonical(intentSchema, said.payload);
            const psbt = new Uint8Array(encodePsbt(alter(parsePsbt(honest.psbt))));
            const intent = { ...honest, psbt };
            lie = { intent, hash: intentHash(intent) };
          }
          return { ...said, payload: encodeCanonical(lie.intent) };
        };
        await scene.submit(5, { expiry: (Date.now() + 5_000) as UnixMs });
        await scene.eventually(() => lie !== null, `${name} was never sent`);
        const { hash } = lie ?? assert.fail();
        altered.push(hash);
        await scene.eventually(
          async () => (await scene.rows(hash)).every((row) => row !== null && row.reason !== null),
          `${name}: an honest node did not object`,
        );
      }
      for (const hash of altered) {
        for (const row of await scene.rows(hash)) {
          assert.equal(row?.certificate, null);
          assert.equal(row?.signedTx, null);
        }
        for (const { store } of scene.honestNodes()) {
          const votes = await store.votes(hash);
          assert.deepEqual(
            votes.filter((vote) => vote.approve),
            [],
            "nobody approved",
          );
        }
      }
      const [recipientAltered] = altered;
      assert.ok(recipientAltered);
      for (const to of scene.honest) hostile.send(to, hostileVote(scene, recipientAltered));
      await scene.bannedByAll("MinorityVote");
      scene.assertHonestUnbanned();
      await scene.unreserved();
      await scene.pay(1);
    },
    { coins: 8 },
  );
});

test("an intent that no owner signed is refused, and its approver is banned with proof", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile } = scene;
    let forged: IntentHash | null = null;
    hostile.rewrite = (_, said) => {
      if (said.kind === "vote" || said.kind === "certificate") return null;
      if (said.kind !== "intent") return said;
      const honest = decodeCanonical(intentSchema, said.payload);
      const body = { ...honest.request.body, maxFeeSats: 19_999n as Sats };
      const intent = { ...honest, request: { ...honest.request, body } };
      forged = intentHash(intent);
      return { ...said, payload: encodeCanonical(intent) };
    };
    await scene.submit(5);
    await scene.eventually(() => forged !== null, "the forged intent was never sent");
    await scene.eventually(
      async () =>
        (await scene.audited("message-refused")).filter(({ data }) => data.kind === "intent").length >= 4,
      "the forged intent was not refused by all",
    );
    const hash = forged ?? assert.fail();
    for (const row of await scene.rows(hash)) assert.equal(row, null, "it is not even stored");
    for (const to of scene.honest) hostile.send(to, hostileVote(scene, hash));
    await scene.bannedByAll("MinorityVote");
    scene.assertHonestUnbanned();
    await scene.pay(1);
  });
});

test("a forged envelope signature excludes the sender where it was seen, and nowhere else", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile } = scene;
    hostile.frame = (to, frame) => [to === 1 ? bent(frame, 3) : frame];
    await scene.pay(2);
    await scene.eventually(
      () =>
        scene.cluster
          .node(1)
          .runtime.bans.bans()
          .some((row) => row.node === 5 && row.scope === "local"),
      "node 1 did not exclude the forger",
    );
    for (const index of [2, 3, 4]) assert.deepEqual(scene.cluster.node(index).runtime.bans.bans(), []);
    assert.equal((await scene.recorded("InvalidSignature"))[0]?.evidence.length, 0, "no proof for others");
    await scene.pay(1);
    scene.assertHonestUnbanned();
  });
});

test("a vote with a wrong signature names whoever handed it in, not the voter that it names", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile } = scene;
    hostile.rewrite = (_, said) => {
      if (said.kind !== "vote") return said;
      const vote = decodeCanonical(signedVoteSchema, said.payload);
      const framed = { ...vote, body: { ...vote.body, voter: 2 as NodeIndex } };
      return { ...said, payload: encodeCanonical(framed) };
    };
    await scene.pay(1);
    await scene.bannedByAll("InvalidSignature", "local");
    scene.assertHonestUnbanned();
  });
});

test("replayed envelopes, votes and certificates change nothing", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile } = scene;
    const kept: PeerMessage[] = [];
    hostile.frame = (_, frame) => [frame, new Uint8Array(frame)];
    hostile.rewrite = (to, said) => {
      if (to === 1 && (said.kind === "vote" || said.kind === "certificate" || said.kind === "intent"))
        kept.push(said);
      return said;
    };
    const first = await scene.pay(5);
    const before = await scene.rows(first);
    assert.ok(kept.length >= 2);
    for (const said of kept) for (const to of scene.honest) hostile.send(to, said);
    await scene.pay(1);
    const after = await scene.rows(first);
    assert.deepEqual(
      after.map((row) => [row?.txid, row?.signedTx]),
      before.map((row) => [row?.txid, row?.signedTx]),
    );
    for (const { runtime } of scene.honestNodes()) assert.deepEqual(runtime.bans.bans(), []);
  });
});

test("two different signed broadcasts of one round ban their author with proof", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile, cluster } = scene;
    hostile.rewrite = (to, said) => {
      if (said.kind !== "round" || said.session === null) return said;
      const decoded = decodeSessionMessage("round", said.payload);
      if (decoded.kind !== "round" || decoded.content.type !== "broadcast") return said;
      const payload = bent(decoded.content.payload);
      const body = { ...decoded.content.signed.body, digest: sha256Hex(payload) as never };
      const signed = signBroadcast(body, cluster.signerOf(5));
      const again = { kind: "round", content: { type: "broadcast", signed, payload } } as const;
      hostile.send(to, { ...said, payload: encodeSessionMessage(again) });
      return said;
    };
    await scene.payUntil(async () => (await scene.recorded("Equivocation")).length > 0);
    await scene.bannedByAll("Equivocation");
    scene.assertHonestUnbanned();
  });
});

for (const [name, lie] of Object.entries({
  "an altered FROST share": (payload: Uint8Array) => bent(payload),
  "a round message of random bytes": (payload: Uint8Array) => new Uint8Array(randomBytes(payload.length)),
})) {
  test(`${name} names its sender, and the others sign without it`, async () => {
    await HostileScene.run(async (scene) => {
      scene.hostile.say = (_, said) => (said.round === 2 ? { ...said, payload: lie(said.payload) } : said);
      await scene.payUntil(async () => (await scene.recorded("InvalidRoundMessage")).length > 0);
      scene.assertHonestUnbanned();
      const named = await Promise.all(
        scene.honestNodes().map(({ store }) => store.violations({ limit: 100 })),
      );
      const others = named.flat().filter((row) => row.type === "InvalidRoundMessage" && row.node !== 5);
      assert.deepEqual(others, [], "nobody else is named");
    });
  });
}

test("silence after the Ack is timed out, named, never banned, and the others sign", async () => {
  await HostileScene.run(async (scene) => {
    scene.hostile.rewrite = (_, said) => (said.kind === "round" ? null : said);
    await scene.payUntil(async () => (await scene.recorded("Timeout")).length > 0);
    for (const { runtime } of scene.honestNodes()) assert.deepEqual(runtime.bans.bans(), []);
  });
});

test("a node that never answers a proposal holds nobody up", async () => {
  await HostileScene.run(async (scene) => {
    const silent: ReadonlySet<string> = new Set(["ack", "nack", "proposal", "start", "round"]);
    scene.hostile.rewrite = (_, said) => (silent.has(said.kind) ? null : said);
    await scene.payUntil(() => scene.hostile.lies > 0);
    for (const { runtime } of scene.honestNodes()) assert.deepEqual(runtime.bans.bans(), []);
  });
});

test("a signer that leaves every session and blames others keeps nobody from paying, and no honest node is named", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile, cluster } = scene;
    hostile.hear = (from, said) => {
      if (said.kind !== "start" || said.session === null) return;
      const body: Abort = {
        version: 1,
        cluster: cluster.manifest.cluster,
        session: said.session,
        node: hostile.index,
        code: "invalid-round-message",
        blamed: [from],
      };
      const signed = signBody("cairn/abort/v1", body, cluster.signerOf(5));
      const payload = encodeSessionMessage({ kind: "abort", signed });
      for (const to of scene.honest) hostile.send(to, hostileMessage("abort", payload, said.session));
    };
    await scene.payUntil(() => hostile.lies >= 3 * scene.honest.length);
    const named = await Promise.all(scene.honestNodes().map(({ store }) => store.violations({ limit: 100 })));
    assert.deepEqual(
      named.flat().filter(({ node }) => node !== hostile.index),
      [],
    );
    for (const { runtime } of scene.honestNodes()) assert.deepEqual(runtime.bans.bans(), []);
  });
});

test("one node's false voids, before and after its approval, end no payment and free nothing", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile, cluster } = scene;
    const { manifest } = cluster;
    hostile.rewrite = (to, said) => {
      if (said.kind === "vote") {
        const { intentHash: hash } = decodeCanonical(signedVoteSchema, said.payload).body;
        const body = {
          version: 1 as const,
          cluster: manifest.cluster,
          manifestHash: manifestHash(manifest),
          intentHash: hash,
          node: hostile.index,
        };
        const payload = encodeCanonical(signVoid(body, cluster.signerOf(5)));
        hostile.send(to, hostileMessage("void", payload));
      }
      return said;
    };
    const paid = [await scene.pay(1), await scene.pay(5), await scene.pay(2)];
    assert.ok(hostile.lies > 0);
    for (const { store } of scene.honestNodes()) {
      for (const intent of paid) {
        const voids = await store.voids(intent);
        assert.deepEqual(
          voids.map(({ node }) => node),
          [hostile.index],
          "its void is known",
        );
      }
    }
    for (const { runtime } of scene.honestNodes()) assert.deepEqual(runtime.bans.bans(), []);
  });
});

test("two different Starts make no signature and blame no honest node, and the others sign", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile, cluster } = scene;
    hostile.rewrite = (to, said) => {
      if (said.kind !== "start" || to % 2 === 0) return said;
      const decoded = decodeSessionMessage("start", said.payload);
      if (decoded.kind !== "start") return said;
      const signer = cluster.signerOf(5);
      const acks = decoded.signed.body.acks.map((ack) =>
        ack.body.node === 5
          ? signBody("cairn/ack/v1", { ...ack.body, nonce: randomBytes(32).toString("hex") as never }, signer)
          : ack,
      );
      const signed = signBody("cairn/start/v1", { ...decoded.signed.body, acks }, signer);
      return { ...said, payload: encodeSessionMessage({ kind: "start", signed }) };
    };
    await scene.payUntil(() => hostile.lies > 0);
    scene.assertHonestUnbanned();
  });
});

test("proposals out of turn, for other subsets and for unknown grants are refused and named", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile, cluster } = scene;
    const { cluster: id } = cluster.manifest;
    const members = cluster.manifest.members.map(({ index }) => index);
    let grant: string | null = null;
    hostile.rewrite = (_, said) => {
      if (said.kind === "proposal") return null;
      return said;
    };
    const intent = await scene.submit(1);
    await scene.eventually(async () => {
      const live = cluster.node(1).runtime.spends.grantOf(intent);
      grant = live?.grant.grantId ?? grant;
      return grant !== null;
    }, "never certified");
    const propose = (change: Partial<Proposal>) => {
      const proposal = makeProposal({
        cluster: id,
        purpose: "sign",
        subject: (grant ?? "") as Proposal["subject"],
        stage: null,
        job: null,
        attempt: 0,
        initiator: hostile.index,
        signers: [...(subsetsInOrder(sha256Hex(Buffer.from("x")) as never, members, 4)[0] ?? [])],
        protocolVersion: 1,
        items: null,
        ...change,
      });
      const signed = signBody("cairn/proposal/v1", proposal, cluster.signerOf(5));
      for (const to of scene.honest) {
        hostile.send(
          to,
          hostileMessage("proposal", encodeSessionMessage({ kind: "proposal", signed }), proposal.sessionId),
        );
      }
    };
    for (const attempt of [0, 1, 2, 3, 4]) propose({ attempt, signers: [2, 3, 4, 5] as NodeIndex[] });
    propose({ signers: [3, 4, 5] as NodeIndex[], attempt: 1 });
    propose({ signers: [1, 2, 3, 4] as NodeIndex[], attempt: 2 });
    propose({ subject: "ab".repeat(32) as Proposal["subject"], signers: [2, 3, 4, 5] as NodeIndex[] });
    await scene.signed(intent);
    await scene.eventually(async () => {
      const codes = new Set((await scene.audited("proposal-refused")).map(({ data }) => data.code));
      return codes.has("not-initiator") && codes.has("not-found");
    }, "the proposals were not refused");
    const refused = await scene.audited("proposal-refused");
    assert.ok(
      refused.filter(({ data }) => data.code === "not-initiator").every(({ data }) => data.from === 5),
    );
    scene.assertHonestUnbanned();
  });
});

test("proposals to make presignatures of a FROST key are refused before any work", async () => {
  await HostileScene.run(async (scene) => {
    floodPresigning(scene, [1, 2, 3, 5] as NodeIndex[], 64);
    await scene.eventually(
      async () => (await scene.audited("proposal-refused")).length >= 3 * 64,
      "not all was refused",
    );
    const opened = (await scene.audited("session-opened")).filter(({ data }) => data.purpose === "presign");
    assert.deepEqual(opened, []);
    scene.assertHonestUnbanned();
    await scene.pay(1);
  });
});

test("a proposal handed in under another's name is refused", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile } = scene;
    const stolen: PeerMessage[] = [];
    hostile.rewrite = (_, said) => said;
    await scene.payUntil(() => {
      stolen.push(
        ...hostile.heard.filter(({ message: m }) => m.kind === "proposal").map(({ message: m }) => m),
      );
      return stolen.length > 0;
    });
    for (const said of stolen) for (const to of scene.honest) hostile.send(to, said);
    await scene.eventually(
      async () => (await scene.audited("proposal-refused")).some(({ data }) => data.from === 5),
      "the stolen proposal was not refused",
    );
    scene.assertHonestUnbanned();
    await scene.pay(3);
  });
});

test("a receiver that makes two intents with different coins of one request gets it paid at most once", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile, cluster } = scene;
    // Two requests give two honest intents over different coins; the hostile node then pretends that both are of the first.
    const { body, signature } = scene.request({ expiry: (Date.now() + 6_000) as UnixMs });
    let first: Intent | null = null;
    let second: Intent | null = null;
    hostile.rewrite = (to, said) => {
      if (said.kind === "vote" || said.kind === "certificate") return null;
      if (said.kind !== "intent") return said;
      const intent = decodeCanonical(intentSchema, said.payload);
      if (first === null) first = intent;
      if (intentHash(intent) === intentHash(first)) return to <= 2 ? said : null;
      second = { ...intent, request: first.request };
      return to > 2 ? { ...said, payload: encodeCanonical(second) } : null;
    };
    await cluster.node(5).runtime.submit(body, signature);
    await scene.submit(5, { expiry: (Date.now() + 6_000) as UnixMs });
    await scene.eventually(() => first !== null && second !== null, "two intents were never made");
    const both = [first, second].map((intent) => intentHash(intent ?? assert.fail()));
    const coins = [first, second].map((intent) =>
      parsePsbt((intent ?? (assert.fail() as Intent)).psbt).transaction.inputs.map(
        ({ txid, vout }) => `${txid}:${vout}`,
      ),
    );
    assert.equal(
      coins[0]?.some((coin) => coins[1]?.includes(coin)),
      false,
      "the two share no coin",
    );
    for (const hash of both) for (const to of scene.honest) hostile.send(to, hostileVote(scene, hash));
    await scene.eventually(
      async () =>
        (await Promise.all(both.map((hash) => scene.rows(hash))))
          .flat()
          .every((row) => row !== null && isOver(row)),
      "the two intents never ended",
      20_000,
    );
    scene.cluster.chain.mine(6);
    await scene.unreserved();
    const signed = await Promise.all(both.map((hash) => scene.rows(hash)));
    const paid = signed.filter((rows) => rows.some((row) => row !== null && row.signedTx !== null));
    assert.ok(paid.length <= 1, "one request, one payment");
    scene.assertHonestUnbanned();
    hostile.rewrite = (_, said) => said;
    await scene.pay(1);
  });
});

test("a final of junk, or of another spend, names its sender and signs nothing", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile, cluster } = scene;
    const early = await scene.pay(1);
    const rows = await scene.rows(early);
    assert.ok(rows[0]);
    const quiet: ReadonlySet<string> = new Set(["ack", "vote"]);
    hostile.rewrite = (_, said) => (quiet.has(said.kind) ? null : said);
    await cluster.node(4).stop();
    const intent = await scene.submit(1, { expiry: (Date.now() + 4_000) as UnixMs });
    await scene.eventually(
      () => [1, 2, 3].every((index) => cluster.node(index).runtime.spends.get(intent)?.checked != null),
      "the intent was not checked",
    );
    const final = {
      version: 1,
      intentHash: intent,
      signers: [1, 2, 3, 5],
      signatures: [new Uint8Array(randomBytes(64))],
    };
    for (const to of [1, 2, 3])
      hostile.send(to as NodeIndex, hostileMessage("final", encodeCanonical(final)));
    await scene.eventually(
      () =>
        [1, 2, 3].every((index) =>
          cluster
            .node(index)
            .runtime.bans.bans()
            .some((row) => row.node === 5),
        ),
      "the forger was not excluded",
    );
    for (const index of [1, 2, 3]) {
      assert.equal((await cluster.node(index).store.transaction({ intent }))?.signedTx, null);
      assert.ok(
        cluster
          .node(index)
          .runtime.bans.bans()
          .every((row) => row.node === 5),
      );
    }
    await cluster.startNode(4 as NodeIndex);
  });
});

test("a flood of early votes and proposals is bounded and keeps nobody from paying", async () => {
  await HostileScene.run(async (scene) => {
    const { hostile, cluster } = scene;
    // Of all that is refused here, few enough for each to stand in the audit log.
    for (let count = 0; count < 256 + 30; count += 1) {
      hostile.send(1 as NodeIndex, hostileVote(scene, randomBytes(32).toString("hex") as IntentHash));
    }
    for (let count = 0; count < 60; count += 1) {
      const proposal = makeProposal({
        cluster: cluster.manifest.cluster,
        purpose: "sign",
        subject: randomBytes(32).toString("hex") as Proposal["subject"],
        stage: null,
        job: null,
        attempt: 0,
        initiator: hostile.index,
        signers: [1, 2, 3, 5] as NodeIndex[],
        protocolVersion: 1,
        items: null,
      });
      const signed = signBody("cairn/proposal/v1", proposal, cluster.signerOf(5));
      hostile.send(
        1 as NodeIndex,
        hostileMessage("proposal", encodeSessionMessage({ kind: "proposal", signed }), proposal.sessionId),
      );
    }
    await scene.pay(1);
    await scene.eventually(async () => {
      const codes = (await scene.audited("proposal-refused")).map(({ data }) => data.code);
      return codes.includes("rate-limited") && codes.includes("not-found");
    }, "the flood was not limited");
    await scene.eventually(
      async () =>
        (await scene.audited("message-refused")).filter(({ data }) => data.code === "rate-limited").length >=
        30,
      "early votes beyond the limit were not refused",
    );
    scene.assertHonestUnbanned();
  });
});

interface KeygenScene {
  readonly signer: ReturnType<InProcessCluster["signerOf"]>;
}

const keygenLies: Record<string, (said: PeerMessage, scene: KeygenScene) => PeerMessage> = {
  "another public package": (said, { signer }) => {
    if (said.kind !== "public-package") return said;
    const { body } = decodeCanonical(signedPublicPackageWordSchema, said.payload);
    const word = { ...body, publicPackage: "ab".repeat(32) as typeof body.publicPackage };
    return { ...said, payload: encodeCanonical(signBody("cairn/public-package/v1", word, signer)) };
  },
  "a wallet record with another descriptor": (said, { signer }) => {
    if (said.kind !== "wallet-signature") return said;
    const { body } = decodeCanonical(signedSchema(walletRecordSchema), said.payload);
    const record = { ...body, label: `${body.label} of another` };
    return { ...said, payload: encodeCanonical(signBody("cairn/wallet-record/v1", record, signer)) };
  },
  "an opening that was not committed to": (said) => said,
  "an altered commitment in key generation": (said) => said,
};

for (const [name, lie] of Object.entries(keygenLies)) {
  test(`${name} makes no wallet, and no honest node is banned`, async () => {
    const hostile = new HostileNode(5);
    const cluster = await InProcessCluster.start({
      keygenTimeouts: { ackMs: 700, startMs: 1_000, roundMs: 1_200, sessionMs: 5_000 },
      attempts: { slotMs: 300, patienceMs: 300 },
      tampering: (index) => hostile.tampering(index),
    });
    try {
      hostile.rewrite = (_, said) => lie(said, { signer: cluster.signerOf(5) });
      const altered = {
        "an opening that was not committed to": 3,
        "an altered commitment in key generation": 1,
      };
      hostile.say = (_, said) =>
        Object.entries(altered).some(([lied, round]) => lied === name && round === said.round)
          ? { ...said, payload: bent(said.payload) }
          : said;
      const keyId = await cluster.node(1).runtime.generateKey(cluster.keygenRequest("frost", "lied about"));
      const honest = [1, 2, 3, 4].map((index) => cluster.node(index));
      const named = async () => {
        const found = await Promise.all(
          honest.map(async ({ store }) => {
            const violations = await store.violations({ node: hostile.index, limit: 100 });
            const log = (await store.audit({ from: 0, limit: 10_000 }))
              .map((entry) => decodeCanonical(auditEntrySchema, entry.body))
              .filter(({ kind, data }) => kind === "keygen-disagreement" && data.node === hostile.index);
            return violations.length > 0 || log.length > 0;
          }),
        );
        return found.some((seen) => seen);
      };
      // An altered commitment looks to each as if the others had altered theirs: the echo round ends it and names nobody.
      const failed = async () => (await failures(honest)) > 0;
      await cluster.until(
        async () =>
          hostile.lies > 0 && ((await named()) || (name.startsWith("an altered") && (await failed()))),
        15_000,
        () => `nobody named the liar; it lied ${hostile.lies} times`,
      );
      for (const { store, runtime } of honest) {
        assert.notEqual((await store.key(keyId))?.status, "active");
        assert.deepEqual(await store.wallets(), []);
        assert.ok(runtime.bans.bans().every((row) => row.node === hostile.index));
      }
    } finally {
      await cluster.close();
    }
  });
}

async function failures(nodes: readonly InProcessNode[]): Promise<number> {
  const logs = await Promise.all(nodes.map(({ store }) => store.audit({ from: 0, limit: 10_000 })));
  return logs.flat().filter(({ kind }) => kind === "keygen-attempt-failed").length;
}
