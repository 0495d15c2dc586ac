import assert from "node:assert/strict";
import { test } from "node:test";
import { initial } from "@cairn/consensus";
import {
  type ApprovalRow,
  type Clock,
  Ed25519Signer,
  type IntentHash,
  isCairnError,
  type NodeIndex,
  type RequestHash,
  type Sats,
  type SignedSpendApproval,
  type SpendApproval,
  type StoreWrite,
  sha256Hex,
  signSpendApproval,
  type UnixMs,
} from "@cairn/core";
import { namedSigner, openPolicy, testManifest } from "@cairn/core/test-support";
import type { Policy } from "@cairn/policy";
import fc from "fast-check";
import { ApprovalBook } from "../src/approval-book.ts";
import { type LiveSpend, LiveSpends } from "../src/live-spends.ts";
import { Loop } from "../src/loop.ts";
import { SpendClaims } from "../src/spend-claims.ts";
import { SpendIntake } from "../src/spend-intake.ts";
import { readMetadata, writeMetadata } from "../src/spend-metadata.ts";
import { SpendVoting } from "../src/spend-voting.ts";
import { KeptReservations } from "./kept-reservations.ts";

const people = ["ann", "bob", "cem", "dan"].map(namedSigner);
/** An approver of the manifest whom policy does not ask. */
const auditor = namedSigner("auditor");
const keys = people.map(({ publicKey }) => publicKey);
const hashOf = (name: string) => sha256Hex(Buffer.from(name)) as string;
const request = hashOf("request") as RequestHash;
const intent = hashOf("intent") as IntentHash;
const me = 1 as NodeIndex;
const HOUR = 3_600_000;
const MINUTE = 60_000;
const EXPIRY = (24 * HOUR) as UnixMs;

const manifest = testManifest(
  [1, 2, 3, 4, 5].map((index) => ({ identity: namedSigner(`node ${index}`).publicKey })),
  { nonce: "1".repeat(64), approvers: [...keys, auditor.publicKey], createdAt: 0 },
);

function approvalOf(signer: Ed25519Signer, change: Partial<SpendApproval> = {}): SignedSpendApproval {
  const approval = {
    version: 1,
    cluster: manifest.cluster,
    requestHash: request,
    approver: signer.publicKey,
    createdAt: 0 as UnixMs,
    expiry: EXPIRY,
    ...change,
  } as const;
  return signSpendApproval(approval, signer);
}

const policyOf = (m: number): Policy => openPolicy({ approvals: { m, keys, aboveSats: 999n as Sats } });

/** What node 1 does with approvals, over rows that outlive it. */
class Bench {
  readonly rows: ApprovalRow[];
  /** `approvals` that were posted, as peer and outbox id. */
  readonly posted: { readonly to: NodeIndex; readonly id: string }[] = [];
  readonly live: LiveSpends;
  readonly book: ApprovalBook;
  readonly loop: Loop;
  now = 0;
  readonly #constitution: { policy: Policy };
  readonly #voting: SpendVoting;
  readonly #intake: SpendIntake;

