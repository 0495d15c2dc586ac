import assert from "node:assert/strict";
import { before, test } from "node:test";
import { MemoryChainSource } from "@cairn/bitcoin";
import { type Intent, intentHash, intentSchema } from "@cairn/consensus";
import {
  decodeCanonical,
  encodeCanonical,
  type IntentHash,
  isCairnError,
  type NodeIndex,
  type NodeStore,
  type PeerMessage,
  type Sats,
  type StoreWrite,
  type SyncAnswer,
  type SyncRecord,
  syncAnswerSchema,
  syncRequestSchema,
  type UnixMs,
} from "@cairn/core";
import { ManualClock } from "@cairn/core/test-support";
import type { SyncAnswers } from "@cairn/runtime";
import { MemoryDisk, type MemoryFault, openMemoryStore } from "@cairn/storage";
import fc from "fast-check";
import { z } from "zod";
import { type MissedSpend, missedSpend } from "./missed-spend.ts";
import { answeringPeer, type SyncingNode, spendDesk, syncingNode, watched } from "./syncing-node.ts";

const BEGAN = 1_800_000_000_000 as UnixMs;
const me = 1 as NodeIndex;
const liar = 3 as NodeIndex;
const honest = [2, 4, 5] as NodeIndex[];
const peers = [2, 3, 4, 5] as NodeIndex[];
const MAX_AUDIT = 10_000;
/** How long after its time a change may become durable at a peer; what peers list again covers more. */
const MAX_LATE_MS = 4_000;

/** How far a peer knows a spend: not at all, by its intent and 0, 1, 2 or 3 votes, by its certificate, by its signatures. */
const levels = { none: 0, intent: 1, votes: 4, certified: 5, signed: 6 } as const;
/** How far each spend ever came: two are six deep in the chain, one is there, one waits for it, two were never signed. */
const reached = [
  levels.signed,
  levels.signed,
  levels.signed,
  levels.signed,
  levels.certified,
  levels.votes,
] as const;
const chain = new MemoryChainSource();
let spends: readonly MissedSpend[] = [];
/** What a peer's store holds of each spend at each level. */
const shelves: (readonly StoreWrite[])[][] = [];
let known: ReadonlyMap<string, MissedSpend> = new Map();

function recordsOf(spend: MissedSpend, level: number): readonly SyncRecord[] {
  if (level >= levels.signed) return [spend.intent, spend.certificate, spend.final];
  if (level === levels.certified) return [spend.intent, spend.certificate];
  return [spend.intent, ...spend.votes.slice(0, level - levels.intent)];
}

before(async () => {
  spends = reached.map((_, at) => missedSpend(chain, at, BEGAN));
  known = new Map(spends.map((spend) => [spend.hash, spend]));
  for (const { raw } of spends.slice(0, 2)) await chain.broadcast(raw);
  chain.mine(6);
  await chain.broadcast(spends[2]?.raw ?? new Uint8Array());
  chain.mine();
  await chain.broadcast(spends[3]?.raw ?? new Uint8Array());
  for (const [at, spend] of spends.entries()) {
    const rows: (readonly StoreWrite[])[] = [[]];
    for (let level: number = levels.intent; level <= (reached[at] ?? 0); level += 1)
      rows.push(await shelfOf(spend, level));
    shelves.push(rows);
  }
});

/** What a node stores that was told a spend from the beginning. */
async function shelfOf({ hash, ...spend }: MissedSpend, level: number): Promise<readonly StoreWrite[]> {
  const store = openMemoryStore();
  const writes: StoreWrite[] = [];
  const seen = watched(store, (made) => writes.push(...made));
  const desk = await spendDesk(liar, { store: seen, chain, clock: new ManualClock(BEGAN), report: unwanted });
  await desk.spends.sync.take(liar, desk.spends.sync.read(recordsOf({ hash, ...spend }, level)));
  await store.close();
  return writes.filter(({ write }) => write !== "audit" && write !== "meta" && write !== "reservation");
}

function unwanted(cause: unknown): never {
  throw cause;
}

const certificateShape = z.looseObject({ votes: z.array(z.unknown()) });

function altered({ kind, body }: SyncRecord, at: number): SyncRecord {
  const place = at % body.length;
  return { kind, body: body.map((byte, each) => (each === place ? byte ^ (1 << (at % 8)) : byte)) };
}

function invented(at: number): SyncAnswer["holdings"][number] {
  const intent = `${at}`.padStart(64, "0") as IntentHash;
  return { intent, certified: true, signed: true, votes: 4, voids: 0, yours: [], yourVoid: false };
}

