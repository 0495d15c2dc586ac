import {
  CairnError,
  type Clock,
  decodeCanonical,
  type ErrorCode,
  encodeCanonical,
  type IntentHash,
  isCairnError,
  MAX_SYNC_WANTED,
  type NodeIndex,
  type NodeStore,
  type RequestHash,
  type SyncHolding,
  type SyncRecord,
  spendRequestHash,
  type Timer,
  type UnixMs,
  unixMsSchema,
} from "@cairn/core";
import { z } from "zod";
import type { BanDesk } from "./ban-desk.ts";
import type { ChangeCatchUp } from "./change-catch-up.ts";
import type { FenceDesk } from "./fence-desk.ts";
import type { KeygenDesk } from "./keygen-desk.ts";
import type { Loop } from "./loop.ts";
import type { ManifestBook } from "./manifest-book.ts";
import { otherMembers } from "./other-members.ts";
import type { Recollection, RecollectionStatus } from "./recollection.ts";
import type { SpendImport } from "./spend-import.ts";
import type { SyncQuestions } from "./sync-questions.ts";
import { bySpend, type SyncedSpend } from "./synced-spend.ts";

export interface SyncDeskOptions {
  readonly me: NodeIndex;
}

export interface SyncDeskModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "meta">;
  readonly clock: Clock;
  readonly questions: SyncQuestions;
  readonly catchUp: Pick<ChangeCatchUp, "fetch">;
  readonly book: Pick<ManifestBook, "manifest">;
  readonly fence: Pick<FenceDesk, "isCurrent">;
  readonly bans: Pick<BanDesk, "violation" | "onEvidence" | "refused">;
  readonly keys: Pick<KeygenDesk, "takeWallet">;
  readonly spends: Pick<SpendImport, "lacks" | "read" | "take">;
  readonly recollection: Recollection;
  /** What has come of asking a peer. */
  readonly told: (node: NodeIndex, state: SyncStanding["state"], data: SyncedCount) => void;
  /** This node has asked enough peers, and may act again. */
  readonly recalled: () => void;
  readonly report: (cause: unknown) => void;
}

/** Spends that came from a peer: new or more complete here, refused, and named but not handed over. */
export interface SyncedCount {
  readonly taken: number;
  readonly refused: number;
  readonly withheld: number;
}

/** How far this node has come with one peer. */
export interface SyncStanding extends SyncedCount {
  readonly node: NodeIndex;
  /** `waiting` until the peer is up and others have had their turn; `failed`: it is asked again later. */
  readonly state: "waiting" | "asking" | "whole" | "failed";
  /** When it had last told all that it held, by this node's clock, since this process began; or null. */
  readonly wholeAt: UnixMs | null;
  /** Why the last turn failed: an error code, or null. */
  readonly reason: string | null;
}

export interface SyncStatus {
  /** What follows from the loss of this node's database; null where nothing does. */
  readonly recollection: RecollectionStatus | null;
  /** Whether this node abstains from everything until more peers have been heard. */
  readonly abstains: boolean;
  /** Ascending by node. */
  readonly peers: readonly SyncStanding[];
}

/** What is kept of each peer: where to go on, and for which loss of the database it has told all. */
const progressSchema = z.strictObject({
  version: z.literal(1),
  cursor: z.string().max(128).nullable(),
  whole: unixMsSchema.nullable(),
});
type Progress = z.output<typeof progressSchema>;

interface Peer {
  progress: Progress;
  state: SyncStanding["state"];
  wholeAt: UnixMs | null;
  reason: string | null;
  /** Of the turns since it was last asked from where it had been whole. */
  taken: number;
  refused: number;
  withheld: number;
  /** Where the next page of this turn begins; null before the first. */
  reached: string | null;
  /** Whether something must wait, so that what is kept of the place does not go on. */
  held: boolean;
  postponed: Map<IntentHash, string>;
  failures: number;
  timer: Timer | null;
}

/** Time between two turns of a peer that is up. */
const AGAIN_MS = 10 * 60_000;
/** First wait after a turn that failed; it doubles up to {@link AGAIN_MS}. */
const RETRY_MS = 5_000;
/** Pages after which another peer has its turn. */
const PAGES_A_TURN = 16;
/** Spends that are taken in side by side. */
const AT_ONCE = 8;
/** Records that were refused or not handed over after which a turn ends. */
const MAX_FAULTS = 64;
/** Spends that can wait for something at a time. */
const MAX_POSTPONED = 256;
/** Longest chain of replaced requests that is asked for. */
const MAX_CHAIN = 64;