  constructor(m: number, rows: readonly ApprovalRow[] = []) {
    this.rows = [...rows];
    const clock: Clock = {
      now: () => this.now as UnixMs,
      monotonic: () => this.now,
      after: () => ({ cancel: () => {} }),
    };
    this.loop = new Loop({
      store: {
        commit: async (writes) => {
          for (const write of writes) this.#write(write);
        },
      },
      courier: {
        posting: (to: NodeIndex, id: string) => {
          this.posted.push({ to, id });
          return { write: "meta", key: "posting", value: Uint8Array.of(0) };
        },
        kick: () => {},
        send: () => {},
      } as never,
      audit: { entries: () => [], committed: () => {}, discarded: () => {} },
      report: (cause) => assert.fail(String(cause)),
    });
    const constitution = {
      manifest,
      manifestHash: "00".repeat(32),
      policy: policyOf(m),
    };
    const options = {
      me,
      book: {
        manifest,
        manifestHash: constitution.manifestHash,
        under: () => constitution,
        get policy() {
          return constitution.policy;
        },
      },
      protocolVersions: [1],
      clockSkewMs: 1_000,
      roundMs: HOUR,
      recheckMs: HOUR,
    } as never;
    this.#constitution = constitution;
    this.live = new LiveSpends({ clock, changed: () => {} });
    const claims = new SpendClaims({ store: new KeptReservations(), live: this.live, clock });
    this.book = new ApprovalBook(options, { clock, live: this.live });
    this.book.restore(this.rows);
    const modules = { loop: this.loop, live: this.live, clock, claims, approvals: this.book };
    this.#voting = new SpendVoting(options, {
      ...modules,
      signer: Ed25519Signer.generate(),
      judge: { check: () => new Promise(() => {}) },
      admitted: async () => {},
      report: (cause: unknown) => assert.fail(String(cause)),
    } as never);
    this.#intake = new SpendIntake(options, { ...modules, voting: this.#voting } as never);
  }

  /** The request comes, to pay so many satoshi. */
  async arrive(sats = 1_000n): Promise<void> {
    const metadata = writeMetadata({
      receiver: me,
      signers: [],
      unproven: false,
      approvers: [],
      timings: {},
    });
    await this.loop.run((batch) => {
      this.live.add(batch, {
        intent: { request: { body: { outputs: [{ address: "a", amountSats: sats }] } } },
        row: { intent, request, state: "pending", reason: null, metadata, expiry: EXPIRY },
        voting: initial({ intent, expiry: EXPIRY }),
      } as unknown as LiveSpend);
      this.#voting.open(batch, intent);
    });
  }

  /** A policy that asks for another m comes into force. */
  async ask(m: number): Promise<void> {
    this.#constitution.policy = policyOf(m);
    this.#voting.reopen();
    await this.loop.run(() => {});
  }

  take(signed: SignedSpendApproval, from = me): Promise<void> {
    return this.#intake.takeApproval(signed, from);
  }

  get spend(): LiveSpend | undefined {
    return this.live.get(intent);
  }

  get isOpen(): boolean {
    return this.spend?.voting.name === "Collecting";
  }

  #write(write: StoreWrite): void {
    if (write.write === "approval") {
      const at = this.rows.findIndex(
        (row) => row.request === write.row.request && row.approver === write.row.approver,
      );
      this.rows.splice(at < 0 ? this.rows.length : at, at < 0 ? 0 : 1, write.row);
    }
    if (write.write === "approval-expiry") {
      const left = this.rows.filter(({ expiry }) => expiry > write.at);
      this.rows.splice(0, this.rows.length, ...left);
    }
  }
}

const refuses = (code: Parameters<typeof isCairnError>[1], promise: Promise<unknown>) =>
  assert.rejects(promise, (error) => isCairnError(error, code));

type Step =
  | "request"
  | "restart"
  | { readonly who: number; readonly of: "this" | "another"; readonly late: boolean };

test("whatever comes in whatever order, voting opens when m distinct people have approved exactly this request, and not before", async () => {
  const approval = fc.record({
    who: fc.nat(people.length),
    of: fc.constantFrom("this" as const, "this" as const, "another" as const),
    late: fc.boolean(),
  });
  const steps = fc
    .tuple(
      fc.array(fc.oneof({ weight: 6, arbitrary: approval }, fc.constant("restart" as const)), {
        maxLength: 14,
      }),
      fc.nat(14),
    )
    .map(([before, at]): Step[] => [...before.slice(0, at), "request", ...before.slice(at)]);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: people.length }), steps, async (m, all) => {
      let bench = new Bench(m);
      const given = new Set<string>();
      let here = false;
      for (const step of all) {
        if (step === "request") {
          here = true;
          await bench.arrive();
        } else if (step === "restart") {
          bench = new Bench(m, bench.rows);
          if (here) await bench.arrive();
        } else {
          const signer = people[step.who] ?? auditor;
          const change = {
            ...(step.of === "this" ? {} : { requestHash: hashOf("another") as RequestHash }),
            ...(step.late ? { createdAt: 1 as UnixMs } : {}),
          };
          await bench.take(approvalOf(signer, change));
          if (step.of === "this" && signer !== auditor) given.add(signer.publicKey);
        }
        assert.equal(bench.isOpen, here && given.size >= m);
        assert.equal(
          bench.spend?.row.reason,
          !here ? undefined : given.size >= m ? null : "policy-approvals",
        );
        const standing = bench.book.standing(request, {
          outputs: [{ address: "a", amountSats: 1_000n as Sats }],
        });
        assert.deepEqual(new Set(standing?.given), given);
      }
      if (bench.isOpen) assert.ok(readMetadata(bench.spend?.row.metadata ?? "").approvers.length >= m);
    }),
    { numRuns: 150 },
  );
});