/** A spend of which its owner signed less. */
function madeUp(at: number): { readonly record: SyncRecord; readonly hash: IntentHash } {
  const intent = decodeCanonical(intentSchema, spends[at]?.intent.body ?? new Uint8Array());
  const body = { ...intent.request.body, maxFeeSats: (intent.request.body.maxFeeSats + 1n) as Sats };
  const other: Intent = { ...intent, request: { ...intent.request, body } };
  return {
    record: { kind: "intent", body: new Uint8Array(encodeCanonical(other)) },
    hash: intentHash(other),
  };
}

/** What a lying peer makes of an answer. */
type Lie = (answer: SyncAnswer, at: number) => SyncAnswer;

const onRecords =
  (change: (records: readonly SyncRecord[], at: number) => SyncRecord[]): Lie =>
  (answer, at) => ({ ...answer, records: change(answer.records, at) });

const lies: Readonly<Record<string, Lie>> = {
  nothing: (answer) => answer,
  "leaves out records": onRecords((records, at) => records.filter((_, each) => each !== at % records.length)),
  "leaves out all records": onRecords(() => []),
  "leaves out holdings": (answer, at) => ({
    ...answer,
    holdings: answer.holdings.filter((_, each) => each !== at % answer.holdings.length),
  }),
  "says that it holds nothing": (answer) => ({ ...answer, holdings: [], records: [], more: false }),
  "alters a byte": onRecords((records, at) =>
    records.map((record, each) => (each === at % records.length ? altered(record, at) : record)),
  ),
  "hands over one spend's proof with another's intent": onRecords((records, at) =>
    records.map((record) => {
      const spend = spends[at % spends.length];
      return record.kind === "intent" && spend !== undefined ? spend.intent : record;
    }),
  ),
  "hands over a record twice": onRecords((records, at) =>
    records.flatMap((record, each) => (each === at % records.length ? [record, record] : [record])),
  ),
  "turns the records round": onRecords((records) => records.toReversed()),
  "hands over spends that nobody asked for": (answer, at) => {
    const spend = spends[at % spends.length];
    if (answer.topic !== "spends" || answer.holdings.length > 0 || spend === undefined) return answer;
    return { ...answer, records: [...answer.records, ...recordsOf(spend, 1)] };
  },
  "takes votes out of certificates": onRecords((records) =>
    records.map((record) => {
      if (record.kind !== "certificate") return record;
      const certificate = decodeCanonical(certificateShape, record.body);
      const fewer = { ...certificate, votes: certificate.votes.slice(1) };
      return { kind: record.kind, body: new Uint8Array(encodeCanonical(fewer)) };
    }),
  ),
  "signs for others": onRecords((records, at) =>
    records.map((record) =>
      record.kind === "final" ? altered(record, record.body.length - 1 - (at % 8)) : record,
    ),
  ),
  "invents what it holds": (answer, at) => ({
    ...answer,
    holdings:
      answer.topic === "spends" && answer.records.length === 0 ? [...answer.holdings, invented(at)] : [],
  }),
  "makes up a spend, in its owner's name": (answer, at) => {
    const { record, hash } = madeUp(at % spends.length);
    return answer.records.length > 0 || answer.cursor === null
      ? { ...answer, holdings: [], records: [...answer.records, record] }
      : { ...answer, holdings: [...answer.holdings.slice(1), { ...invented(0), intent: hash }] };
  },
  "exaggerates what it holds": (answer) => ({
    ...answer,
    holdings: answer.holdings.map((holding) => ({
      ...holding,
      certified: true,
      signed: true,
      votes: 9,
      voids: 9,
      yours: [1],
      yourVoid: true,
    })),
  }),
  "leads back": (answer) => ({ ...answer, more: true, cursor: null }),
  "leads on": (answer, at) => ({ ...answer, more: true, cursor: `${at}/${"0".repeat(64)}` }),
  "answers another question": (answer) => ({ ...answer, nonce: "0".repeat(64) as SyncAnswer["nonce"] }),
};

type Step =
  | { readonly do: "deliver" | "repeat" | "drop"; readonly which: number }
  | { readonly do: "go on"; readonly messages: number }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "restart" }
  | { readonly do: "fault"; readonly fault: MemoryFault; readonly after: number }
  | { readonly do: "leave" | "come"; readonly peer: NodeIndex }
  | {
      readonly do: "learn";
      readonly peer: NodeIndex;
      readonly spend: number;
      readonly level: number;
      readonly lateMs: number;
    };

