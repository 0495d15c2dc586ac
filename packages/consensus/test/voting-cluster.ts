import assert from "node:assert/strict";
import type {
  IntentHash,
  LineageId,
  NodeIndex,
  Outpoint,
  ReservationRow,
  Sats,
  Txid,
  UnixMs,
  WalletId,
} from "@cairn/core";
import {
  type Blocker,
  type Certificate,
  type Claim,
  DEAD_DEPTH,
  initial,
  judgeEvidence,
  markDead,
  maySign,
  mayVoid,
  ReservationBook,
  reserve,
  restore,
  type SignedVoid,
  type SignedVote,
  settlePaid,
  step,
  type Verdict,
  type VotingEffect,
  type VotingEvent,
  type VotingState,
} from "../src/index.ts";
import {
  clusterOf,
  NOW,
  ROUND_MS,
  rejection,
  type TestCluster,
  voidOf,
  voteOf,
  votingContext,
} from "./cluster.ts";

/** Numbers in [0, 1) that follow from a seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface Spend {
  readonly intent: IntentHash;
  readonly lineage: LineageId;
  readonly outpoints: readonly Outpoint[];
}

export const coin = (name: string): Outpoint => ({ txid: name.padStart(64, "0") as Txid, vout: 0 });

export interface Schedule {
  readonly seed: number;
  readonly spends: readonly Spend[];
  /** The Byzantine node, or null. It votes both ways, withholds partials, voids and broadcasts as it likes. */
  readonly liar: number | null;
  /** Longest delay of a message, in milliseconds. */
  readonly delayMs: number;
  /** Chance that a node's chain source lags at an evaluation. */
  readonly lag: number;
  /** Chance that a node restarts instead of handling an event. */
  readonly crash: number;
}

interface Node {
  readonly index: number;
  readonly machines: Map<IntentHash, VotingState>;
  book: ReservationBook;
  // What its store holds.
  readonly votes: SignedVote[];
  readonly voids: SignedVoid[];
  readonly rounds: Map<string, Extract<VotingEffect, { kind: "round" }>["row"]>;
  readonly certificates: Map<IntentHash, Certificate>;
  readonly released: Set<IntentHash>;
  readonly doubleVotes: { readonly intent: IntentHash; readonly node: NodeIndex }[];
}

export interface Outcome {
  readonly confirmed: ReadonlySet<IntentHash>;
  readonly certified: ReadonlySet<IntentHash>;
  /** Intents that the liar alone could still complete. */
  readonly hostage: ReadonlySet<IntentHash>;
  readonly nodes: readonly Node[];
}

const LIFETIME = 12 * ROUND_MS;
const expiry = (NOW + LIFETIME) as UnixMs;

/**
 * Runs a whole cluster of machines and books on a virtual clock: posted messages arrive late and out of order but arrive, nodes
 * crash and restart from what they stored, one node may lie. Checks the rules that must hold at every moment.
 */
export function runVoting(schedule: Schedule): Outcome {
  return new Run(schedule).play();
}

class Run {
  readonly #schedule: Schedule;
  readonly #cluster: TestCluster = clusterOf();
  readonly #random: () => number;
  readonly #queue: { at: number; order: number; run: () => void }[] = [];
  readonly #nodes: Node[] = [];
  readonly #confirmed = new Set<IntentHash>();
  readonly #certified = new Set<IntentHash>();
  readonly #complete = new Set<IntentHash>();
  readonly #forwarded = new Set<string>();
  #now = NOW as number;
  #order = 0;