/** What may pass: the record is asked for again later. */
const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "busy",
  "chain-unavailable",
  "chain-answer-invalid",
  "clock-skew",
  "not-found",
  "peer-disagrees",
  "rate-limited",
  "timeout",
  "wrong-manifest",
  "wrong-policy",
  "psbt-invalid",
]);
/** What is this node's own trouble: nothing can be taken in now. */
const own: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "closed",
  "storage-full",
  "storage-failed",
  "storage-corrupt",
  "storage-locked",
]);

/**
 * Asks peers, one after another, what they hold that this node lacks: whenever one comes up, and again after a while. Memory holds one
 * page of one peer at a time; what was taken in and where to go on are durable with each page.
 */
export class SyncDesk {
  readonly #modules: SyncDeskModules;
  readonly #peers: ReadonlyMap<NodeIndex, Peer>;
  /** Peers whose turn comes. */
  readonly #queue: NodeIndex[] = [];
  #working = false;
  #closed = false;

  constructor({ me }: SyncDeskOptions, modules: SyncDeskModules) {
    this.#modules = modules;
    const peer = (): Peer => ({
      progress: { version: 1, cursor: null, whole: null },
      state: "waiting",
      wholeAt: null,
      reason: null,
      taken: 0,
      refused: 0,
      withheld: 0,
      reached: null,
      held: false,
      postponed: new Map(),
      failures: 0,
      timer: null,
    });
    this.#peers = new Map(otherMembers(modules.book.manifest, me).map((node) => [node, peer()]));
  }

  async restore(): Promise<void> {
    const { store, recollection } = this.#modules;
    const { restoredAt } = recollection;
    for (const [node, peer] of this.#peers) {
      const stored = await store.meta(progressKey(node));
      if (stored === null) continue;
      peer.progress = decodeCanonical(progressSchema, stored);
      if (restoredAt !== null && peer.progress.whole === restoredAt) recollection.hear(node);
    }
  }

