import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  type ClusterId,
  decodeCanonical,
  type ExecutionId,
  encodeCanonical,
  type KeygenRequest,
  keygenRequestHash,
  type NodeIndex,
  type Nonce,
  type Protocol,
  signBody,
  type UnixMs,
  verifySigned,
  type WalletRecord,
  walletIdOf,
} from "@cairn/core";
import fc from "fast-check";
import {
  type KeygenEffect,
  type KeygenEvent,
  type KeygenSetup,
  type KeyState,
  keyStateSchema,
  keyStatusOf,
  newKey,
  resumeKey,
  stepKey,
  testSubsets,
  welcomesStage,
} from "../src/index.ts";
import { nodesOf } from "./bench/session-bench.ts";
import { testIdentity } from "./bench/test-identity.ts";

const cluster = "c1".repeat(32) as ClusterId;
const members = nodesOf(1, 2, 3, 4, 5);
const identities = new Map(members.map((node) => [node, testIdentity(`node ${node}`).publicKey]));
const execution = "ec".repeat(32) as ExecutionId;

function requestOf(protocol: Protocol): KeygenRequest {
  return {
    version: 1,
    cluster,
    manifest: "aa".repeat(32) as KeygenRequest["manifest"],
    protocol,
    threshold: 4,
    total: 5,
    label: "main",
    nonce: "bb".repeat(32) as Nonce,
    createdAt: 1_000 as UnixMs,
    expiry: 1_000_000 as UnixMs,
    operator: testIdentity("operator").publicKey,
  };
}

type EffectOf<Kind extends KeygenEffect["effect"]> = Extract<KeygenEffect, { readonly effect: Kind }>;

/** Key machines of all nodes; stages end as the test says, messages travel in the order that `pick` chooses. */
class KeyBench {
  readonly states = new Map<NodeIndex, KeyState>();
  readonly effects = new Map<NodeIndex, KeygenEffect[]>(members.map((node) => [node, []]));
  readonly request: KeygenRequest;
  readonly tasks: { readonly run: () => void }[] = [];
  readonly waiting = new Map<string, Set<NodeIndex>>();
  now = 2_000 as UnixMs;
  attempt = 0;
  pick: (count: number) => number = () => 0;
  packageOf: (node: NodeIndex) => Uint8Array = () => Uint8Array.of(7, 7);
  recordOf: (node: NodeIndex, record: WalletRecord) => WalletRecord = (_node, record) => record;
  stageFails: (step: string, attempt: number) => boolean = () => false;

  constructor(protocol: Protocol) {
    this.request = requestOf(protocol);
    for (const node of members) this.carryOut(node, newKey(this.setup(node)));
  }

  setup(me: NodeIndex): KeygenSetup {
    const keyId = keygenRequestHash(this.request);
    return { me, cluster, keyId, request: this.request, members, identities, maxAttempts: 3 };
  }

  of<Kind extends KeygenEffect["effect"]>(node: NodeIndex, kind: Kind): EffectOf<Kind>[] {
    return (this.effects.get(node) ?? []).filter(
      (effect): effect is EffectOf<Kind> => effect.effect === kind,
    );
  }

  feed(node: NodeIndex, event: KeygenEvent): void {
    const state = this.states.get(node);
    assert.ok(state !== undefined);
    this.carryOut(node, stepKey(state, event, this.setup(node), { now: this.now }));
  }

  decideAll(auxExecution: ExecutionId | null): void {
    for (const node of members)
      this.feed(node, { event: "decided", approve: true, reason: null, auxExecution });
  }

  run(): void {
    for (let turns = 0; turns < 10_000 && this.tasks.length > 0; turns += 1) this.step();
  }

  step(): void {
    const [task] = this.tasks.splice(this.pick(this.tasks.length) % this.tasks.length, 1);
    assert.ok(task, "nothing is left to happen");
    task.run();
  }

  carryOut(
    node: NodeIndex,
    step: { readonly state: KeyState; readonly effects: readonly KeygenEffect[] },
  ): void {
    // What a store gives back after a restart is what goes on.
    this.states.set(node, decodeCanonical(keyStateSchema, encodeCanonical(step.state)));
    for (const effect of step.effects) {
      this.effects.get(node)?.push(effect);
      if (effect.effect === "send") this.#send(node, effect);
      if (effect.effect === "run-stage") this.#stage(node, effect);
      if (effect.effect === "make-record") {
        const record = this.recordOf(node, this.record());
        this.tasks.push({ run: () => this.feed(node, { event: "record-made", record }) });
      }
    }
  }