  constructor(schedule: Schedule) {
    this.#schedule = schedule;
    this.#random = randomOf(schedule.seed);
    for (let index = 1; index <= 5; index += 1) {
      if (index === schedule.liar) continue;
      this.#nodes.push({
        index,
        machines: new Map(schedule.spends.map(({ intent }) => [intent, initial({ intent, expiry })])),
        book: new ReservationBook(),
        votes: [],
        voids: [],
        rounds: new Map(),
        certificates: new Map(),
        released: new Set(),
        doubleVotes: [],
      });
    }
  }

  play(): Outcome {
    for (const spend of this.#schedule.spends) {
      for (const node of this.#nodes) this.#later(() => this.#give(node, spend.intent, { kind: "open" }));
      for (let at = 0; at < LIFETIME; at += ROUND_MS / 2) this.#at(NOW + at, () => this.#session(spend));
      this.#lie(spend);
    }
    for (let at = 1; at <= 40; at += 1) this.#at(expiry + at * ROUND_MS, () => this.#tickAll());
    for (;;) {
      this.#queue.sort((a, b) => a.at - b.at || a.order - b.order);
      const next = this.#queue.shift();
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.at);
      next.run();
      this.#checkSafety();
    }
    return {
      confirmed: this.#confirmed,
      certified: this.#certified,
      hostage: this.#complete.difference(this.#confirmed),
      nodes: this.#nodes,
    };
  }

  #at(at: number, run: () => void): void {
    this.#order += 1;
    this.#queue.push({ at, order: this.#order, run });
  }

  #later(run: () => void): void {
    this.#at(this.#now + 1 + Math.floor(this.#random() * this.#schedule.delayMs), run);
  }

  #context(node: Node) {
    return votingContext(this.#cluster, { now: this.#now as UnixMs, me: node.index as NodeIndex });
  }

  #tickAll(): void {
    for (const node of this.#nodes) {
      for (const { intent } of this.#schedule.spends) this.#give(node, intent, { kind: "tick" });
    }
  }

  #give(node: Node, intent: IntentHash, event: VotingEvent): void {
    if (this.#random() < this.#schedule.crash) {
      this.#restart(node);
      // The outbox delivers again; timers and chain watchers begin anew.
      this.#later(() => this.#give(node, intent, event));
      return;
    }
    const state = node.machines.get(intent);
    assert.ok(state);
    const next = step(state, event, this.#context(node));
    node.machines.set(intent, next.state);
    for (const effect of next.effects) this.#carryOut(node, intent, effect);
  }

  #restart(node: Node): void {
    node.book = new ReservationBook(node.book.rows());
    for (const { intent } of this.#schedule.spends) {
      const rounds = [...node.rounds.values()].filter((row) => row.intent === intent);
      const before = node.machines.get(intent)?.name;
      const done = restore(
        {
          subject: { intent, expiry },
          votes: node.votes.filter((vote) => vote.body.intentHash === intent),
          voids: node.voids.filter((each) => each.body.intentHash === intent),
          doubleVoters: node.doubleVotes.filter((each) => each.intent === intent).map((each) => each.node),
          rounds,
          certificate: node.certificates.get(intent) ?? null,
          chain: before === "Confirmed" ? "confirmed" : before === "Submitted" ? "submitted" : "unseen",
          conflictDepth: this.#confirmedAgainst(intent) ? DEAD_DEPTH : 0,
        },
        this.#context(node),
      );
      node.machines.set(intent, done.state);
      for (const effect of done.effects) this.#carryOut(node, intent, effect);
    }
  }

  #carryOut(node: Node, intent: IntentHash, effect: VotingEffect): void {
    switch (effect.kind) {
      case "evaluate":
        this.#later(() => {
          const verdict = this.#verdict(node, intent);
          this.#give(node, intent, { kind: "verdict", round: effect.round, verdict });
        });
        return;
      case "cast":
        this.#cast(node, intent, effect);
        return;
      case "certified":
        node.certificates.set(intent, effect.certificate);
        this.#certified.add(intent);
        this.#toAll(node, (from) => ({ kind: "certificate", from, certificate: effect.certificate }), intent);
        return;
      case "sign-void":
        this.#void(node, intent);
        return;
      case "displace":
        for (const loser of effect.losers) this.#give(node, loser, { kind: "displaced", by: intent });
        return;
      case "dead":
        this.#book(node, markDead(node.book, intent, this.#now as UnixMs));
        this.#unblock(node, intent);
        for (const signed of effect.voids) {
          // Posting the same message again is no second message.
          const id = `${node.index}/${signed.body.node}/${intent}`;
          if (this.#forwarded.has(id)) continue;
          this.#forwarded.add(id);
          this.#toAll(node, (from) => ({ kind: "void", from, void: signed }), intent);
        }
        return;
      case "violation":
        if (effect.type === "DoubleVote") this.#accuse(node, intent, effect);
        else assert.fail("every message verifies, so only double votes can be found");
        return;
      case "round":
        node.rounds.set(`${intent}/${effect.row.round}`, effect.row);
        return;
      case "arm":
        this.#at(effect.at, () => this.#give(node, intent, { kind: "tick" }));
        return;
      case "state":
      case "defer-notice":
      case "rejected":
        return;
    }
  }

  #toAll(from: Node, event: (from: NodeIndex) => VotingEvent, intent: IntentHash): void {
    for (const node of this.#nodes) {
      if (node !== from) this.#later(() => this.#give(node, intent, event(from.index as NodeIndex)));
    }
  }

  #claim(intent: IntentHash): Claim {
    const spend = this.#spend(intent);
    return {
      lineage: spend.lineage,
      wallet: "0".repeat(64) as WalletId,
      intent,
      outpoints: spend.outpoints,
      amountSats: 1n as Sats,
      destinations: [],
      at: this.#now as UnixMs,
    };
  }

  #spend(intent: IntentHash): Spend {
    const spend = this.#schedule.spends.find((each) => each.intent === intent);
    assert.ok(spend);
    return spend;
  }

  #verdict(node: Node, intent: IntentHash): Verdict {
    if (this.#random() < this.#schedule.lag)
      return { kind: "defer", code: "chain-unavailable", blocking: [] };
    const result = reserve(node.book, this.#claim(intent));
    switch (result.kind) {
      case "reserved":
        return { kind: "approve" };
      case "refused":
        return { kind: "reject", code: result.code, blocking: [] };
      case "conflict":
        return {
          kind: "defer",
          code: result.code,
          blocking: result.blocking.map((each) => this.#blocker(node, each)),
        };
    }
  }

  #blocker(node: Node, intent: IntentHash): Blocker {
    return { intent, certified: node.certificates.has(intent) || node.released.has(intent) };
  }

  #cast(node: Node, intent: IntentHash, effect: Extract<VotingEffect, { kind: "cast" }>): void {
    if (effect.approve) {
      const result = reserve(node.book, this.#claim(intent));
      // Another intent took the coin between verdict and cast: the runtime holds both in one turn, this model may not.
      if (result.kind !== "reserved") return;
      node.book.set(result.row);
    }
    const vote = voteOf(this.#cluster, node.index, {
      intentHash: intent,
      round: effect.round,
      approve: effect.approve,
      reason: effect.reason,
    });
    const again = node.votes.some(
      ({ body }) => body.voter === node.index && body.intentHash === intent && body.round === effect.round,
    );
    assert.ok(!again, "an honest node votes once in a round");
    this.#receive(node, intent, vote, node.index);
    this.#toAll(node, (from) => ({ kind: "vote", from, vote }), intent);
    for (const other of this.#nodes) if (other !== node) this.#store(other, vote);
  }

  /** The store of each node gets the vote when it is handed in; the model hands it in once, late, and stores it at once. */
  #store(node: Node, vote: SignedVote): void {
    const { voter, round, intentHash } = vote.body;
    const known = node.votes.some(
      ({ body }) => body.voter === voter && body.round === round && body.intentHash === intentHash,
    );
    if (!known) node.votes.push(vote);
  }

  #receive(node: Node, intent: IntentHash, vote: SignedVote, from: number): void {
    this.#store(node, vote);
    const state = node.machines.get(intent);
    assert.ok(state);
    const next = step(state, { kind: "vote", from: from as NodeIndex, vote }, this.#context(node));
    node.machines.set(intent, next.state);
    for (const effect of next.effects) this.#carryOut(node, intent, effect);
  }

  #void(node: Node, intent: IntentHash): void {
    const own = { partialReleased: node.released.has(intent), partialPossible: false, sessionLive: false };
    if (!mayVoid(own)) return;
    const signed = voidOf(this.#cluster, node.index, intent);
    node.voids.push(signed);
    this.#at(this.#now, () =>
      this.#give(node, intent, { kind: "void", from: node.index as NodeIndex, void: signed }),
    );
    for (const other of this.#nodes) if (other !== node) other.voids.push(signed);
    this.#toAll(node, (from) => ({ kind: "void", from, void: signed }), intent);
  }

  #unblock(node: Node, dead: IntentHash): void {
    for (const { intent } of this.#schedule.spends) {
      if (intent !== dead) this.#at(this.#now, () => this.#give(node, intent, { kind: "unblocked" }));
    }
  }

  #accuse(node: Node, intent: IntentHash, effect: Extract<VotingEffect, { kind: "violation" }>): void {
    assert.equal(effect.node, this.#schedule.liar, "no honest node is accused");
    assert.ok(effect.evidence);
    const judged = judgeEvidence(effect.evidence, this.#cluster, {
      protocolVersions: [1],
      intentFault: () => null,
    });
    assert.equal(judged.kind, "proven");
    node.doubleVotes.push({ intent, node: effect.node });
  }

  /** A signing session: only when t nodes acknowledge does anybody release a partial. */
  #session(spend: Spend): void {
    const { intent } = spend;
    const willing = this.#nodes.filter((node) => this.#signs(node, intent));
    const liar = this.#schedule.liar !== null && this.#certified.has(intent) && this.#random() < 0.5;
    const honest = liar ? willing.slice(0, 3) : willing.slice(0, 4);
    if (honest.length + (liar ? 1 : 0) < 4) return;
    for (const node of honest) {
      const result = reserve(node.book, this.#claim(intent));
      assert.equal(result.kind, "reserved");
      if (result.kind === "reserved") node.book.set(result.row);
      node.released.add(intent);
    }
    this.#complete.add(intent);
    if (!liar || this.#random() < 0.3) this.#later(() => this.#broadcast(spend));
  }

  #signs(node: Node, intent: IntentHash): boolean {
    const state = node.machines.get(intent);
    if (state?.name !== "ThresholdReached" || this.#now >= expiry) return false;
    const ownVoid = node.voids.some(
      (each) => each.body.node === node.index && each.body.intentHash === intent,
    );
    return maySign({ ownVoid, dead: false }) && reserve(node.book, this.#claim(intent)).kind === "reserved";
  }

  /** The chain takes the first transaction that spends a coin, and confirms it six deep. */
  #broadcast(spend: Spend): void {
    const taken = [...this.#confirmed].some((paid) => conflict(this.#spend(paid), spend));
    if (taken || this.#confirmed.has(spend.intent)) return;
    this.#confirmed.add(spend.intent);
    for (const node of this.#nodes) {
      this.#later(() => this.#paid(node, spend));
      for (const other of this.#schedule.spends) {
        if (other.intent !== spend.intent && conflict(other, spend)) {
          this.#later(() => this.#give(node, other.intent, { kind: "conflicted", depth: DEAD_DEPTH }));
        }
      }
    }
  }

  #book(node: Node, row: ReservationRow | null): void {
    if (row !== null) node.book.set(row);
  }

  #paid(node: Node, spend: Spend): void {
    this.#give(node, spend.intent, { kind: "submitted" });
    this.#give(node, spend.intent, { kind: "confirmed" });
    this.#book(node, settlePaid(node.book, spend.intent, this.#now as UnixMs));
  }

  /** The liar votes both ways in every round to different nodes, and voids or keeps silent. */
  #lie(spend: Spend): void {
    const { liar } = this.#schedule;
    if (liar === null) return;
    for (const node of this.#nodes) {
      for (let round = 1; round <= 3; round += 1) {
        const choice = this.#random();
        if (choice < 0.25) continue;
        const change = choice < 0.65 ? {} : rejection("psbt-invalid");
        const vote = voteOf(this.#cluster, liar, { intentHash: spend.intent, round, ...change });
        this.#later(() => this.#give(node, spend.intent, { kind: "vote", from: liar as NodeIndex, vote }));
        if (choice > 0.55 && choice < 0.75) {
          const twin = voteOf(this.#cluster, liar, { intentHash: spend.intent, round });
          this.#later(() =>
            this.#give(node, spend.intent, { kind: "vote", from: liar as NodeIndex, vote: twin }),
          );
        }
      }
      if (this.#random() < 0.3) {
        const signed = voidOf(this.#cluster, liar, spend.intent);
        this.#later(() =>
          this.#give(node, spend.intent, { kind: "void", from: liar as NodeIndex, void: signed }),
        );
      }
    }
  }

  #checkSafety(): void {
    const payable = [...this.#certified].filter((intent) => !this.#provenDead(intent));
    for (const a of payable) {
      for (const b of payable) {
        if (a === b) continue;
        const [one, two] = [this.#spend(a), this.#spend(b)];
        assert.ok(
          one.lineage === two.lineage || !conflict(one, two),
          "no two conflicting intents can both be paid",
        );
        assert.ok(one.lineage !== two.lineage || conflict(one, two), "one lineage is paid once");
      }
    }
    for (const { intent } of this.#schedule.spends) {
      if (this.#complete.has(intent)) {
        assert.ok(
          !this.#provenDead(intent) || this.#confirmedAgainst(intent),
          "what is dead is never complete",
        );
      }
    }
  }

  #provenDead(intent: IntentHash): boolean {
    return this.#nodes.some((node) => node.machines.get(intent)?.name === "Dead");
  }

  #confirmedAgainst(intent: IntentHash): boolean {
    return [...this.#confirmed].some(
      (paid) => paid !== intent && conflict(this.#spend(paid), this.#spend(intent)),
    );
  }
}

export function conflict(a: Spend, b: Spend): boolean {
  return a.outpoints.some((one) => b.outpoints.some((two) => one.txid === two.txid && one.vout === two.vout));
}
