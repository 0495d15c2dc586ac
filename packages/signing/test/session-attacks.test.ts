import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Evidence, judgeEvidence } from "@cairn/consensus";
import {
  type HashHex,
  isCairnError,
  type Manifest,
  type ManifestHash,
  type NodeIndex,
  type SessionId,
  sha256Hex,
  signBody,
} from "@cairn/core";
import {
  executionIdOf,
  MAX_EARLY_MESSAGES,
  openSession,
  type SessionMessage,
  type SessionState,
  stepSession,
} from "../src/index.ts";
import { cluster, nodesOf, resultOf, type SessionBench, timeouts } from "./bench/session-bench.ts";
import {
  benchWithKey,
  fourSigners,
  fullWork,
  presignedWork,
  signProposal,
  stockUp,
} from "./bench/stocked-bench.ts";

type MessageOf<Kind extends SessionMessage["kind"]> = Extract<SessionMessage, { readonly kind: Kind }>;

function phaseOf(bench: SessionBench, index: number, session: SessionId): SessionState["phase"] | undefined {
  return bench.node(index).sessions.get(session)?.phase;
}

function partialsOf(bench: SessionBench, index: number): number {
  return bench
    .node(index)
    .of("send")
    .filter((effect) => effect.message.kind === "partial").length;
}

function codesRefused(bench: SessionBench, index: number): string[] {
  return bench
    .node(index)
    .of("refused")
    .map((effect) => effect.code);
}

/** No honest node was accused of anything that could be proved. */
function assertNobodyFramed(bench: SessionBench, hostile: readonly number[]): void {
  for (const node of bench.nodes.values()) {
    for (const violation of node.of("violation")) {
      if (violation.violation === "Timeout") continue;
      assert.ok(hostile.includes(violation.node), `${violation.violation} of honest node ${violation.node}`);
    }
  }
}

describe("mixed Acks", () => {
  test("a Start with an Ack on another proposal ends the session and names the initiator alone", async () => {
    const bench = await benchWithKey("cggmp24");
    const items = await stockUp(bench, fourSigners);
    const others = await stockUp(
      bench,
      fourSigners,
      [
        [0, 0],
        [0, 1],
      ],
      1,
    );
    const proposal = signProposal({ signers: fourSigners, items });
    // Same session id, other presignatures: node 4 is shown this one.
    const second = signProposal({ signers: fourSigners, items: others });
    assert.equal(second.sessionId, proposal.sessionId);
    bench.intercept = (from, to, message) => {
      if (from !== 1 || message.kind !== "proposal" || to !== 4) return [message];
      return [{ kind: "proposal", signed: bench.signed(second) }];
    };
    bench.begin(proposal, (node) => presignedWork(node, node.index === 4 ? others : items));
    await bench.run();
    for (const index of fourSigners) {
      assert.equal(phaseOf(bench, index, proposal.sessionId), "failed");
      assert.equal(partialsOf(bench, index), 0);
    }
    assertNobodyFramed(bench, []);
  });

  test("a hostile initiator who starts in spite of that gets no partial, and is excluded by all", async () => {
    const bench = await benchWithKey("cggmp24");
    const items = await stockUp(bench, fourSigners);
    const others = await stockUp(
      bench,
      fourSigners,
      [
        [0, 0],
        [0, 1],
      ],
      1,
    );
    const proposal = signProposal({ signers: fourSigners, items });
    const second = signProposal({ signers: fourSigners, items: others });
    const acks = new Map<NodeIndex, MessageOf<"ack">["signed"]>();
    bench.intercept = (from, to, message) => {
      if (from === 1 && to === 4 && message.kind === "proposal") {
        return [{ kind: "proposal", signed: bench.signed(second) }];
      }
      if (to === 1 && message.kind === "ack") {
        acks.set(from, message.signed);
        if (acks.size === 3) {
          const own = bench
            .node(1)
            .of("send")
            .find((effect) => effect.message.kind === "ack")?.message;
          assert.ok(own?.kind === "ack");
          const body = {
            version: 1 as const,
            cluster,
            session: proposal.sessionId,
            initiator: 1 as NodeIndex,
            proposalHash: own.body.proposalHash,
            acks: [signBody("cairn/ack/v1", own.body, bench.node(1).signer)].concat(
              nodesOf(2, 3, 4).flatMap((node) => acks.get(node) ?? []),
            ),
          };
          const signed = signBody("cairn/start/v1", body, bench.node(1).signer);
          for (const node of nodesOf(2, 3, 4)) bench.send(1 as NodeIndex, node, { kind: "start", signed });
        }
        return [];
      }
      return [message];
    };
    bench.begin(proposal, (node) => presignedWork(node, node.index === 4 ? others : items));
    await bench.run();
    for (const index of nodesOf(2, 3, 4)) {
      assert.equal(partialsOf(bench, index), 0);
      const [ended] = bench.node(index).of("ended");
      assert.deepEqual([ended?.code, ended?.excluded.includes(1 as NodeIndex)], ["peer-disagrees", true]);
    }
    assertNobodyFramed(bench, [1]);
  });

  test("a Start that carries another nonce for this node than it gave is refused", async () => {
    const bench = await benchWithKey("frost");
    const proposal = signProposal({ signers: fourSigners });
    bench.intercept = (_from, to, message) => {
      if (message.kind !== "start" || to !== 2) return [message];
      const acks = message.signed.body.acks.map((ack) =>
        ack.body.node === 2
          ? signBody("cairn/ack/v1", { ...ack.body, nonce: "00".repeat(32) as never }, bench.node(2).signer)
          : ack,
      );
      const body = { ...message.signed.body, acks };
      return [{ kind: "start", signed: signBody("cairn/start/v1", body, bench.node(1).signer) }];
    };
    bench.begin(proposal, (node) => fullWork(node, "frost", fourSigners));
    await bench.run();
    assert.equal(bench.node(2).of("ended")[0]?.code, "peer-disagrees");
    assert.equal(bench.node(2).of("engine-start").length, 0);
  });
});