interface Scene {
  /** How far each honest peer knows each spend at first, in the order of {@link honest}. */
  readonly levels: readonly (readonly number[])[];
  readonly liarLevels: readonly number[];
  /** What the liar makes of its answers, one after another; then it makes nothing of them any more. */
  readonly lies: readonly (readonly [name: string, at: number])[];
  /** The order in which peers come up. */
  readonly order: readonly NodeIndex[];
  readonly steps: readonly Step[];
}

const place = fc.nat(0xffff);
const level = fc.oneof(fc.nat(levels.signed), fc.constant(levels.signed));
const levelsOfOne = fc.array(level, { minLength: reached.length, maxLength: reached.length });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constantFrom("deliver", "repeat", "drop"), which: place }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("go on"), messages: fc.nat(30) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait"), ms: fc.nat(30_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("restart") }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("fault"),
      fault: fc.constantFrom("lost", "unacknowledged", "full"),
      after: fc.nat(8),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom("leave", "come"), peer: fc.constantFrom(...peers) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("learn"),
      peer: fc.constantFrom(...honest),
      spend: fc.nat(reached.length - 1),
      level,
      lateMs: fc.nat(MAX_LATE_MS),
    }),
  },
) as fc.Arbitrary<Step>;
const scene: fc.Arbitrary<Scene> = fc.record({
  levels: fc.array(levelsOfOne, { minLength: honest.length, maxLength: honest.length }),
  liarLevels: levelsOfOne,
  lies: fc
    .array(fc.tuple(fc.constantFrom(...Object.keys(lies)), place, fc.integer({ min: 1, max: 4 })), {
      maxLength: 6,
      size: "max",
    })
    .map((some) =>
      some.flatMap(([name, at, times]) => Array.from({ length: times }, () => [name, at] as const)),
    ),
  order: fc.shuffledSubarray(peers, { minLength: peers.length }),
  steps: fc.array(step, { maxLength: 60, size: "max" }),
});

/** A node that missed everything, its peers, and all that is on its way between them. */
class Run {
  readonly clock = new ManualClock(BEGAN);
  readonly #scene: Scene;
  readonly #levels = new Map<NodeIndex, number[]>();
  readonly #stores = new Map<NodeIndex, NodeStore>();
  readonly #answers = new Map<NodeIndex, SyncAnswers>();
  readonly #up = new Set<NodeIndex>();
  readonly #disk = new MemoryDisk();
  readonly #wrong: unknown[] = [];
  readonly #underWay: { readonly peer: NodeIndex; readonly asks: boolean; readonly payload: Uint8Array }[] =
    [];
  #fault: { readonly fault: MemoryFault; after: number } | null = null;
  #failed = false;
  #lied = 0;
  #store!: NodeStore;
  #node!: SyncingNode;