  record(): WalletRecord {
    const descriptor = "wpkh(test)#abcdefgh";
    const state = this.states.get(1 as NodeIndex);
    const packageHash = state !== undefined && "packageHash" in state ? state.packageHash : null;
    return {
      version: 1,
      cluster,
      wallet: walletIdOf(descriptor),
      label: "main",
      network: "regtest",
      descriptor,
      keyId: keygenRequestHash(this.request),
      protocol: this.request.protocol,
      publicPackage: packageHash ?? ("00".repeat(32) as WalletRecord["publicPackage"]),
      birthday: this.request.createdAt,
    };
  }

  #send(from: NodeIndex, effect: EffectOf<"send">): void {
    const { message } = effect;
    const signer = testIdentity(`node ${from}`);
    for (const to of effect.to) {
      this.tasks.push({
        run: () => {
          switch (message.kind) {
            case "keygen-approval":
              return this.feed(to, {
                event: "approval",
                from,
                signed: signBody(message.domain, message.body, signer),
              });
            case "public-package":
              return this.feed(to, {
                event: "public-package",
                from,
                signed: signBody(message.domain, message.body, signer),
              });
            case "wallet-signature":
              return this.feed(to, {
                event: "wallet-signature",
                from,
                signed: signBody(message.domain, message.body, signer),
              });
          }
        },
      });
    }
  }

  /** A session of the stage, once all who must sign are ready for it. */
  #stage(node: NodeIndex, { stage, signers }: EffectOf<"run-stage">): void {
    const key = `${stage.step}/${stage.part}`;
    const ready = (this.waiting.get(key) ?? new Set()).add(node);
    this.waiting.set(key, ready);
    if (!signers.every((signer) => ready.has(signer))) return;
    this.waiting.delete(key);
    const attempt = this.attempt;
    this.attempt += 1;
    const fails = this.stageFails(stage.step, attempt);
    for (const signer of fails ? signers : members) {
      this.tasks.push({
        run: () => {
          if (fails) {
            this.feed(signer, { event: "stage-ended", stage, code: "timeout", blamed: [] });
            const state = this.states.get(signer);
            if (state !== undefined && welcomesStage(state, stage)) {
              this.#stage(signer, { effect: "run-stage", stage, signers });
            }
          } else if (stage.step === "aux") {
            this.feed(signer, { event: "aux-finished", execution, sealedAux: Uint8Array.of(1) });
          } else if (stage.step === "keygen") {
            const publicPackage = this.packageOf(signer);
            this.feed(signer, {
              event: "keygen-finished",
              attempt,
              sealedShare: Uint8Array.of(2),
              publicPackage,
            });
          } else {
            this.feed(signer, { event: "test-verified", part: stage.part, signatures: [new Uint8Array(64)] });
          }
        },
      });
    }
  }
}

/** What `node` knows of each node's word, in order of their indices. */
function wordsAt(bench: KeyBench, node: NodeIndex): readonly string[] {
  const state = bench.states.get(node);
  assert.ok(state !== undefined && "approvals" in state);
  return state.approvals
    .map(({ body }) => `${body.node}:${body.approve ? "approves" : body.reason}`)
    .toSorted();
}

function phases(bench: KeyBench): string[] {
  return members.map((node) => bench.states.get(node)?.phase ?? "none");
}

const all = (phase: string) => members.map(() => phase);