describe("presignatures", () => {
  test("one of another subset is refused before anything is used up", async () => {
    const bench = await benchWithKey("cggmp24");
    const other = await stockUp(bench, nodesOf(1, 2, 3, 5));
    const proposal = signProposal({ signers: fourSigners, items: other });
    bench.begin(proposal, (node) => presignedWork(node, other));
    await bench.run();
    assert.equal(bench.node(1).of("ended")[0]?.code, "presignature-mismatch");
    const opened = openSession(
      bench.setup(2, proposal, presignedWork(bench.node(2), other)),
      bench.signed(proposal),
      { now: bench.now },
    );
    assert.equal(opened.state.phase, "failed");
    assert.deepEqual(
      opened.effects.map((effect) => (effect.effect === "send" ? effect.message.kind : effect.effect)),
      ["nack", "ended"],
    );
    for (const item of bench.node(2).stock.values()) assert.equal(item.facts.state, "ready");
  });

  test("one of another path is refused", async () => {
    const bench = await benchWithKey("cggmp24");
    const items = await stockUp(bench, fourSigners);
    const proposal = signProposal({ signers: fourSigners, items });
    bench.begin(proposal, (node) =>
      presignedWork(node, items, "payment", [
        [0, 1],
        [0, 0],
      ]),
    );
    await bench.run();
    for (const index of fourSigners) assert.equal(partialsOf(bench, index), 0);
    assert.equal(bench.node(1).of("ended")[0]?.code, "presignature-mismatch");
  });

  test("two drivers, one item: at most one partial of each node", async () => {
    const bench = await benchWithKey("cggmp24");
    const items = await stockUp(bench, fourSigners);
    const one = signProposal({ signers: fourSigners, items });
    const two = signProposal({ signers: fourSigners, items, initiator: 3, subject: "ab".repeat(32) });
    bench.begin(one, (node) => presignedWork(node, items, "one"));
    bench.begin(two, (node) => presignedWork(node, items, "two"));
    let turn = 0;
    bench.pick = (streams) => {
      turn += 1;
      return turn % streams;
    };
    await bench.run();
    for (const index of fourSigners) {
      const issued = bench
        .node(index)
        .of("issue-partial")
        .map((effect) => effect.presignatureId);
      assert.equal(new Set(issued).size, issued.length);
    }
    const done = [one, two].filter((proposal) =>
      fourSigners.some((index) => resultOf(bench.node(index), proposal.sessionId) !== null),
    );
    assert.ok(done.length <= 1);
    assertNobodyFramed(bench, []);
  });

  test("different presignatures named to different signers make no partial, and blame no honest node", async () => {
    const bench = await benchWithKey("cggmp24");
    const items = await stockUp(bench, fourSigners);
    const proposal = signProposal({ signers: fourSigners, items });
    const swapped = signProposal({ signers: fourSigners, items: [...items].reverse() });
    bench.intercept = (from, to, message) =>
      from === 1 && to === 3 && message.kind === "proposal"
        ? [{ kind: "proposal", signed: bench.signed(swapped) }]
        : [message];
    bench.begin(proposal, (node) =>
      presignedWork(
        node,
        node.index === 3 ? [...items].reverse() : items,
        "payment",
        node.index === 3
          ? [
              [0, 1],
              [0, 0],
            ]
          : [
              [0, 0],
              [0, 1],
            ],
      ),
    );
    await bench.run();
    for (const index of fourSigners) assert.equal(partialsOf(bench, index), 0);
    assertNobodyFramed(bench, []);
  });

  test("a wrong partial ends the session and comes with the words that prove whose it was", async () => {
    const bench = await benchWithKey("cggmp24");
    const items = await stockUp(bench, fourSigners);
    const proposal = signProposal({ signers: fourSigners, items });
    bench.intercept = (from, _to, message) => {
      if (from !== 4 || message.kind !== "partial") return [message];
      const body = { ...message.signed.body, partial: new Uint8Array(8) };
      return [{ kind: "partial", signed: signBody("cairn/partial/v1", body, bench.node(4).signer) }];
    };
    bench.begin(proposal, (node) => presignedWork(node, items));
    await bench.run();
    const blamed = nodesOf(1, 2, 3).flatMap((index) => bench.node(index).of("violation"));
    assert.ok(blamed.length > 0);
    for (const violation of blamed) {
      assert.ok(violation.violation === "InvalidPartial" && violation.node === 4);
      assert.equal(violation.partial.body.from, 4);
    }
    assert.ok(
      bench
        .node(1)
        .of("ended")[0]
        ?.excluded.includes(4 as NodeIndex),
    );
  });

  test("a partial that names another presignature, sighash or input than agreed is refused, and accuses nobody", async () => {
    for (const change of [
      { presignature: "00".repeat(32) as never },
      { sighash: "00".repeat(32) as never },
      { execution: "00".repeat(32) as never },
      { input: 900 },
    ]) {
      const bench = await benchWithKey("cggmp24");
      const items = await stockUp(bench, fourSigners);
      const proposal = signProposal({ signers: fourSigners, items });
      bench.intercept = (from, _to, message) => {
        if (from !== 4 || message.kind !== "partial" || message.signed.body.input !== 0) return [message];
        const body = { ...message.signed.body, ...change };
        return [{ kind: "partial", signed: signBody("cairn/partial/v1", body, bench.node(4).signer) }];
      };
      bench.begin(proposal, (node) => presignedWork(node, items));
      await bench.run();
      assert.ok(
        bench
          .node(1)
          .of("combine")
          .every((effect) => effect.input !== 0),
      );
      assert.ok(codesRefused(bench, 1).includes("presignature-mismatch"));
      assertNobodyFramed(bench, []);
    }
  });

  test("an abort from the Ack on uses them up, also at the signer that never saw a Start", async () => {
    const bench = await benchWithKey("cggmp24");
    const items = await stockUp(bench, fourSigners);
    const proposal = signProposal({ signers: fourSigners, items });
    bench.intercept = (_from, to, message) => (message.kind === "start" && to === 2 ? [] : [message]);
    bench.begin(proposal, (node) => presignedWork(node, items));
    await bench.run();
    for (const index of fourSigners) {
      for (const item of bench.node(index).stock.values()) assert.notEqual(item.facts.state, "ready");
    }
    assert.equal(partialsOf(bench, 2), 0);
  });
});