  constructor(plan: Scene) {
    this.#scene = plan;
    const most = (at: number) =>
      Math.max(...plan.levels.map((own) => Math.min(own[at] ?? 0, reached[at] ?? 0)));
    for (const [at, peer] of honest.entries())
      this.#levels.set(
        peer,
        (plan.levels[at] ?? []).map((one, spend) => Math.min(one, reached[spend] ?? 0)),
      );
    // What the liar alone can prove would be taken in as well: it has nothing of that.
    this.#levels.set(
      liar,
      plan.liarLevels.map((one, spend) => Math.min(one, most(spend))),
    );
  }

  async begin(): Promise<void> {
    for (const peer of peers) {
      this.#stores.set(peer, openMemoryStore());
      for (const at of spends.keys()) await this.#shelve(peer, at, this.#levels.get(peer)?.[at] ?? 0);
      await this.#open(peer);
    }
    await this.#start();
    for (const peer of this.#scene.order) this.#come(peer);
  }

  async play(): Promise<void> {
    for (const each of this.#scene.steps) {
      await this.#play(each);
      await settled();
      this.#check();
    }
  }

  /** Nothing is lost any more, and the node asks whom it has not asked since: then it holds what it can. */
  async end(): Promise<void> {
    this.#fault = null;
    if (this.#failed) await this.#restart();
    for (const peer of peers) this.#come(peer);
    for (let twice = 0; twice < 2; twice += 1) {
      const since = this.clock.now();
      this.clock.advance(1);
      for (const peer of peers) this.#node.sync.current(peer);
      for (let turn = 0; !this.#isWhole(since); turn += 1) {
        assert.ok(
          turn < 2_000,
          `the node never comes to an end: ${JSON.stringify(this.#node.sync.status())}`,
        );
        if (this.#underWay.length > 0) this.#deliver(0);
        else this.clock.advance(1_000);
        await settled();
        this.#check();
      }
    }
  }

  /** Exactly what honest peers can prove, and each once. */
  async judge(): Promise<void> {
    const rows = await this.#store.transactions({ limit: 100 });
    const entries = await this.#store.audit({ from: 0, limit: MAX_AUDIT });
    for (const [at, { hash, hex, claimSats }] of spends.entries()) {
      const level = Math.max(...honest.map((peer) => this.#levels.get(peer)?.[at] ?? 0));
      const held = rows.filter(({ intent }) => intent === hash);
      assert.equal(held.length, level === levels.none ? 0 : 1, `spend ${at} at level ${level}`);
      const [row] = held;
      const said = (kind: string) =>
        entries.filter(
          (entry) => entry.kind === kind && decodeCanonical(subjectShape, entry.body).subject === hash,
        ).length;
      assert.equal(said("intent-stored") + said("payment-synced"), held.length, `spend ${at} came in once`);
      assert.ok(said("transaction-signed") <= 1, `spend ${at} was signed once`);
      if (row === undefined) continue;
      assert.equal(row.signedTx, level === levels.signed ? hex : null, `signatures of spend ${at}`);
      assert.equal(row.certificate !== null, level >= levels.certified, `certificate of spend ${at}`);
      const votes = await this.#store.votes(hash);
      if (level < levels.certified) assert.equal(votes.length, level - levels.intent, `votes of spend ${at}`);
      const claim = await this.#store.reservation(row.lineage);
      assert.equal(
        claim?.amountSats,
        level >= levels.certified ? claimSats : undefined,
        `limits, spend ${at}`,
      );
      assert.ok((claim?.intents.length ?? 0) <= 1);
    }
    assert.equal(rows.length, rows.filter(({ intent }) => known.has(intent)).length);
    assert.deepEqual(
      [...this.#node.bans.refused()].filter((node) => node !== liar),
      [],
    );
  }

  async close(): Promise<void> {
    await this.#node.close();
    for (const store of this.#stores.values()) await store.close();
  }

  async #play(each: Step): Promise<void> {
    switch (each.do) {
      case "deliver":
      case "repeat":
      case "drop": {
        if (this.#underWay.length === 0) return;
        const at = each.which % this.#underWay.length;
        if (each.do === "drop") this.#underWay.splice(at, 1);
        else this.#deliver(at, each.do === "repeat");
        return;
      }
      case "go on":
        for (let left = each.messages; left > 0 && this.#underWay.length > 0; left -= 1) {
          this.#deliver(0);
          await settled();
        }
        return;
      case "wait":
        return this.clock.advance(each.ms);
      case "restart":
        return this.#restart();
      case "fault":
        this.#fault = { fault: each.fault, after: each.after };
        return;
      case "leave":
        this.#up.delete(each.peer);
        return this.#node.questions.peer(each.peer, false);
      case "come":
        return this.#come(each.peer);
      case "learn": {
        const own = this.#levels.get(each.peer);
        const level = Math.min(each.level, reached[each.spend] ?? 0);
        if (own === undefined || level <= (own[each.spend] ?? 0)) return;
        own[each.spend] = level;
        await this.#shelve(each.peer, each.spend, level, each.lateMs);
        await this.#open(each.peer);
      }
    }
  }

  async #shelve(peer: NodeIndex, spend: number, level: number, lateMs = 0): Promise<void> {
    // Changes at one peer are some time apart, so that no two of them share their place in its list.
    this.clock.advance(1);
    const updatedAt = (this.clock.now() - lateMs) as UnixMs;
    const store = this.#stores.get(peer);
    const before = await store?.votes(spends[spend]?.hash as IntentHash);
    const writes = (shelves[spend]?.[level] ?? []).flatMap((write): readonly StoreWrite[] => {
      if (write.write === "transaction") return [{ ...write, row: { ...write.row, updatedAt } }];
      const again = write.write === "vote" && before?.some(({ voter }) => voter === write.row.voter);
      return again ? [] : [write];
    });
    await store?.commit(writes);
  }

  async #open(peer: NodeIndex): Promise<void> {
    const store = this.#stores.get(peer);
    assert.ok(store);
    const send = (_: NodeIndex, { payload }: PeerMessage) =>
      void this.#underWay.push({ peer, asks: false, payload: peer === liar ? this.#lie(payload) : payload });
    const report = (cause: unknown) => void this.#wrong.push(cause);
    this.#answers.set(peer, await answeringPeer(peer, { store, chain, clock: this.clock, report }, send));
  }

  #lie(payload: Uint8Array): Uint8Array {
    const answer = decodeCanonical(syncAnswerSchema, payload);
    if (answer.topic !== "spends") return payload;
    const [name, at] = this.#scene.lies[this.#lied] ?? ["nothing", 0];
    this.#lied += 1;
    return encodeCanonical(lies[name]?.(answer, at));
  }

  async #start(): Promise<void> {
    const fault = () => {
      if (this.#fault === null || this.#fault.after-- > 0) return null;
      const { fault: befalls } = this.#fault;
      this.#fault = null;
      this.#failed = befalls !== "full";
      return befalls;
    };
    this.#store = watched(openMemoryStore({ disk: this.#disk, fault }), (writes) => {
      for (const write of writes) this.#prove(write);
    });
    const modules = {
      store: this.#store,
      chain,
      clock: this.clock,
      report: (cause: unknown) => void this.#wrong.push(cause),
    };
    this.#node = await syncingNode(me, modules, (peer, { payload }) => {
      if (this.#up.has(peer)) this.#underWay.push({ peer, asks: true, payload });
    });
  }

  async #restart(): Promise<void> {
    await this.#node.close();
    this.#fault = null;
    this.#failed = false;
    await this.#start();
    for (const peer of this.#up) this.#come(peer);
  }

  #come(peer: NodeIndex): void {
    this.#up.add(peer);
    this.#node.questions.peer(peer, true);
    this.#node.sync.current(peer);
  }

  #deliver(at: number, again = false): void {
    const message = again ? this.#underWay[at] : this.#underWay.splice(at, 1)[0];
    if (message === undefined) return;
    const { peer, asks, payload } = message;
    try {
      if (asks) this.#answers.get(peer)?.onRequest(me, inSmallPages(payload));
      else this.#node.questions.onAnswer(peer, payload);
    } catch (error) {
      if (!isCairnError(error)) this.#wrong.push(error);
    }
  }

  #isWhole(since: number): boolean {
    const { peers: standings } = this.#node.sync.status();
    return standings.every(({ node, wholeAt }) => node === liar || (wholeAt !== null && wholeAt > since));
  }

  /** Nothing that is not proven ever gets as far as a commit. */
  #prove(write: StoreWrite): void {
    const fail = (what: string) => void this.#wrong.push(new Error(`the node stores ${what}`));
    switch (write.write) {
      case "transaction": {
        const { intent, signedTx, certificate } = write.row;
        const spend = known.get(intent);
        if (spend === undefined) return fail(`a spend that nobody made: ${intent}`);
        if (signedTx !== null && signedTx !== spend.hex) fail("signatures that nobody made");
        if (certificate !== null && !same(certificate, spend.certificate.body))
          fail("a certificate of nobody's");
        if (signedTx !== null && certificate === null) fail("signatures without a certificate");
        return;
      }
      case "vote": {
        const { intent, body } = write.row;
        if (known.get(intent)?.votes.some((vote) => same(vote.body, body)) !== true)
          fail("a vote of nobody's");
        return;
      }
      case "void":
        return fail("a void, which nobody signed");
      case "violation":
      case "ban":
        if (write.row.node !== liar) fail(`a fault of node ${write.row.node}, which is honest`);
    }
  }

  #check(): void {
    if (this.#wrong.length > 0) throw this.#wrong[0];
  }
}

const subjectShape = z.looseObject({ subject: z.string() });
const same = (one: Uint8Array, other: Uint8Array) => Buffer.compare(one, other) === 0;

/** A peer may end its answer wherever it likes: two spends make a page. */
function inSmallPages(payload: Uint8Array): Uint8Array {
  return encodeCanonical({ ...decodeCanonical(syncRequestSchema, payload), limit: 2 });
}

/** Lets what was begun go on. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 4; turn += 1) await new Promise(setImmediate);
}

test("whatever happens to answers, and whatever one peer makes of its own, a node ends with exactly what honest peers can prove, once", async () => {
  await fc.assert(
    fc.asyncProperty(scene, async (plan) => {
      const run = new Run(plan);
      await run.begin();
      await run.play();
      await run.end();
      await run.judge();
      await run.close();
    }),
    { numRuns: 60, interruptAfterTimeLimit: 60_000 },
  );
});
