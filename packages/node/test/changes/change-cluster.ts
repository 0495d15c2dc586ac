import { randomBytes } from "node:crypto";
import {
  type BanLift,
  CairnError,
  type Change,
  type ChangeCommit,
  type Courier,
  changeProposalHash,
  type Ed25519Signer,
  formChangeCommit,
  type HashHex,
  isCairnError,
  type Manifest,
  manifestHash,
  type NodeIndex,
  type NodeStore,
  type PeerMessage,
  type Policy,
  policyHash,
  type SignedChangeProposal,
  signChange,
  signChangeProposal,
  signChangeVote,
  type UnixMs,
} from "@cairn/core";
import { ManualClock, namedSigner, openPolicy, testManifest } from "@cairn/core/test-support";
import {
  ChangeCatchUp,
  ChangeDesk,
  type ChangeProgress,
  Loop,
  ManifestBook,
  SyncAnswers,
  SyncQuestions,
} from "@cairn/runtime";
import { AuditLog, MemoryDisk, openMemoryStore } from "@cairn/storage";

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
const SKEW_MS = 30_000;

/** A message on its way. Posted ones stay until handled. */
interface Waiting {
  readonly from: NodeIndex;
  readonly to: NodeIndex;
  readonly id: string | null;
  readonly message: PeerMessage;
}

export interface ChangeNode {
  readonly index: NodeIndex;
  readonly clock: ManualClock;
  readonly store: NodeStore;
  readonly desk: ChangeDesk;
  readonly book: ManifestBook;
  readonly catchUp: ChangeCatchUp;
  readonly questions: SyncQuestions;
  readonly answers: SyncAnswers;
  readonly loop: Loop;
  /** What its desk told, in order: state and proposal. */
  readonly told: { readonly state: string; readonly progress: ChangeProgress }[];
  readonly lifted: { readonly node: NodeIndex; readonly violations: readonly HashHex[] }[];
}

/** Change desks of several nodes over memory stores, with a network that a test holds in its hand. Each node has a clock of its own. */
export class ChangeCluster {
  readonly manifest: Manifest;
  readonly policy: Policy;
  readonly nodes = new Map<NodeIndex, ChangeNode>();
  readonly reported: unknown[] = [];
  /** Refusals for good, as the inbox would write them down. */
  readonly refused: { readonly to: NodeIndex; readonly kind: string; readonly code: string }[] = [];
  readonly away = new Set<number>();
  waiting: Waiting[] = [];
  readonly #disks = new Map<NodeIndex, MemoryDisk>();
  readonly #clocks = new Map<NodeIndex, ManualClock>();

  constructor(change: { readonly [Field in keyof Manifest]?: unknown } = {}, total = 5) {
    this.policy = openPolicy({ perTransactionMaxSats: 1_000 });
    this.manifest = testManifest(
      Array.from({ length: total }, (_, at) => ({ identity: namedSigner(`node ${at + 1}`).publicKey })),
      {
        policy: policyHash(this.policy),
        changeDelayMs: 24 * HOUR,
        requesters: [namedSigner("owner").publicKey],
        createdAt: 1_600_000_000_000,
        ...change,
      },
    );
  }

  static async start(change: { readonly [Field in keyof Manifest]?: unknown } = {}, total = 5) {
    const cluster = new ChangeCluster(change, total);
    for (const { index } of cluster.manifest.members) await cluster.startNode(index);
    return cluster;
  }