describe("replays", () => {
  test("every message of a session, sent twice, changes nothing", async () => {
    const bench = await benchWithKey("cggmp24");
    const items = await stockUp(bench, fourSigners);
    const proposal = signProposal({ signers: fourSigners, items });
    bench.intercept = (_from, _to, message) => [message, message];
    bench.begin(proposal, (node) => presignedWork(node, items));
    await bench.run();
    for (const index of fourSigners) {
      assert.equal(phaseOf(bench, index, proposal.sessionId), "done");
      assert.equal(partialsOf(bench, index), items.length);
      assert.ok(bench.node(index).of("combine").length <= items.length);
    }
    assertNobodyFramed(bench, []);
  });

  test("every message of a full session, sent twice, changes nothing and is no equivocation", async () => {
    const bench = await benchWithKey("frost");
    const proposal = signProposal({ signers: fourSigners });
    bench.intercept = (_from, _to, message) => [message, message];
    bench.begin(proposal, (node) => fullWork(node, "frost", fourSigners));
    await bench.run();
    for (const index of fourSigners) assert.equal(phaseOf(bench, index, proposal.sessionId), "done");
    assertNobodyFramed(bench, []);
  });

  test("messages of one session are refused by another", async () => {
    const bench = await benchWithKey("frost");
    const first = signProposal({ signers: fourSigners });
    const second = signProposal({ signers: fourSigners, attempt: 1 });
    const recorded: SessionMessage[] = [];
    bench.intercept = (from, to, message) => {
      if (from === 2 && to === 1) recorded.push(message);
      return [message];
    };
    bench.begin(first, (node) => fullWork(node, "frost", fourSigners));
    await bench.run();
    const opened = openSession(bench.setup(1, second, fullWork(bench.node(1), "frost", fourSigners)), null, {
      now: bench.now,
    });
    let { state } = opened;
    assert.ok(recorded.length > 2);
    for (const message of recorded) {
      const step = stepSession(
        state,
        { event: "message", from: 2 as NodeIndex, message },
        { now: bench.now },
      );
      assert.equal(
        step.effects.some((effect) => effect.effect === "engine-receive"),
        false,
      );
      ({ state } = step);
    }
    assert.ok(state.phase === "proposed" && state.acks.size === 0);
  });

  test("a repeated execution id never runs again", async () => {
    const bench = await benchWithKey("frost");
    const proposal = signProposal({ signers: fourSigners });
    const work = fullWork(bench.node(2), "frost", fourSigners);
    const setup = bench.setup(2, proposal, work);
    const acks = fourSigners.map((node) => ({ node, nonce: setup.nonce }));
    bench.node(2).executions.add(executionIdOf(proposal.sessionId, acks));
    bench.intercept = (_from, _to, message) => [message];
    const { state } = openSession(setup, bench.signed(proposal), { now: bench.now });
    assert.ok(state.phase === "proposed");
    const signedAcks = fourSigners.map((node) =>
      signBody(
        "cairn/ack/v1",
        {
          version: 1 as const,
          cluster,
          session: proposal.sessionId,
          node,
          proposalHash: state.proposalHash,
          nonce: setup.nonce,
          sealing: null,
        },
        bench.node(node).signer,
      ),
    );
    const start = signBody(
      "cairn/start/v1",
      {
        version: 1 as const,
        cluster,
        session: proposal.sessionId,
        initiator: 1 as NodeIndex,
        proposalHash: state.proposalHash,
        acks: signedAcks,
      },
      bench.node(1).signer,
    );
    bench.carryOut(bench.node(2), proposal.sessionId, { state, effects: [] });
    bench.send(1 as NodeIndex, 2 as NodeIndex, { kind: "start", signed: start });
    await bench.run();
    assert.equal(bench.node(2).of("engine-start").length, 0);
    assert.equal(bench.node(2).of("ended")[0]?.code, "replayed");
  });
});