test("what pays no more than the policy's amount waits for nobody", async () => {
  const bench = new Bench(2);
  await bench.arrive(999n);
  assert.ok(bench.isOpen);
});

test("a policy that asks for fewer approvals, once in force, opens what waited for more", async () => {
  const [ann] = people;
  assert.ok(ann);
  const bench = new Bench(3);
  await bench.arrive();
  await bench.take(approvalOf(ann));
  await bench.ask(2);
  assert.equal(bench.isOpen, false);
  await bench.ask(1);
  assert.ok(bench.isOpen);
});

test("news is told to everybody but the one it came from; what is known, or lasts about as long, is not told again", async () => {
  const [ann] = people;
  assert.ok(ann);
  const bench = new Bench(1);
  await bench.take(approvalOf(ann, { expiry: HOUR as UnixMs }), 3 as NodeIndex);
  assert.deepEqual(
    bench.posted.map(({ to }) => to),
    [2, 4, 5],
  );
  await bench.take(approvalOf(ann, { expiry: HOUR as UnixMs }), 4 as NodeIndex);
  await bench.take(approvalOf(ann, { expiry: (HOUR + MINUTE - 1) as UnixMs }));
  assert.equal(bench.posted.length, 3);
  await bench.take(approvalOf(ann, { expiry: (HOUR + MINUTE) as UnixMs }));
  assert.equal(bench.posted.length, 7);
  assert.equal(
    new Set(bench.posted.map(({ id }) => id)).size,
    2,
    "a peer that still waits for the first gets both",
  );
  bench.now = HOUR + MINUTE;
  assert.deepEqual(bench.book.given(request), []);
  await bench.take(approvalOf(ann, { expiry: (bench.now + 1) as UnixMs }));
  assert.deepEqual(bench.book.given(request), [ann.publicKey]);
  assert.equal(bench.rows.length, 1);
});

test("what is refused is not kept, not told, and holds nothing up", async () => {
  const [ann, bob] = people;
  assert.ok(ann && bob);
  const bench = new Bench(1);
  await bench.arrive();
  await refuses("unknown-approver", bench.take(approvalOf(namedSigner("stranger"))));
  await refuses("signature-invalid", bench.take(approvalOf(ann, { approver: bob.publicKey })));
  await refuses("wrong-cluster", bench.take(approvalOf(ann, { cluster: hashOf("other") as never })));
  await refuses("clock-skew", bench.take(approvalOf(ann, { createdAt: 1_001 as UnixMs })));
  bench.now = HOUR;
  await refuses("expired", bench.take(approvalOf(ann, { expiry: HOUR as UnixMs })));
  assert.deepEqual([bench.rows, bench.posted, bench.isOpen], [[], [], false]);
});

test("an approver can't fill a node with approvals of requests that nobody sent; those of live ones and of others go on", async () => {
  const [ann, bob] = people;
  assert.ok(ann && bob);
  const bench = new Bench(2);
  const early = (number: number, expiry = EXPIRY) =>
    approvalOf(ann, { requestHash: hashOf(`early ${number}`) as RequestHash, expiry });
  for (let number = 0; number < 256; number += 1)
    await bench.take(early(number, (number === 0 ? HOUR : EXPIRY) as UnixMs));
  await refuses("busy", bench.take(early(256)));
  await bench.take(approvalOf(bob, { requestHash: hashOf("early 256") as RequestHash }));
  await bench.arrive();
  await bench.take(approvalOf(ann));
  await bench.take(approvalOf(bob));
  assert.ok(bench.isOpen);
  await refuses("busy", bench.take(early(256)));
  bench.now = HOUR;
  await bench.take(early(256));
});

test("what has expired is forgotten, in memory and on the disk", async () => {
  const [ann, bob] = people;
  assert.ok(ann && bob);
  const bench = new Bench(2);
  await bench.take(approvalOf(ann, { expiry: HOUR as UnixMs }));
  await bench.take(approvalOf(bob));
  bench.now = HOUR;
  await bench.loop.run((batch) => bench.book.prune(batch));
  assert.deepEqual(
    bench.rows.map(({ approver }) => approver),
    [bob.publicKey],
  );
  assert.deepEqual(bench.book.given(request), [bob.publicKey]);
  await bench.arrive();
  assert.equal(bench.isOpen, false);
});