  /** Starts a node over what its disk holds, and lets what fell due meanwhile happen. */
  async startNode(index: NodeIndex): Promise<ChangeNode> {
    const disk = this.#disks.get(index) ?? new MemoryDisk();
    const clock = this.#clocks.get(index) ?? new ManualClock();
    this.#disks.set(index, disk);
    this.#clocks.set(index, clock);
    const store = openMemoryStore({ disk });
    const signer = namedSigner(`node ${index}`);
    const send = (to: NodeIndex, id: string | null, message: PeerMessage) =>
      this.waiting.push({ from: index, to, id, message });
    const courier: Courier = {
      send: (to: NodeIndex, message: PeerMessage) => void send(to, null, message),
      posting: (to: NodeIndex, id: string, message: PeerMessage) => ({
        write: "outbox",
        row: { to, id, kind: message.kind, message: message.payload, createdAt: clock.now() },
      }),
      kick: () => {},
      start: async () => {},
      peers: () => [],
      setRefused: () => {},
      useSealingKeys: () => {},
      close: async () => {},
    };
    // What the store takes into its outbox is on its way.
    const commit: NodeStore["commit"] = async (writes) => {
      await store.commit(writes.filter(({ write }) => write !== "outbox"));
      for (const write of writes) {
        if (write.write !== "outbox") continue;
        const { to, id, kind } = write.row;
        const known = this.waiting.some((each) => each.from === index && each.to === to && each.id === id);
        const payload = write.row.message;
        const message = { kind, session: null, round: 0, payload, trace: null } as PeerMessage;
        if (!known) send(to, id, message);
      }
    };
    const report = (cause: unknown) => void this.reported.push(cause);
    const audit = await AuditLog.create(
      { cluster: this.manifest.cluster, node: index },
      { store, signer, clock },
    );
    const loop = new Loop({ store: { commit }, courier, audit, report });
    const book = await ManifestBook.open({ manifest: this.manifest, policy: this.policy }, store);
    const told: { state: string; progress: ChangeProgress }[] = [];
    const lifted: { node: NodeIndex; violations: readonly HashHex[] }[] = [];
    const desk = new ChangeDesk(
      { me: index, clockSkewMs: SKEW_MS },
      {
        loop,
        store,
        signer,
        clock,
        book,
        liftBans: (_batch, node, violations) => void lifted.push({ node, violations }),
        inForce: () => {},
        changed: (progress) => void told.push({ progress, state: progress.standing }),
        report,
      },
    );
    await desk.restore();
    const random = { bytes: (length: number) => new Uint8Array(randomBytes(length)) };
    const questions = new SyncQuestions({ courier, clock, random, book });
    for (const member of this.manifest.members) questions.peer(member.index, true);
    const catchUp = new ChangeCatchUp({ questions, clock, book, changes: desk, report });
    // Of the topics, changes alone are asked for here.
    const unasked = {} as never;
    const answers = new SyncAnswers({
      courier,
      clock,
      book,
      changes: desk,
      keys: unasked,
      bans: unasked,
      spends: unasked,
      report,
    });
    const node = { index, clock, store, desk, book, catchUp, questions, answers, loop, told, lifted };
    this.nodes.set(index, node);
    desk.resume();
    clock.advance(0);
    await settled();
    return node;
  }

  async restart(index: number): Promise<ChangeNode> {
    const node = this.node(index);
    node.desk.close();
    await node.loop.close(new CairnError("closed", "restart"));
    await node.store.close();
    return this.startNode(node.index);
  }

  node(index: number): ChangeNode {
    const node = this.nodes.get(index as NodeIndex);
    if (node === undefined) throw new RangeError(`no node ${index}`);
    return node;
  }

  /** Delivers a waiting message; it stays when its recipient is away or asks for another delivery. `keep` delivers it once more later. */
  async deliver(entry: Waiting, keep = false): Promise<void> {
    const { from, to, id, message } = entry;
    if (this.away.has(to) || this.away.has(from)) {
      if (id === null) this.waiting = this.waiting.filter((each) => each !== entry);
      return;
    }
    const { desk, catchUp, questions, answers } = this.node(to);
    if (!keep) this.waiting = this.waiting.filter((each) => each !== entry);
    try {
      switch (message.kind) {
        case "change":
          await desk.onProposal(message.payload);
          break;
        case "change-vote":
          await desk.onVote(message.payload);
          break;
        case "change-commit":
          await desk.onCommit(from, message.payload);
          break;
        case "sync-request":
          answers.onRequest(from, message.payload);
          break;
        case "sync-answer":
          questions.onAnswer(from, message.payload);
          break;
        default:
          throw new Error(`unexpected ${message.kind}`);
      }
    } catch (error) {
      if (!isCairnError(error)) throw error;
      const again = catchUp.asksFor(error, from) || error.code === "busy" || error.code === "clock-skew";
      if (again && id !== null && !keep) this.waiting.push(entry);
      if (!again) this.refused.push({ to, kind: message.kind, code: error.code });
    }
    await settled();
  }

  /** Delivers all that can be delivered, in the order that `pick` says: first come, first served by default. */
  async exchange(pick: (entries: readonly Waiting[]) => number = () => 0): Promise<void> {
    for (let quiet = 0; quiet <= this.waiting.length; ) {
      const open = this.waiting.filter(
        ({ from, to, id }) => id === null || (!this.away.has(to) && !this.away.has(from)),
      );
      const entry = open[Math.min(open.length - 1, pick(open))];
      if (entry === undefined) return;
      await this.deliver(entry);
      // Whatever asks for another delivery goes to the end of the row.
      quiet = this.waiting.includes(entry) ? quiet + 1 : 0;
      if (quiet > open.length) return;
    }
  }