describe("hostile words", () => {
  test("two different broadcasts of one round end the session with a proof that anyone can judge", async () => {
    const bench = await benchWithKey("frost");
    const proposal = signProposal({ signers: fourSigners });
    bench.intercept = (from, _to, message) => {
      if (from !== 4 || message.kind !== "round" || message.content.type !== "broadcast") return [message];
      const payload = new Uint8Array([1]);
      const body = { ...message.content.signed.body, digest: sha256Hex(payload) as HashHex };
      const signed = signBody("cairn/broadcast/v1", body, bench.node(4).signer);
      return [message, { kind: "round", content: { type: "broadcast", signed, payload } }];
    };
    bench.begin(proposal, (node) => fullWork(node, "frost", fourSigners));
    await bench.run();
    const found = nodesOf(1, 2, 3).flatMap((index) => bench.node(index).of("violation"));
    const equivocation = found.find((violation) => violation.violation === "Equivocation");
    assert.ok(equivocation?.violation === "Equivocation" && equivocation.node === 4);
    const [a, b] = equivocation.broadcasts;
    const manifestHash = "00".repeat(32) as ManifestHash;
    const evidence: Evidence = { type: "Equivocation", version: 1, manifestHash, broadcasts: [a, b] };
    const members = [...bench.identities].map(([index, identity]) => ({ index, identity }));
    const judged = judgeEvidence(
      evidence,
      { manifest: { cluster, members } as unknown as Manifest, manifestHash },
      { protocolVersions: [1], intentFault: () => null },
    );
    assert.deepEqual(judged, { kind: "proven", type: "Equivocation", node: 4 });
    assertNobodyFramed(bench, [4]);
  });

  test("a broadcast split between receivers is caught by the engine's echo: no signature comes of it", async () => {
    const bench = await benchWithKey("frost");
    const proposal = signProposal({ signers: fourSigners });
    bench.intercept = (from, to, message) => {
      const split =
        from === 4 && to === 3 && message.kind === "round" && message.content.type === "broadcast";
      if (!split || message.content.signed.body.round !== 1) return [message];
      const first = message.content.payload;
      const payload = first.map((byte, at) => (at === first.length - 1 ? byte ^ 1 : byte));
      const body = { ...message.content.signed.body, digest: sha256Hex(payload) as HashHex };
      const signed = signBody("cairn/broadcast/v1", body, bench.node(4).signer);
      return [{ kind: "round", content: { type: "broadcast", signed, payload } }];
    };
    bench.begin(proposal, (node) => fullWork(node, "frost", fourSigners));
    await bench.run();
    for (const index of nodesOf(1, 2, 3)) {
      assert.equal(resultOf(bench.node(index), proposal.sessionId), null);
      const others = fourSigners.filter((node) => node !== index);
      const [ended] = bench.node(index).of("ended");
      assert.deepEqual([...(ended?.excluded ?? [])].sort(), others, "nobody can tell who it was");
    }
    assertNobodyFramed(bench, [4]);
  });

  test("a message under a forged inner signature is refused and noted", async () => {
    const bench = await benchWithKey("frost");
    const proposal = signProposal({ signers: fourSigners });
    bench.intercept = (from, to, message) =>
      from === 2 && to === 1 && message.kind === "ack"
        ? [{ kind: "ack", signed: signBody("cairn/ack/v1", message.signed.body, bench.node(5).signer) }]
        : [message];
    bench.begin(proposal, (node) => fullWork(node, "frost", fourSigners));
    await bench.run();
    const [violation] = bench.node(1).of("violation");
    assert.deepEqual([violation?.violation, violation?.node], ["InvalidSignature", 2]);
    assert.ok(codesRefused(bench, 1).includes("signature-invalid"));
    assert.ok(
      bench
        .node(1)
        .of("ended")[0]
        ?.excluded.includes(2 as NodeIndex),
    );
  });

  test("what non-signers say is refused", async () => {
    const bench = await benchWithKey("frost");
    const proposal = signProposal({ signers: fourSigners });
    bench.begin(proposal, (node) => fullWork(node, "frost", fourSigners));
    const body = {
      version: 1 as const,
      cluster,
      session: proposal.sessionId,
      node: 5 as NodeIndex,
      code: "closed" as const,
      blamed: [],
    };
    const signed = signBody("cairn/abort/v1", body, bench.node(5).signer);
    bench.send(5 as NodeIndex, 1 as NodeIndex, { kind: "abort", signed });
    await bench.run();
    assert.equal(phaseOf(bench, 1, proposal.sessionId), "done");
    assert.ok(codesRefused(bench, 1).includes("not-member"));
  });

  test("a Finalize with signatures that do not verify ends nothing", async () => {
    const bench = await benchWithKey("cggmp24");
    const items = await stockUp(bench, fourSigners);
    const proposal = signProposal({ signers: fourSigners, items, initiator: 4 });
    bench.intercept = (from, to, message) => {
      if (to !== 1 || (message.kind !== "partial" && message.kind !== "finalize")) return [message];
      if (message.kind === "partial") return from === 3 ? [] : [message];
      if (from !== 4) return [];
      const body = { ...message.signed.body, signatures: [new Uint8Array(64), new Uint8Array(64)] };
      return [{ kind: "finalize", signed: signBody("cairn/finalize/v1", body, bench.node(4).signer) }];
    };
    bench.begin(proposal, (node) => presignedWork(node, items));
    await bench.run();
    assert.equal(resultOf(bench.node(1), proposal.sessionId), null);
    assert.equal(bench.node(1).of("ended")[0]?.code, "timeout");
    const noted = bench
      .node(1)
      .of("violation")
      .filter(({ violation }) => violation === "InvalidSignature");
    assert.deepEqual(
      noted.map(({ node }) => node),
      [4],
    );
  });

  test("a signer that withholds its partials from one node can't keep the signatures from it", async () => {
    const bench = await benchWithKey("cggmp24");
    const items = await stockUp(bench, fourSigners);
    const proposal = signProposal({ signers: fourSigners, items, initiator: 2 });
    bench.intercept = (from, to, message) =>
      from === 4 && to === 1 && message.kind === "partial" ? [] : [message];
    bench.begin(proposal, (node) => presignedWork(node, items));
    await bench.run();
    for (const index of fourSigners) assert.equal(phaseOf(bench, index, proposal.sessionId), "done");
  });

  test("an Abort by a signer whose partials are all in changes nothing", async () => {
    const bench = await benchWithKey("cggmp24");
    const items = await stockUp(bench, fourSigners);
    const proposal = signProposal({ signers: fourSigners, items, initiator: 4 });
    // Node 1 waits for node 3 and hears of the signatures from node 4 alone, after its Abort.
    bench.intercept = (from, to, message) => {
      if (to !== 1 || (message.kind !== "partial" && message.kind !== "finalize")) return [message];
      if (message.kind === "partial") return from === 3 ? [] : [message];
      if (from !== 4) return [];
      const body = {
        version: 1 as const,
        cluster,
        session: proposal.sessionId,
        node: from,
        code: "closed" as const,
        blamed: [],
      };
      return [{ kind: "abort", signed: signBody("cairn/abort/v1", body, bench.node(4).signer) }, message];
    };
    bench.begin(proposal, (node) => presignedWork(node, items));
    await bench.run();
    assert.equal(phaseOf(bench, 1, proposal.sessionId), "done");
  });

  test("more messages than the bound, sent before the Start, are dropped", async () => {
    const bench = await benchWithKey("frost");
    const proposal = signProposal({ signers: fourSigners });
    const setup = bench.setup(2, proposal, fullWork(bench.node(2), "frost", fourSigners));
    let { state } = openSession(setup, bench.signed(proposal), { now: bench.now });
    const content = {
      type: "direct" as const,
      version: 1 as const,
      cluster,
      session: proposal.sessionId,
      execution: "ee".repeat(32) as never,
      from: 3 as NodeIndex,
      to: 2 as NodeIndex,
      round: 1,
      payload: new Uint8Array(10),
    };
    for (let sent = 0; sent <= MAX_EARLY_MESSAGES; sent += 1) {
      const message: SessionMessage = { kind: "round", content };
      const step = stepSession(
        state,
        { event: "message", from: 3 as NodeIndex, message },
        { now: bench.now },
      );
      const [effect] = step.effects;
      if (sent === MAX_EARLY_MESSAGES)
        assert.ok(effect?.effect === "refused" && effect.code === "rate-limited");
      else assert.equal(effect, undefined);
      ({ state } = step);
    }
    const big: SessionMessage = {
      kind: "round",
      content: { ...content, from: 4 as NodeIndex, payload: new Uint8Array(3_000_000) },
    };
    const [effect] = stepSession(
      state,
      { event: "message", from: 4 as NodeIndex, message: big },
      { now: bench.now },
    ).effects;
    assert.ok(effect?.effect === "refused" && effect.code === "rate-limited");
  });

  test("a session is not opened on a proposal that its initiator did not sign", async () => {
    const bench = await benchWithKey("frost");
    const proposal = signProposal({ signers: fourSigners });
    const setup = bench.setup(2, proposal, fullWork(bench.node(2), "frost", fourSigners));
    const forged = signBody("cairn/proposal/v1", proposal, bench.node(5).signer);
    for (const signed of [forged, null]) {
      assert.throws(
        () => openSession(setup, signed, { now: bench.now }),
        (error) => isCairnError(error, "signature-invalid"),
      );
    }
  });
});