  status(): SyncStatus {
    const { recollection } = this.#modules;
    return {
      recollection: recollection.status,
      abstains: !recollection.isDone,
      peers: [...this.#peers].map(([node, { state, wholeAt, reason, taken, refused, withheld }]) => ({
        node,
        state,
        wholeAt,
        reason,
        taken,
        refused,
        withheld,
      })),
    };
  }

  /** A peer has shown that it was not set back: what it holds is worth asking for. */
  current(node: NodeIndex): void {
    if (this.#peers.has(node)) this.#enqueue(node);
  }

  close(): void {
    this.#closed = true;
    this.#queue.length = 0;
    for (const { timer } of this.#peers.values()) timer?.cancel();
  }

  #enqueue(node: NodeIndex): void {
    if (this.#closed || this.#queue.includes(node)) return;
    this.#peers.get(node)?.timer?.cancel();
    this.#queue.push(node);
    if (!this.#working) void this.#work();
  }

  async #work(): Promise<void> {
    this.#working = true;
    for (let node = this.#queue.shift(); node !== undefined; node = this.#queue.shift()) {
      const peer = this.#peers.get(node);
      if (peer === undefined) continue;
      if (this.#isAskable(node)) await this.#turn(node, peer);
      else if (this.#modules.questions.isUp(node)) this.#later(node, peer, AGAIN_MS);
    }
    this.#working = false;
  }

  /** One turn of a peer: some pages of what it holds, from where the last turn ended. */
  async #turn(node: NodeIndex, peer: Peer): Promise<void> {
    const { report } = this.#modules;
    peer.state = "asking";
    try {
      const whole = await this.#pages(node, peer);
      if (!whole) return this.#enqueue(node);
      await this.#end(node, peer);
    } catch (cause) {
      if (!isCairnError(cause)) report(cause);
      this.#fail(node, peer, isCairnError(cause) ? cause.code : "internal");
    }
  }

  /** Whether the peer has told all. */
  async #pages(node: NodeIndex, peer: Peer): Promise<boolean> {
    if (peer.reached === null) {
      await this.#small(node, peer);
      peer.reached = peer.progress.cursor ?? "";
      peer.taken = 0;
      peer.refused = 0;
      peer.withheld = 0;
    }
    for (let page = 0; page < PAGES_A_TURN; page += 1) {
      const cursor = peer.reached === "" ? null : peer.reached;
      const answer = await this.#modules.questions.ask(node, "spends", { cursor, wanted: null });
      await this.#takePage(node, peer, answer.holdings);
      if (answer.cursor !== null) peer.reached = answer.cursor;
      if (!peer.held) await this.#keep(node, peer, { cursor: answer.cursor ?? peer.progress.cursor });
      if (!answer.more) return true;
    }
    return false;
  }

  /** All that the peer holds beside spends: little enough to be asked for whole each time. */
  async #small(node: NodeIndex, peer: Peer): Promise<void> {
    const { keys, bans, catchUp, questions } = this.#modules;
    await catchUp.fetch(node);
    const refused = (topic: string) => (cause: unknown) => this.#refused(node, peer, topic, cause);
    await questions.each(node, "wallets", ({ body }) =>
      keys.takeWallet(node, body).catch(refused("wallets")),
    );
    await questions.each(node, "evidence", ({ body }) =>
      bans.onEvidence(node, body).catch(refused("evidence")),
    );
  }

  async #takePage(node: NodeIndex, peer: Peer, holdings: readonly SyncHolding[]): Promise<void> {
    const wanted: IntentHash[] = [];
    for (const holding of holdings) {
      if (await this.#modules.spends.lacks(holding)) wanted.push(holding.intent);
    }
    await this.#fetch(node, peer, wanted);
  }

  async #fetch(node: NodeIndex, peer: Peer, wanted: Iterable<IntentHash>): Promise<void> {
    const left = new Set(wanted);
    while (left.size > 0) {
      const intents = [...left].slice(0, MAX_SYNC_WANTED);
      const answer = await this.#modules.questions.ask(node, "spends", {
        cursor: null,
        wanted: { intents, requests: [] },
      });
      const before = left.size;
      const spends = bySpend(answer.records);
      for (let at = 0; at < spends.length; at += AT_ONCE) {
        await Promise.all(
          spends.slice(at, at + AT_ONCE).map((records) => this.#take(node, peer, records, left)),
        );
      }
      // As many as fit one answer: an answer with none of them says that the peer hands them over to nobody.
      if (left.size < before) continue;
      for (const intent of intents) left.delete(intent);
      this.#withheld(node, peer, intents.length);
    }
  }

  async #take(
    node: NodeIndex,
    peer: Peer,
    records: readonly SyncRecord[],
    wanted: Set<IntentHash>,
  ): Promise<void> {
    let hash: IntentHash | null = null;
    try {
      const spend = await this.#read(node, records);
      hash = spend.hash;
      if (!wanted.delete(hash))
        throw new CairnError("malformed", "the peer hands over a spend that nobody asked it for", {
          intent: hash,
        });
      await this.#takeChain(node, peer, spend);
      peer.postponed.delete(hash);
    } catch (cause) {
      if (hash === null || !isCairnError(cause) || !passing.has(cause.code))
        return this.#refused(node, peer, hash ?? "", cause);
      this.#postpone(peer, hash, cause.code);
    }
  }

  /** What names a manifest that this node does not know can be read once it knows it. */
  async #read(node: NodeIndex, records: readonly SyncRecord[]): Promise<SyncedSpend> {
    const { spends } = this.#modules;
    try {
      return spends.read(records);
    } catch (cause) {
      if (!isCairnError(cause, "wrong-manifest")) throw cause;
      await this.#modules.catchUp.fetch(node);
      return spends.read(records);
    }
  }

  /** Takes a spend in, after those whose requests it replaces. */
  async #takeChain(node: NodeIndex, peer: Peer, spend: SyncedSpend): Promise<void> {
    const waiting = [spend];
    for (let next = waiting.at(-1); next !== undefined; next = waiting.at(-1)) {
      const missing = await this.#modules.spends.take(node, next);
      if (missing === null) {
        peer.taken += 1;
        waiting.pop();
        continue;
      }
      if (waiting.length > MAX_CHAIN)
        throw new CairnError("malformed", "the spend replaces too many others", { replaces: missing });
      waiting.push(await this.#replaced(node, missing));
    }
  }

  async #replaced(node: NodeIndex, request: RequestHash): Promise<SyncedSpend> {
    const wanted = { intents: [], requests: [request] };
    const [records] = bySpend(
      (await this.#modules.questions.ask(node, "spends", { cursor: null, wanted })).records,
    );
    const spend = records === undefined ? null : await this.#read(node, records);
    if (spend !== null && spendRequestHash(spend.intent.request.body) === request) return spend;
    throw new CairnError("malformed", "the peer holds a spend, and not the one that it replaces", {
      replaces: request,
    });
  }

  #postpone(peer: Peer, intent: IntentHash, code: string): void {
    peer.held = true;
    peer.postponed.set(intent, code);
    if (peer.postponed.size > MAX_POSTPONED)
      throw new CairnError("busy", "too much of what the peer holds can't be taken in yet");
  }

  /** A peer hands over what it checked itself: what fails is its fault, and a wrong signature excludes it here. */
  async #refused(node: NodeIndex, peer: Peer, subject: string, cause: unknown): Promise<void> {
    const { loop, bans } = this.#modules;
    if (!isCairnError(cause) || own.has(cause.code)) throw cause;
    peer.refused += 1;
    await loop.run((batch) => {
      batch.audit("message-refused", subject, { from: node, kind: "sync-answer", code: cause.code });
      if (cause.code === "signature-invalid")
        bans.violation(batch, { type: "InvalidSignature", node, subject, evidence: null });
    });
    if (bans.refused().has(node))
      throw new CairnError("NodeBanned", "the peer handed over a wrong signature, and is excluded here", {
        node,
      });
    this.#limitFaults(peer);
  }

  #withheld(node: NodeIndex, peer: Peer, count: number): void {
    peer.withheld += count;
    this.#modules.told(node, "asking", countOf(peer));
    this.#limitFaults(peer);
  }

  #limitFaults(peer: Peer): void {
    if (peer.refused + peer.withheld >= MAX_FAULTS)
      throw new CairnError("peer-disagrees", "the peer hands over too much that is wrong, or nothing", {
        refused: peer.refused,
        withheld: peer.withheld,
      });
  }

  /** The peer has told all. What had to wait is tried once more; then it counts, unless it left something out. */
  async #end(node: NodeIndex, peer: Peer): Promise<void> {
    const { clock, recollection, told, recalled } = this.#modules;
    await this.#fetch(node, peer, [...peer.postponed.keys()]);
    const [reason] = peer.postponed.values();
    if (reason !== undefined) return this.#fail(node, peer, reason);
    if (peer.refused + peer.withheld > 0) {
      await this.#keep(node, peer, { cursor: peer.reached });
      return this.#fail(node, peer, peer.refused > 0 ? "malformed" : "not-found");
    }
    const { restoredAt } = recollection;
    await this.#keep(node, peer, { cursor: peer.reached, whole: restoredAt });
    peer.state = "whole";
    peer.reason = null;
    peer.wholeAt = clock.now();
    peer.failures = 0;
    this.#begin(peer);
    told(node, "whole", countOf(peer));
    this.#later(node, peer, AGAIN_MS);
    if (restoredAt === null || recollection.isDone) return;
    recollection.hear(node);
    if (recollection.isDone) recalled();
  }

  /** The next turn begins where something durable says so. */
  #begin(peer: Peer): void {
    peer.reached = null;
    peer.held = false;
    peer.postponed.clear();
  }

  #fail(node: NodeIndex, peer: Peer, reason: string): void {
    if (this.#closed) return;
    peer.state = "failed";
    peer.reason = reason;
    this.#begin(peer);
    this.#modules.told(node, "failed", countOf(peer));
    this.#later(node, peer, Math.min(AGAIN_MS, RETRY_MS * 2 ** peer.failures));
    peer.failures = Math.min(peer.failures + 1, 10);
  }

  #later(node: NodeIndex, peer: Peer, delayMs: number): void {
    peer.timer?.cancel();
    if (!this.#closed) peer.timer = this.#modules.clock.after(delayMs, () => this.#enqueue(node));
  }

  async #keep(node: NodeIndex, peer: Peer, change: Partial<Progress>): Promise<void> {
    const { cursor, whole } = { ...peer.progress, ...change };
    const next: Progress = { version: 1, cursor: cursor === "" ? null : cursor, whole };
    if (next.cursor === peer.progress.cursor && next.whole === peer.progress.whole) return;
    await this.#modules.loop.run((batch) =>
      batch.write({ write: "meta", key: progressKey(node), value: encodeCanonical(next) }),
    );
    peer.progress = next;
  }

  #isAskable(node: NodeIndex): boolean {
    const { fence, bans, questions } = this.#modules;
    return !this.#closed && questions.isUp(node) && fence.isCurrent(node) && !bans.refused().has(node);
  }
}

function progressKey(node: NodeIndex): string {
  return `sync/${node}`;
}

function countOf({ taken, refused, withheld }: Peer): SyncedCount {
  return { taken, refused, withheld };
}