describe("a key", () => {
  test("becomes active at all nodes with a record that all n signed, whatever order messages take", () => {
    fc.assert(
      fc.property(
        fc.constantFrom<Protocol>("cggmp24", "frost"),
        fc.infiniteStream(fc.nat()),
        (protocol, picks) => {
          const bench = new KeyBench(protocol);
          bench.pick = () => picks.next().value ?? 0;
          bench.decideAll(null);
          bench.run();
          assert.deepEqual(phases(bench), all("active"));
          for (const node of members) {
            const [activated] = bench.of(node, "activate");
            assert.equal(activated?.signed.signatures.length, 5);
            for (const { node: signer, signature } of activated?.signed.signatures ?? []) {
              const key = identities.get(signer);
              assert.ok(key !== undefined && activated !== undefined);
              assert.ok(
                verifySigned("cairn/wallet-record/v1", { body: activated.signed.record, signature }, key),
              );
            }
            assert.equal(bench.of(node, "store-aux").length, protocol === "frost" ? 0 : 1);
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  test("stores its share before its word on the public package leaves", () => {
    const bench = new KeyBench("frost");
    bench.decideAll(null);
    bench.run();
    const order = (bench.effects.get(2 as NodeIndex) ?? []).map((effect) =>
      effect.effect === "send" ? effect.message.kind : effect.effect,
    );
    assert.ok(order.indexOf("store-share") < order.indexOf("public-package"));
    assert.ok(order.indexOf("public-package") < order.indexOf("wallet-signature"));
  });

  test("uses auxiliary information again only where all nodes hold that of one execution", () => {
    const shared = new KeyBench("cggmp24");
    shared.decideAll(execution);
    shared.run();
    assert.deepEqual(phases(shared), all("active"));
    assert.equal(shared.of(1 as NodeIndex, "store-aux").length, 0);

    const mixed = new KeyBench("cggmp24");
    for (const node of members) {
      const auxExecution = node === 4 ? null : execution;
      mixed.feed(node, { event: "decided", approve: true, reason: null, auxExecution });
    }
    mixed.run();
    assert.deepEqual(phases(mixed), all("active"));
    assert.equal(mixed.of(1 as NodeIndex, "store-aux").length, 1);
  });

  test("is not made when one node refuses", () => {
    const bench = new KeyBench("frost");
    for (const node of members) {
      const approve = node !== 3;
      bench.feed(node, {
        event: "decided",
        approve,
        reason: approve ? null : "policy-denied",
        auxExecution: null,
      });
    }
    bench.run();
    assert.deepEqual(phases(bench), all("failed"));
    assert.deepEqual(bench.of(1 as NodeIndex, "failed")[0]?.blamed, [3]);
    assert.equal(bench.of(1 as NodeIndex, "run-stage").length, 0);
    for (const node of members) {
      assert.deepEqual(wordsAt(bench, node), [
        "1:approves",
        "2:approves",
        "3:policy-denied",
        "4:approves",
        "5:approves",
      ]);
      const state = bench.states.get(node);
      assert.ok(state?.phase === "failed" && state.during === "approving");
    }
  });

  test("is not made when an operator refuses it after the node approved, unless this node has signed the record", () => {
    const bench = new KeyBench("frost");
    bench.stageFails = (step) => step === "test";
    bench.decideAll(null);
    while (!phases(bench).includes("testing")) bench.step();
    bench.feed(2 as NodeIndex, { event: "abandon" });
    bench.run();
    assert.deepEqual(phases(bench), all("failed"));
    for (const node of members) assert.equal(wordsAt(bench, node)[1], "2:operator-refused");
    const state = bench.states.get(2 as NodeIndex);
    assert.ok(state?.phase === "failed" && state.during !== "approving" && state.code === "operator-refused");
  });

  test("keeps every node's word once it is active", () => {
    const bench = new KeyBench("frost");
    bench.decideAll(null);
    bench.run();
    for (const node of members)
      assert.deepEqual(wordsAt(bench, node), [
        "1:approves",
        "2:approves",
        "3:approves",
        "4:approves",
        "5:approves",
      ]);
    bench.feed(1 as NodeIndex, { event: "rotate" });
    bench.feed(1 as NodeIndex, { event: "retire" });
    assert.equal(wordsAt(bench, 1 as NodeIndex).length, 5);
  });

  test("is not made of different public packages", () => {
    const bench = new KeyBench("frost");
    bench.packageOf = (node) => Uint8Array.of(node === 5 ? 8 : 7);
    bench.decideAll(null);
    bench.run();
    assert.deepEqual(phases(bench), all("failed"));
    for (const node of members) assert.equal(bench.of(node, "activate").length, 0);
    assert.ok(members.some((node) => bench.of(node, "disagrees").some((effect) => effect.node === 5)));
  });

  test("is tried again after a failed attempt, and given up by all after the last", () => {
    const second = new KeyBench("frost");
    second.stageFails = (_step, attempt) => attempt === 0;
    second.decideAll(null);
    second.run();
    assert.deepEqual(phases(second), all("active"));

    const never = new KeyBench("frost");
    never.stageFails = (step) => step === "keygen";
    never.decideAll(null);
    never.run();
    assert.deepEqual(phases(never), all("failed"));
    assert.equal(never.attempt, 3);
  });

  test("is tested by signatures that together use every share, before any node signs its record", () => {
    const bench = new KeyBench("frost");
    bench.stageFails = (step) => step === "test";
    bench.decideAll(null);
    bench.run();
    assert.deepEqual(phases(bench), all("failed"));
    for (const node of members) {
      const kinds = bench.of(node, "send").map((effect) => effect.message.kind);
      assert.ok(!kinds.includes("wallet-signature"));
    }
  });

  test("is recorded also by a node that missed the Finalize of a test in which it does not sign", () => {
    const bench = new KeyBench("frost");
    const { feed } = bench;
    bench.feed = (node, event) => {
      const missed = event.event === "test-verified" && event.part === 1 && node === 1;
      if (!missed) feed.call(bench, node, event);
    };
    bench.decideAll(null);
    bench.run();
    assert.deepEqual(phases(bench), all("active"));
  });

  test("is not recorded by a node whose own test did not end", () => {
    const bench = new KeyBench("frost");
    const { feed } = bench;
    bench.feed = (node, event) => {
      if (event.event !== "test-verified" || event.part !== 0 || node !== 1) feed.call(bench, node, event);
    };
    bench.decideAll(null);
    bench.run();
    assert.equal(bench.states.get(1 as NodeIndex)?.phase, "testing");
    assert.deepEqual(phases(bench).slice(1), all("recording").slice(1));
    for (const node of members) {
      const state = bench.states.get(node);
      assert.ok(state !== undefined && welcomesStage(state, { step: "test", part: 0 }));
    }
    feed.call(bench, 1 as NodeIndex, { event: "test-verified", part: 0, signatures: [new Uint8Array(64)] });
    bench.run();
    assert.deepEqual(phases(bench), all("active"));
  });

  test("expires while nobody has signed its record, and never afterwards", () => {
    const early = new KeyBench("frost");
    early.now = early.request.expiry;
    early.feed(1 as NodeIndex, { event: "tick" });
    assert.equal(early.states.get(1 as NodeIndex)?.phase, "failed");

    const late = new KeyBench("frost");
    late.decideAll(null);
    // Node 5's signature on the record never comes.
    const { feed } = late;
    late.feed = (node, event) => {
      if (event.event !== "wallet-signature" || event.from !== 5) feed.call(late, node, event);
    };
    late.run();
    assert.deepEqual(phases(late), all("recording"));
    late.now = (late.request.expiry + 1) as UnixMs;
    const refusal = {
      version: 1,
      cluster,
      keyId: keygenRequestHash(late.request),
      node: 5 as NodeIndex,
      approve: false,
      reason: "closed",
      auxExecution: null,
    } as const;
    for (const node of members) {
      feed.call(late, node, { event: "tick" });
      const signed = signBody("cairn/keygen-approval/v1", refusal, testIdentity("node 5"));
      feed.call(late, node, { event: "approval", from: 5 as NodeIndex, signed });
    }
    assert.deepEqual(phases(late), all("recording"));
    const state = late.states.get(1 as NodeIndex);
    assert.ok(state !== undefined);
    assert.equal(keyStatusOf(state), "generating");
    const again = resumeKey(state, late.setup(1 as NodeIndex));
    assert.deepEqual(
      again.map((effect) => (effect.effect === "send" ? effect.message.kind : effect.effect)),
      ["public-package", "wallet-signature"],
    );
  });

  test("does not become active on a record that one node changed", () => {
    const bench = new KeyBench("frost");
    bench.recordOf = (node, record) => (node === 5 ? { ...record, network: "mainnet" } : record);
    bench.decideAll(null);
    bench.run();
    assert.deepEqual(phases(bench), all("recording"));
    assert.ok(bench.of(1 as NodeIndex, "disagrees").every((effect) => effect.node === 5));
    assert.ok(bench.of(1 as NodeIndex, "disagrees").length > 0);
  });

  test("refuses words under a signature that is not the sender's", () => {
    const bench = new KeyBench("frost");
    const body = {
      version: 1,
      cluster,
      keyId: keygenRequestHash(bench.request),
      node: 2 as NodeIndex,
      approve: false,
      reason: null,
      auxExecution: null,
    } as const;
    const signed = signBody("cairn/keygen-approval/v1", body, testIdentity("node 3"));
    bench.feed(1 as NodeIndex, { event: "approval", from: 2 as NodeIndex, signed });
    assert.equal(bench.states.get(1 as NodeIndex)?.phase, "approving");
    assert.equal(bench.of(1 as NodeIndex, "refused")[0]?.code, "signature-invalid");
  });

  test("rotates and retires only once it is active", () => {
    const bench = new KeyBench("frost");
    bench.feed(1 as NodeIndex, { event: "retire" });
    assert.equal(bench.states.get(1 as NodeIndex)?.phase, "approving");
    bench.decideAll(null);
    bench.run();
    bench.feed(1 as NodeIndex, { event: "rotate" });
    assert.equal(bench.states.get(1 as NodeIndex)?.phase, "rotating");
    bench.feed(1 as NodeIndex, { event: "retire" });
    assert.equal(bench.states.get(1 as NodeIndex)?.phase, "retired");
    bench.feed(1 as NodeIndex, { event: "rotate" });
    assert.equal(bench.states.get(1 as NodeIndex)?.phase, "retired");
  });
});

test("test subsets have t members each and together use every share", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 20 }), fc.nat(), (total, choice) => {
      const threshold = 2 + (choice % (total - 1));
      const nodes = nodesOf(...Array.from({ length: total }, (_, at) => at + 1));
      const subsets = testSubsets(nodes, threshold);
      assert.equal(subsets.length, Math.ceil(total / threshold));
      for (const subset of subsets) assert.equal(new Set(subset).size, threshold);
      assert.equal(new Set(subsets.flat()).size, total);
    }),
  );
});
