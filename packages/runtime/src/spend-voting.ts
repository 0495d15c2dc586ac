import {
  type Certificate,
  type Deferral,
  encodeVote,
  FIRST_ROUND,
  grantIdOf,
  type Intent,
  mayVoid,
  type SignedVoid,
  type SignedVote,
  signVoid,
  signVote,
  step,
  type Verdict,
  type VotingContext,
  type VotingEffect,
  type VotingEvent,
  type VotingState,
} from "@cairn/consensus";
import {
  type Clock,
  encodeCanonical,
  type IntentHash,
  type NodeIndex,
  type NodeStore,
  type Signer,
  type TransactionRow,
  type TransactionState,
} from "@cairn/core";
import type { ApprovalBook } from "./approval-book.ts";
import { atTime } from "./at-time.ts";
import type { FaultyIntents, RecordViolation } from "./faulty-intents.ts";
import type { LiveSpends } from "./live-spends.ts";
import type { Batch, Loop } from "./loop.ts";
import { otherMembers } from "./other-members.ts";
import { peerMessage } from "./peer-message.ts";
import type { SpendClaims } from "./spend-claims.ts";
import type { SpendJudge } from "./spend-judge.ts";
import { intentContext, type SpendOptions } from "./spend-options.ts";
import { storeTally } from "./store-tally.ts";
import { unawaited } from "./unawaited.ts";

export interface SpendVotingModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "sessions">;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly live: LiveSpends;
  readonly claims: SpendClaims;
  readonly approvals: ApprovalBook;
  readonly judge: SpendJudge;
  /** Resolves once this node may vote and sign. @throws CairnError `rolled-back` */
  readonly admitted: () => Promise<void>;
  /** Whether this node may have acted in the spend's lineage before it lost its database. */
  readonly forgot: (row: TransactionRow) => Promise<boolean>;
  readonly faulty: FaultyIntents;
  /** A certificate is durable: signing may begin. */
  readonly certified: (hash: IntentHash) => void;
  /** Whether a signing session for it lives here. */
  readonly signing: (hash: IntentHash) => boolean;
  /** Whether an attempt at signing it is under way, here or at others. */
  readonly underWay: (hash: IntentHash) => boolean;
  readonly violation: RecordViolation;
  readonly report: (cause: unknown) => void;
}

type EffectOf<Kind extends VotingEffect["kind"]> = Extract<VotingEffect, { readonly kind: Kind }>;

const rowStates: Record<VotingState["name"], TransactionState | null> = {
  Initial: "pending",
  Collecting: "voting",
  ThresholdReached: "approved",
  Submitted: null,
  Confirmed: null,
  Rejected: "rejected",
  AbortedTimeout: "aborted-timeout",
  AbortedByzantine: "aborted-byzantine",
  Voided: "failed",
  Dead: "failed",
};

/** States of which other entries of the audit log tell: votes, certificates, and what became of the transaction. */
const toldOtherwise: ReadonlySet<VotingState["name"]> = new Set<VotingState["name"]>([
  "Collecting",
  "ThresholdReached",
  "Submitted",
  "Confirmed",
]);

/** States that say why a spend was never paid. */
const endedStates: ReadonlySet<TransactionState> = new Set<TransactionState>([
  "rejected",
  "expired",
  "replaced",
  "aborted-byzantine",
  "aborted-timeout",
]);

/** Longest time between two questions for a certified spend's signatures. */
const MOST_RARELY_MS = 600_000;
/** Looks at which signing that is under way is let be. */
const LOOKS_AWAY = 3;

/** Feeds the voting machine of each spend, and carries out what the machines ask for. */
export class SpendVoting {
  readonly #options: SpendOptions;
  readonly #modules: SpendVotingModules;
  readonly #others: readonly NodeIndex[];

  constructor(options: SpendOptions, modules: SpendVotingModules) {
    this.#options = options;
    this.#modules = modules;
    this.#others = otherMembers(options.book.manifest, options.me);
  }