  /** Lets time pass at all nodes, and delivers what follows. */
  async pass(ms: number): Promise<void> {
    for (const clock of this.#clocks.values()) clock.advance(ms);
    await settled();
    await this.exchange();
  }

  /** What is in force at each node, as hashes. */
  hashes(): string[] {
    return [...this.nodes.values()].map(({ book }) => book.manifestHash);
  }

  states(proposal: HashHex): string[] {
    return [...this.nodes.values()].map(
      ({ desk }) => desk.list().find(({ row }) => row.proposal === proposal)?.row.state ?? "unknown",
    );
  }

  /** A successor of what is in force at `at`. */
  successor(change: Partial<Manifest>, delayMs = 0, at = 1): Manifest {
    const { book, clock } = this.node(at);
    const now = clock.now();
    return {
      ...book.manifest,
      sequence: book.manifest.sequence + 1,
      previous: book.manifestHash,
      createdAt: now,
      effectiveAt: (now + delayMs) as UnixMs,
      ...change,
    };
  }

  policyChange(limit: bigint, delayMs = 0, at = 1): Change {
    const { book } = this.node(at);
    const policy: Policy = {
      ...book.policy,
      policyVersion: book.policy.policyVersion + 1,
      perTransactionMaxSats: limit as Policy["perTransactionMaxSats"],
    };
    const { policyVersion } = policy;
    return {
      type: "manifest",
      manifest: this.successor({ policy: policyHash(policy), policyVersion }, delayMs, at),
      policy,
    };
  }

  banLift(node: number, violations: readonly HashHex[]): Change {
    const { book, clock } = this.node(1);
    const now = clock.now();
    const lift: BanLift = {
      version: 1,
      cluster: this.manifest.cluster,
      manifestHash: book.manifestHash,
      node: node as NodeIndex,
      violations: [...violations],
      createdAt: now,
      effectiveAt: (now + this.manifest.changeDelayMs) as UnixMs,
    };
    return { type: "ban-lift", lift };
  }

  proposal(change: Change, by = 1, lifeMs = HOUR): SignedChangeProposal {
    const { book, clock } = this.node(by);
    const operator = operatorKey(by);
    const now = clock.now();
    return signChangeProposal(
      {
        version: 1,
        cluster: this.manifest.cluster,
        manifestHash: book.manifestHash,
        change,
        createdAt: now,
        expiry: (now + lifeMs) as UnixMs,
        operator: operator.publicKey,
      },
      operator,
    );
  }

  async propose(change: Change, by = 1, lifeMs = HOUR): Promise<HashHex> {
    const signed = this.proposal(change, by, lifeMs);
    return (await this.node(by).desk.propose(signed)).row.proposal;
  }

  /** Each of these operators signs at its own node. */
  async sign(proposal: HashHex, operators: readonly number[]): Promise<void> {
    for (const index of operators) {
      const { desk } = this.node(index);
      const { change } = desk.get(proposal).signed.body;
      await desk.sign(proposal, signChange(change, operatorKey(index)));
      await settled();
    }
  }

  /** A commit by these nodes, made by somebody who holds their keys. */
  commitOf(
    signed: SignedChangeProposal,
    nodes: readonly number[],
    manifest = this.manifest,
  ): ChangeCommit | null {
    const hash = manifestHash(manifest);
    const votes = nodes.map((index) =>
      signChangeVote(
        {
          version: 1,
          cluster: manifest.cluster,
          manifestHash: hash,
          proposal: changeProposalHash(signed.body),
          node: index as NodeIndex,
          approve: true,
          reason: null,
          operatorSignature: signChange(signed.body.change, operatorKey(index)),
        },
        namedSigner(`node ${index}`),
      ),
    );
    return formChangeCommit(signed, votes, { manifest, manifestHash: hash });
  }
}

export const operatorKey = (index: number): Ed25519Signer => namedSigner(`operator ${index}`);

/** Lets all work that waits for nothing but the memory store end. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 40; turn += 1) await Promise.resolve();
  await new Promise((resolve) => setImmediate(resolve));
}