describe("silence", () => {
  test("a signer that never acknowledges is left out of the next attempt, and proves nothing", async () => {
    const bench = await benchWithKey("frost");
    bench.down.add(3 as NodeIndex);
    const proposal = signProposal({ signers: fourSigners });
    bench.begin(proposal, (node) => fullWork(node, "frost", fourSigners));
    const before = bench.now;
    await bench.run();
    const [ended] = bench.node(1).of("ended");
    assert.deepEqual([ended?.code, ended?.excluded], ["timeout", nodesOf(3)]);
    assert.equal(bench.now - before, timeouts.ackMs);
    for (const index of nodesOf(2, 4)) {
      assert.ok(
        bench
          .node(index)
          .of("ended")[0]
          ?.excluded.includes(3 as NodeIndex),
      );
    }
  });

  test("a signer that falls silent in the rounds is named by everybody else", async () => {
    const bench = await benchWithKey("frost");
    bench.intercept = (from, _to, message) =>
      from === 3 && message.kind === "round" && roundOf(message) > 1 ? [] : [message];
    const proposal = signProposal({ signers: fourSigners });
    bench.begin(proposal, (node) => fullWork(node, "frost", fourSigners));
    await bench.run();
    const [ended] = bench.node(1).of("ended");
    assert.equal(ended?.code, "timeout");
    assert.ok(ended.excluded.includes(3 as NodeIndex));
    assertNobodyFramed(bench, []);
  });

  test("an initiator that never starts is left by its signers", async () => {
    const bench = await benchWithKey("frost");
    bench.intercept = (_from, _to, message) =>
      message.kind === "start" || message.kind === "abort" ? [] : [message];
    const proposal = signProposal({ signers: fourSigners });
    bench.begin(proposal, (node) => fullWork(node, "frost", fourSigners));
    await bench.run();
    for (const index of nodesOf(2, 3, 4)) {
      const [ended] = bench.node(index).of("ended");
      assert.deepEqual([ended?.code, ended?.excluded], ["timeout", nodesOf(1)]);
    }
  });
});

function roundOf(message: MessageOf<"round">): number {
  return message.content.type === "direct" ? message.content.round : message.content.signed.body.round;
}