  /** What the machine of an intent is told with every event: it keeps the manifest that it names. */
  contextOf(intent: Intent): VotingContext {
    const { me, roundMs, book } = this.#options;
    const now = this.#modules.clock.now();
    return { me, roundMs, ...intentContext(book.under(intent.manifestHash), this.#options, now) };
  }

  /** Opens voting on a spend, once the approvals that policy asks for are there (architecture §5.3). */
  open(batch: Batch, hash: IntentHash): void {
    const { live, approvals } = this.#modules;
    const current = live.get(hash);
    if (current?.voting.name !== "Initial") return;
    const { row, intent } = current;
    const standing = approvals.standing(row.request, intent.request.body);
    if (standing !== null && standing.given.length < standing.needed) {
      live.update(batch, hash, { reason: "policy-approvals" });
      return this.#effect(batch, hash, { kind: "arm", at: row.expiry });
    }
    if (standing !== null) {
      live.update(batch, hash, { reason: null }, (metadata) => ({ ...metadata, approvers: standing.given }));
    }
    this.step(batch, hash, { kind: "open" });
  }

  /** An approval of a spend's request came: what waits for approvals is looked at again. */
  approved(batch: Batch, hash: IntentHash): void {
    this.open(batch, hash);
    this.step(batch, hash, { kind: "unblocked" });
  }

  /** Looks again at all that wait for approvals. */
  reopen(): void {
    for (const { row, voting } of this.#modules.live.all()) {
      if (voting.name === "Initial")
        this.#later(this.#modules.loop.run((batch) => this.open(batch, row.intent)));
    }
  }

  /**
   * Feeds an event to a spend's machine; one that lives here no more takes nothing in.
   * @param stored the vote in `event` has its row already: it came before its intent
   */
  step(batch: Batch, hash: IntentHash, event: VotingEvent, stored = false): void {
    const { live, clock } = this.#modules;
    const current = live.get(hash);
    if (current === undefined) return;
    const before = current.voting;
    const { state, effects } = step(before, event, this.contextOf(current.intent));
    if (!stored) storeTally(batch, before.tally, state.tally, clock.now());
    live.set(batch, hash, { voting: state });
    this.carryOut(batch, hash, effects);
  }

  /** Carries out what a machine asks for. */
  carryOut(batch: Batch, hash: IntentHash, effects: readonly VotingEffect[]): void {
    for (const effect of effects) this.#effect(batch, hash, effect);
  }

  /** Something came free: spends that wait ask again. */
  unblock(): void {
    for (const { row, voting } of this.#modules.live.all()) {
      if (voting.name === "Collecting" && voting.own.kind === "deferred") {
        this.#feed(row.intent, { kind: "unblocked" });
      }
    }
  }

  #effect(batch: Batch, hash: IntentHash, effect: VotingEffect): void {
    const { clock, live } = this.#modules;
    switch (effect.kind) {
      case "evaluate":
        return batch.afterwards(() => this.#later(this.#evaluate(hash, effect.round)));
      case "cast":
        return this.#cast(batch, hash, effect);
      case "defer-notice":
        return this.#defer(batch, hash, effect);
      case "certified":
        return this.#certified(batch, hash, effect.certificate);
      case "rejected":
        batch.audit("intent-rejected", hash, {
          reasons: effect.reasons.map(({ node, reason }) => `${node}:${reason.code}`).join(","),
        });
        return live.update(batch, hash, { reason: effect.reasons[0]?.reason.code ?? null });
      case "sign-void":
        live.set(batch, hash, { voiding: true });
        return batch.afterwards(() => this.#later(this.#void(hash)));
      case "displace":
        return batch.afterwards(() => {
          for (const loser of effect.losers) this.#feed(loser, { kind: "displaced", by: hash });
        });
      case "dead":
        return this.#dead(batch, hash, effect.voids);
      case "violation":
        return this.#modules.violation(batch, effect, hash);
      case "round":
        if (effect.row.round > FIRST_ROUND && effect.row.outcome === "open") this.#relay(batch, hash);
        return batch.write({ write: "voting-round", row: effect.row });
      case "arm":
        return batch.afterwards(() => {
          atTime(clock, effect.at, () => this.#feed(hash, { kind: "tick" }));
        });
      case "state":
        return this.#named(batch, hash, effect.name);
    }
  }

  async #evaluate(hash: IntentHash, round: number): Promise<void> {
    const { live, loop, judge, faulty } = this.#modules;
    await this.#modules.admitted();
    const check = await judge.check(hash);
    const { row } = live.get(hash) ?? {};
    const forgot = row !== undefined && (await this.#modules.forgot(row));
    await loop.run((batch) => {
      const current = live.get(hash);
      if (current === undefined) return;
      if (check.kind === "ok") {
        live.set(batch, hash, { checked: check.checked });
        live.update(batch, hash, { feeSats: check.checked.feeSats });
      }
      if (check.kind === "fault") faulty.add(batch, hash, current.intent);
      const verdict: Verdict = forgot
        ? { kind: "defer", code: "amnesia", blocking: [] }
        : judge.verdict(hash, check);
      this.step(batch, hash, { kind: "verdict", round, verdict });
    });
  }

  #cast(batch: Batch, hash: IntentHash, effect: EffectOf<"cast">): void {
    const { me, book } = this.#options;
    const { manifest } = book;
    const { manifestHash } = this.#modules.live.of(hash).intent;
    const { round, approve, reason } = effect;
    if (approve) this.#modules.claims.hold(batch, hash);
    const vote = signVote(
      {
        version: 1,
        cluster: manifest.cluster,
        manifestHash,
        intentHash: hash,
        round,
        voter: me,
        approve,
        reason,
      },
      this.#modules.signer,
    );
    batch.audit("vote-cast", hash, { round, approve, reason: reason?.code ?? null });
    batch.post(this.#others, `vote/${hash}/${round}`, peerMessage("vote", encodeVote(vote)));
    // The machine takes the vote in within the same commit, so the row, the reservation and the outbox are one.
    this.step(batch, hash, { kind: "vote", from: me, vote });
  }

  #defer(batch: Batch, hash: IntentHash, effect: EffectOf<"defer-notice">): void {
    const { me, recheckMs, book } = this.#options;
    const { manifest } = book;
    const { round, code, blocking } = effect;
    const deferral: Deferral = {
      version: 1,
      cluster: manifest.cluster,
      intentHash: hash,
      round,
      node: me,
      code,
      blocking: [...blocking],
    };
    batch.audit("vote-deferred", hash, { round, code });
    batch.send(this.#others, peerMessage("deferral", encodeCanonical(deferral)));
    this.#modules.clock.after(recheckMs, () => this.#feed(hash, { kind: "unblocked" }));
    this.#modules.live.update(batch, hash, { reason: code });
  }

  #certified(batch: Batch, hash: IntentHash, certificate: Certificate): void {
    const { live, claims, clock } = this.#modules;
    const body = encodeCanonical(certificate);
    const now = clock.now();
    batch.audit("certified", hash, {
      round: certificate.round,
      voters: certificate.votes.map((vote) => vote.voter).join(","),
    });
    const { createdAt, signedTx } = live.of(hash).row;
    claims.count(batch, hash);
    const state = signedTx === null ? { state: "approved" as const, reason: null } : {};
    live.update(batch, hash, { certificate: body, ...state }, (metadata) => ({
      ...metadata,
      timings: { ...metadata.timings, certified: now - createdAt },
    }));
    batch.afterwards(() => {
      this.remind(hash);
      this.#modules.certified(hash);
    });
  }

  /**
   * In a while, hands a certified intent to members of whom no vote is seen until then: its receiver may have kept it from them; and the
   * certificate to those who may need this node's: each forms its own from the votes, unless a voter kept its vote from it. While no
   * signatures come all may need it, and it asks them for what they have: again and again, ever more rarely.
   */
  remind(hash: IntentHash, looks = 1): void {
    const { clock, loop } = this.#modules;
    const wait = Math.min(this.#options.recheckMs * 2 ** (looks - 1), MOST_RARELY_MS);
    clock.after(wait, () => this.#later(loop.run((batch) => this.#look(batch, hash, looks))));
  }

  #look(batch: Batch, hash: IntentHash, looks: number): void {
    const current = this.#modules.live.get(hash);
    if (current === undefined) return;
    const { certificate, signedTx } = current.row;
    const votes = [...current.voting.tally.votes.values()].flatMap((round) => [...round.values()]);
    const without = (seen: readonly SignedVote[]) =>
      this.#others.filter((node) => !seen.some(({ body }) => body.voter === node));
    if (looks === 1) this.#relay(batch, hash, without(votes));
    if (certificate === null) return;
    const unsigned = signedTx === null && !current.voiding;
    if (unsigned) batch.afterwards(() => this.remind(hash, looks + 1));
    if (unsigned && looks <= LOOKS_AWAY && this.#modules.underWay(hash)) return;
    const needing = signedTx === null ? this.#others : without(votes.filter(({ body }) => body.approve));
    batch.post(needing, `certificate/${hash}`, peerMessage("certificate", certificate));
  }

  /**
   * Hands an intent that finds no quorum to all: its receiver may have kept it from some, whose votes would settle it, or whose
   * voids would free what it holds.
   */
  #relay(batch: Batch, hash: IntentHash, to: readonly NodeIndex[] = this.#others): void {
    const { intentBody } = this.#modules.live.of(hash).row;
    batch.post(to, `intent/${hash}`, peerMessage("intent", intentBody));
  }

  /** Signs `Void` where this node never released a partial for the spend, nor may have. */
  async #void(hash: IntentHash): Promise<void> {
    const { store, loop, signer, live } = this.#modules;
    const { me, book } = this.#options;
    const { manifest } = book;
    await this.#modules.admitted();
    const { row } = live.get(hash) ?? {};
    // It may have released a partial that nothing here tells of.
    if (row === undefined || (await this.#modules.forgot(row))) return;
    // The grant's id follows from the intent alone, so what an earlier process did counts even before the PSBT is read again.
    const sessions = await store.sessions({ subject: grantIdOf(hash) });
    const part = {
      partialReleased: false,
      partialPossible: sessions.some((session) => session.execution !== null),
      sessionLive: this.#modules.signing(hash),
    };
    if (!mayVoid(part)) {
      // A session that ends before its execution leaves nothing behind that could make the spend valid: ask again.
      if (part.sessionLive && !part.partialPossible) {
        this.#modules.clock.after(this.#options.recheckMs, () => this.#later(this.#void(hash)));
      }
      return;
    }
    await loop.run((batch) => {
      const current = live.get(hash);
      if (current === undefined || current.voting.tally.voids.has(me)) return;
      const { manifestHash } = current.intent;
      const signed = signVoid(
        { version: 1, cluster: manifest.cluster, manifestHash, intentHash: hash, node: me },
        signer,
      );
      batch.audit("void-signed", hash);
      batch.post(this.#others, `void/${hash}`, peerMessage("void", encodeCanonical(signed)));
      this.#relay(batch, hash);
      this.step(batch, hash, { kind: "void", from: me, void: signed });
    });
  }

  #dead(batch: Batch, hash: IntentHash, voids: readonly SignedVoid[]): void {
    // Whoever signed one of the voids may have told it to some only; all must come to the same end.
    for (const signed of voids) {
      const { node } = signed.body;
      if (node === this.#options.me) continue;
      batch.post(this.#others, `void/${hash}/${node}`, peerMessage("void", encodeCanonical(signed)));
    }
    this.#modules.claims.free(batch, hash);
    batch.audit("intent-dead", hash);
    this.#modules.live.remove(batch, hash);
    batch.afterwards(() => this.unblock());
  }

  #named(batch: Batch, hash: IntentHash, name: VotingState["name"]): void {
    const { row, voting } = this.#modules.live.of(hash);
    const state = this.#isOverdue(row, voting) ? "expired" : rowStates[name];
    if (!toldOtherwise.has(name)) batch.audit("voting-state", hash, { state: name });
    // Death frees what a spend held; what it ended of is still what people want to read.
    const explained = (name === "Dead" || name === "Voided") && endedStates.has(row.state);
    if (state === null || explained) return;
    this.#modules.live.update(batch, hash, {
      state,
      ...(state === "expired" ? {} : failureReason(row, voting)),
    });
  }

  /** Whether time ended it: by this node's clock, or by voids of nodes whose clocks are a little ahead. */
  #isOverdue(row: TransactionRow, voting: VotingState): boolean {
    if (voting.name === "AbortedTimeout") return voting.cause === "expired";
    if (voting.name !== "Dead" || voting.cause !== "voided" || row.certificate !== null) return false;
    return this.#modules.clock.now() + this.#options.clockSkewMs >= row.expiry;
  }

  #feed(hash: IntentHash, event: VotingEvent): void {
    this.#later(this.#modules.loop.run((batch) => this.step(batch, hash, event)));
  }

  #later(work: Promise<void>): void {
    unawaited(work, this.#modules.report);
  }
}

/** Why a spend that nobody rejected, and whose time did not run out, can be paid no more. */
function failureReason(row: TransactionRow, voting: VotingState): Partial<TransactionRow> {
  switch (voting.name) {
    case "Voided":
      return { reason: "displaced" };
    case "Dead":
      if (voting.cause === "conflicted") return { reason: "conflicted" };
      return row.state === "failed" ? {} : { reason: "voided" };
    default:
      return {};
  }
}
