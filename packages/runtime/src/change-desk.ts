import {
  CairnError,
  type ChangeCommit,
  type ChangeProposal,
  type ChangeRow,
  type ChangeState,
  type ChangeVote,
  type Clock,
  changeCommitSchema,
  changeEffectiveAt,
  changeProposalHash,
  changeQuorum,
  checkSupportedChange,
  decodeCanonical,
  type ErrorCode,
  encodeCanonical,
  faultsTolerated,
  formChangeCommit,
  type HashHex,
  isCairnError,
  type NodeIndex,
  type NodeStore,
  type SignatureHex,
  type SignedChangeProposal,
  type SignedChangeVote,
  type Signer,
  signChangeVote,
  signedChangeProposalSchema,
  signedChangeVoteSchema,
  type Timer,
  type UnixMs,
  verifyChangeCommit,
  verifyChangeProposal,
  verifyChangeVote,
} from "@cairn/core";
import { atTime } from "./at-time.ts";
import { commitOf, effectOf, isSuccessor, type LiveChange, storedChanges } from "./live-change.ts";
import type { Batch, Loop } from "./loop.ts";
import type { ManifestBook, ManifestLink } from "./manifest-book.ts";
import { otherMembers } from "./other-members.ts";
import { peerMessage } from "./peer-message.ts";
import { unawaited } from "./unawaited.ts";

export interface ChangeDeskOptions {
  readonly me: NodeIndex;
  /** Largest difference between two clocks that is believed, in milliseconds. */
  readonly clockSkewMs: number;
}

export interface ChangeDeskModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "changes" | "changeVotes">;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly book: ManifestBook;
  /** Ends a node's bans for these violations, in the batch of the change that says so. */
  readonly liftBans: (batch: Batch, node: NodeIndex, violations: readonly HashHex[]) => void;
  /** Another manifest is in force, durably. */
  readonly inForce: (link: ManifestLink) => void;
  /** A proposal has changed; `state` is its row's, or says what operators must look into. */
  readonly changed: (progress: ChangeProgress, state: ChangeState | "conflict" | "unsupported") => void;
  readonly report: (cause: unknown) => void;
}

/** How far a proposal is. */
export interface ChangeProgress extends LiveChange {
  /** Approvals that it takes. */
  readonly needed: number;
}

/** Ended proposals that are remembered over a restart, and changes of one peer's that are taken for in force with it. */
const MAX_KEPT = 1_000;
/** Proposals that one operator may make in a day: a stolen key must not fill the disk. */
const MAX_PER_OPERATOR = 64;
const DAY_MS = 24 * 60 * 60 * 1000;
/** In units of the clock skew: how long after its expiry votes on a proposal are still waited for. */
const SETTLE_SKEWS = 2;

/**
 * Changes of the cluster, from one operator's proposal to its effect. A node approves with its own operator's signature on exactly the
 * change, and one successor of a manifest at a time; a quorum of approvals commits. A commit that a node learns of in time takes effect
 * when {@link changeEffectiveAt} says; one that more nodes than can be faulty have in force takes effect at once, so that a node that was
 * away follows.
 */
export class ChangeDesk {
  readonly #options: ChangeDeskOptions;
  readonly #modules: ChangeDeskModules;
  /** In order of arrival. */
  readonly #live = new Map<HashHex, LiveChange>();
  /** Effects of changes that each peer says are in force with it, oldest first. */
  readonly #told = new Map<NodeIndex, Set<HashHex>>();
  readonly #timers = new Map<HashHex, Timer>();
  #closed = false;

  constructor(options: ChangeDeskOptions, modules: ChangeDeskModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** Takes up what the store holds. */
  async restore(): Promise<void> {
    for (const live of await storedChanges(this.#modules.store, MAX_KEPT))
      this.#live.set(live.row.proposal, live);
  }

  /** Goes on with what waits for its time. */
  resume(): void {
    for (const live of this.#live.values()) this.#arm(live);
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) timer.cancel();
  }

  /** Newest first. */
  list(): readonly ChangeProgress[] {
    return [...this.#live.values()]
      .map((live) => this.#progress(live))
      .toSorted((a, b) => b.row.createdAt - a.row.createdAt || (a.row.proposal < b.row.proposal ? -1 : 1));
  }

  /** @throws CairnError `not-found` */
  get(proposal: HashHex): ChangeProgress {
    return this.#progress(this.#of(proposal));
  }

  /** Whether a lift in force ends the bans of `node` for `violation`. */
  forgives(node: NodeIndex, violation: HashHex): boolean {
    return [...this.#live.values()].some(({ row, signed: { body } }) => {
      if (row.state !== "in-force" || body.change.type !== "ban-lift") return false;
      const { lift } = body.change;
      return lift.node === node && lift.violations.includes(violation);
    });
  }

  /** Commits in force, each after what it changes. */
  commits(): readonly ChangeCommit[] {
    const chain = this.#modules.book.chain().map((link) => link.manifestHash);
    const place = ({ proposal: { body } }: ChangeCommit) =>
      chain.indexOf(body.manifestHash) + (isSuccessor(body.change) ? 0.5 : 0);
    return [...this.#live.values()]
      .flatMap((live) => (live.row.state === "in-force" ? (commitOf(live) ?? []) : []))
      .toSorted((a, b) => place(a) - place(b));
  }

  /**
   * Proposes a change to all nodes. The same proposal again changes nothing.
   * @throws CairnError the codes of `verifyChangeProposal` and `checkSupportedChange`, `clock-skew`, `expired`, `rate-limited`
   */
  propose(signed: SignedChangeProposal): Promise<ChangeProgress> {
    return this.#modules.loop.run((batch) => {
      const known = this.#live.get(changeProposalHash(signed.body));
      if (known !== undefined) return this.#progress(known);
      this.#check(signed);
      checkSupportedChange(signed.body.change, this.#modules.book.current);
      const live = this.#admit(batch, signed);
      this.#postProposal(batch, live);
      return this.#progress(live);
    });
  }

  /**
   * This node's approval, with its operator's signature on the change. The same again changes nothing.
   * @throws CairnError `not-found`, `operator-signature-missing`, `wrong-state` (ended, refused before, or this node has approved a rival)
   */
  sign(proposal: HashHex, operatorSignature: SignatureHex): Promise<ChangeProgress> {
    return this.#word(proposal, { approve: true, reason: null, operatorSignature });
  }

  /** This node's refusal, for good. @throws CairnError `not-found`, `wrong-state` (ended, or approved before) */
  refuse(proposal: HashHex): Promise<ChangeProgress> {
    return this.#word(proposal, { approve: false, reason: "operator-refused", operatorSignature: null });
  }

  /** A peer hands on a proposal. */
  async onProposal(payload: Uint8Array): Promise<void> {
    const signed = decodeCanonical(signedChangeProposalSchema, payload);
    await this.#modules.loop.run((batch) => {
      if (this.#live.has(changeProposalHash(signed.body))) return;
      this.#refuseFormer(signed);
      this.#check(signed);
      const live = this.#admit(batch, signed);
      const unsupported = this.#unsupported(signed);
      if (unsupported !== null)
        this.#vote(batch, live, { approve: false, reason: unsupported, operatorSignature: null });
    });
  }

  /** A node's word, from that node or whoever handed it on. */
  async onVote(payload: Uint8Array): Promise<void> {
    const vote = decodeCanonical(signedChangeVoteSchema, payload);
    await this.#modules.loop.run((batch) => {
      const { book } = this.#modules;
      const live = this.#live.get(vote.body.proposal);
      if (live === undefined) {
        if (this.#under(vote.body) !== book.current) return;
        throw new CairnError("busy", "the proposal is not here yet; send the vote again", {
          proposal: vote.body.proposal,
        });
      }
      verifyChangeVote(vote, live.signed.body, book.under(live.signed.body.manifestHash));
      this.#take(batch, live, [vote]);
    });
  }

  /**
   * A peer says that a change is in force with it.
   * @throws CairnError `busy` while too few say so of what came too late to be believed otherwise; those of `verifyChangeCommit`
   */
  async onCommit(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const commit = decodeCanonical(changeCommitSchema, payload);
    const { proposal: signed, votes } = commit;
    const hash = changeProposalHash(signed.body);
    const tellers = this.#tellers(effectOf(signed.body), from);
    await this.#modules.loop.run((batch) => {
      const { book, clock } = this.#modules;
      const known = this.#live.get(hash);
      if (known?.row.state === "in-force" || book.knows(effectOf(signed.body))) return;
      const under = this.#under(signed.body);
      verifyChangeCommit(commit, under);
      checkSupportedChange(signed.body.change, under);
      if (isSuccessor(signed.body.change) && under !== book.current) {
        this.#conflict(batch, known ?? this.#admit(batch, signed), commit);
        return;
      }
      const believed = tellers > faultsTolerated(under.manifest.members.length);
      if (!believed && known?.row.state !== "committed" && clock.now() >= this.#settledAt(signed.body)) {
        throw new CairnError(
          "busy",
          "the change came after its time, and too few nodes have it in force yet",
          { tellers },
        );
      }
      const live = this.#take(batch, known ?? this.#admit(batch, signed), votes);
      if (believed && live.row.state !== "in-force") this.#commit(batch, live, commit, clock.now());
    });
  }

  /** How many peers say that a change is in force with them, `from` among them. */
  #tellers(effect: HashHex, from: NodeIndex): number {
    const own = this.#told.get(from) ?? new Set<HashHex>();
    own.add(effect);
    const [oldest] = own;
    if (own.size > MAX_KEPT && oldest !== undefined) own.delete(oldest);
    this.#told.set(from, own);
    return [...this.#told.values()].filter((effects) => effects.has(effect)).length;
  }

  #word(
    proposal: HashHex,
    word: Pick<ChangeVote, "approve" | "reason" | "operatorSignature">,
  ): Promise<ChangeProgress> {
    return this.#modules.loop.run((batch) => {
      const live = this.#of(proposal);
      const own = live.votes.get(this.#options.me)?.body;
      if (own !== undefined && own.approve === word.approve) return this.#progress(live);
      const { row, signed } = live;
      if (own !== undefined || row.state !== "open" || this.#modules.clock.now() >= row.expiry) {
        throw new CairnError(
          "wrong-state",
          own === undefined
            ? "the proposal takes no votes any more; propose the change again"
            : "this node has given its word on the proposal; propose the change again",
          { proposal, state: row.state },
        );
      }
      if (word.approve) this.#refuseRival(signed);
      return this.#progress(this.#vote(batch, live, word));
    });
  }

  /** Signs this node's word and takes it in: its row, what follows from it and its postings are one commit. */
  #vote(
    batch: Batch,
    live: LiveChange,
    word: Pick<ChangeVote, "approve" | "reason" | "operatorSignature">,
  ): LiveChange {
    const { signer, book } = this.#modules;
    const { proposal } = live.row;
    const { cluster, manifestHash } = live.signed.body;
    const vote = signChangeVote(
      { version: 1, cluster, manifestHash, proposal, node: this.#options.me, ...word },
      signer,
    );
    verifyChangeVote(vote, live.signed.body, book.current);
    batch.audit("change-vote", proposal, { approve: word.approve, reason: word.reason });
    // Whoever proposed may have kept it from some.
    this.#postProposal(batch, live);
    this.#postVote(batch, vote);
    return this.#take(batch, live, [vote]);
  }

  /** Takes verified votes in, and does what follows. */
  #take(batch: Batch, before: LiveChange, votes: readonly SignedChangeVote[]): LiveChange {
    const { clock } = this.#modules;
    const { proposal } = before.row;
    const known = new Map(before.votes);
    for (const vote of votes) {
      const { node } = vote.body;
      const earlier = known.get(node);
      if (earlier === undefined) {
        known.set(node, vote);
        const row = { proposal, node, body: encodeCanonical(vote), receivedAt: clock.now() };
        batch.write({ write: "change-vote", row });
      } else if (earlier.body.approve !== vote.body.approve) {
        batch.audit("change-double-vote", proposal, { node });
      }
    }
    if (known.size === before.votes.size) return before;
    const live = { ...before, votes: known };
    batch.put(this.#live, proposal, live);
    return this.#count(batch, live);
  }

  #count(batch: Batch, live: LiveChange): LiveChange {
    const { book, clock } = this.#modules;
    const { row, signed, votes } = live;
    if (row.commit !== null || clock.now() >= this.#settledAt(signed.body)) return live;
    const under = book.under(signed.body.manifestHash);
    const commit = formChangeCommit(signed, [...votes.values()], under);
    if (commit === null) {
      if (row.state !== "open") return live;
      const refusals = [...votes.values()].filter(({ body }) => !body.approve).length;
      const total = under.manifest.members.length;
      const lost = total - refusals < changeQuorum(signed.body.change, under);
      return lost ? this.#end(batch, live, "rejected") : this.#tell(batch, live);
    }
    // Another proposal of the same successor has brought it about.
    if (book.knows(effectOf(signed.body))) return live;
    if (
      isSuccessor(signed.body.change) &&
      (under !== book.current || this.#committedRival(signed.body) !== null)
    ) {
      return this.#conflict(batch, live, commit);
    }
    const effectiveAt = changeEffectiveAt(signed.body.change, row.firstSeenAt, under);
    return this.#commit(batch, live, commit, effectiveAt);
  }

  #commit(batch: Batch, live: LiveChange, commit: ChangeCommit, effectiveAt: UnixMs): LiveChange {
    const { clock } = this.#modules;
    const { proposal } = live.row;
    batch.audit("change-committed", proposal, {
      type: live.row.type,
      nodes: commit.votes.map(({ body }) => body.node).join(","),
      effectiveAt,
    });
    // A voter may have told its vote to some only: all must come to the same end.
    for (const vote of commit.votes) this.#postVote(batch, vote);
    const committed = this.#update(batch, live, {
      state: "committed",
      commit: encodeCanonical(commit),
      effectiveAt,
    });
    if (effectiveAt <= clock.now()) return this.#takeEffect(batch, committed);
    batch.afterwards(() => this.#arm(committed));
    return committed;
  }

  #takeEffect(batch: Batch, live: LiveChange): LiveChange {
    const { book, clock, liftBans } = this.#modules;
    const commit = commitOf(live);
    const { change, manifestHash } = live.signed.body;
    if (commit === null) return live;
    if (this.#unsupported(live.signed) !== null) {
      batch.afterwards(() => this.#modules.changed(this.#progress(live), "unsupported"));
      return live;
    }
    switch (change.type) {
      case "manifest": {
        if (book.manifestHash !== manifestHash) return this.#end(batch, live, "overtaken");
        const link = book.adopt(batch, commit);
        batch.afterwards(() => this.#modules.inForce(link));
        for (const other of this.#live.values()) {
          const { row, signed } = other;
          const decided = row.state === "committed" && isSuccessor(signed.body.change);
          if (row.proposal === live.row.proposal || !(decided || row.state === "open")) continue;
          this.#end(batch, other, "overtaken");
          if (decided && effectOf(signed.body) !== effectOf(live.signed.body))
            batch.afterwards(() => this.#modules.changed(this.#progress(other), "conflict"));
        }
        break;
      }
      case "ban-lift":
        liftBans(batch, change.lift.node, change.lift.violations);
        break;
      case "refresh":
        return live;
    }
    batch.audit("change-in-force", live.row.proposal, { type: change.type });
    const others = otherMembers(book.manifest, this.#options.me);
    const message = peerMessage("change-commit", encodeCanonical(commit));
    batch.post(others, `change-commit/${live.row.proposal}`, message);
    return this.#update(batch, live, { state: "in-force", effectiveAt: clock.now() });
  }

  #end(batch: Batch, live: LiveChange, state: "rejected" | "expired" | "overtaken"): LiveChange {
    batch.audit("change-ended", live.row.proposal, { state, ...wordsOf(live) });
    return this.#update(batch, live, { state });
  }

  /** Two quorums for two successors of one manifest: more nodes than can be are faulty, or one was cut off for long. */
  #conflict(batch: Batch, live: LiveChange, commit: ChangeCommit): LiveChange {
    if (live.row.commit !== null) return live;
    batch.audit("change-conflict", live.row.proposal, wordsOf(live));
    batch.afterwards(() => this.#modules.changed(this.#progress(live), "conflict"));
    return this.#update(batch, live, { state: "overtaken", commit: encodeCanonical(commit) });
  }

  #admit(batch: Batch, signed: SignedChangeProposal): LiveChange {
    const { clock } = this.#modules;
    const { body } = signed;
    const now = clock.now();
    const row: ChangeRow = {
      proposal: changeProposalHash(body),
      type: body.change.type,
      state: "open",
      body: encodeCanonical(signed),
      commit: null,
      createdAt: body.createdAt,
      expiry: body.expiry,
      firstSeenAt: now,
      effectiveAt: null,
      updatedAt: now,
    };
    const live: LiveChange = { row, signed, votes: new Map() };
    batch.audit("change-proposed", row.proposal, { type: row.type, operator: body.operator });
    batch.put(this.#live, row.proposal, live);
    batch.write({ write: "change", row });
    batch.afterwards(() => this.#arm(live));
    return this.#tell(batch, live);
  }

  #update(batch: Batch, live: LiveChange, change: Partial<ChangeRow>): LiveChange {
    const row = { ...live.row, ...change, updatedAt: this.#modules.clock.now() };
    const next = { ...live, row };
    batch.put(this.#live, row.proposal, next);
    batch.write({ write: "change", row });
    return this.#tell(batch, next);
  }

  #tell(batch: Batch, live: LiveChange): LiveChange {
    batch.afterwards(() => this.#modules.changed(this.#progress(live), live.row.state));
    return live;
  }

  #postProposal(batch: Batch, { row }: LiveChange): void {
    const others = otherMembers(this.#modules.book.manifest, this.#options.me);
    batch.post(others, `change/${row.proposal}`, peerMessage("change", row.body));
  }

  #postVote(batch: Batch, vote: SignedChangeVote): void {
    const { node, proposal } = vote.body;
    const others = otherMembers(this.#modules.book.manifest, this.#options.me).filter((to) => to !== node);
    batch.post(others, `change-vote/${proposal}/${node}`, peerMessage("change-vote", encodeCanonical(vote)));
  }

  /** Waits for what comes next: the end of voting, or the effect. */
  #arm({ row, signed }: LiveChange): void {
    const at =
      row.state === "open"
        ? this.#settledAt(signed.body)
        : row.state === "committed"
          ? row.effectiveAt
          : null;
    this.#timers.get(row.proposal)?.cancel();
    this.#timers.delete(row.proposal);
    if (at === null || this.#closed) return;
    const timer = atTime(this.#modules.clock, at, () => this.#later(this.#due(row.proposal)));
    this.#timers.set(row.proposal, timer);
  }

  #due(proposal: HashHex): Promise<void> {
    return this.#modules.loop.run((batch) => {
      const live = this.#of(proposal);
      if (live.row.state === "committed") this.#takeEffect(batch, live);
      else if (live.row.state === "open") this.#end(batch, live, "expired");
    });
  }

  /** @throws CairnError what is wrong with a proposal now, beside what this version does not support */
  #check(signed: SignedChangeProposal): void {
    const { book, clock } = this.#modules;
    const { body } = signed;
    const now = clock.now();
    verifyChangeProposal(signed, book.current);
    if (body.createdAt > now + this.#options.clockSkewMs) {
      throw new CairnError("clock-skew", "the proposal was made in the future; check the clocks", {
        createdAt: body.createdAt,
        now,
      });
    }
    if (body.expiry <= now) {
      throw new CairnError("expired", "the proposal has expired; propose the change again", {
        expiry: body.expiry,
      });
    }
    const lately = [...this.#live.values()].filter(
      ({ row, signed: { body: other } }) =>
        other.operator === body.operator && row.firstSeenAt > now - DAY_MS,
    );
    if (lately.length >= MAX_PER_OPERATOR) {
      throw new CairnError("rate-limited", "the operator has made too many proposals in a day; wait", {
        limit: MAX_PER_OPERATOR,
      });
    }
  }

  /** @throws CairnError `wrong-cluster`, `wrong-manifest` */
  #under({ cluster, manifestHash }: Pick<ChangeProposal, "cluster" | "manifestHash">): ManifestLink {
    const { book } = this.#modules;
    if (cluster !== book.manifest.cluster)
      throw new CairnError("wrong-cluster", "the change is of another cluster");
    return book.under(manifestHash);
  }

  /** What changes a former manifest can't come about any more, however often it is sent. */
  #refuseFormer({ body }: SignedChangeProposal): void {
    if (this.#under(body) === this.#modules.book.current) return;
    throw new CairnError("wrong-state", "the proposal changes a manifest that is no longer in force", {
      named: body.manifestHash,
    });
  }

  #unsupported(signed: SignedChangeProposal): ErrorCode | null {
    try {
      checkSupportedChange(signed.body.change, this.#modules.book.under(signed.body.manifestHash));
      return null;
    } catch (error) {
      if (!isCairnError(error)) throw error;
      return error.code;
    }
  }

  /**
   * A node approves one successor of a manifest at a time. It is free again when votes on the other count nowhere any more.
   * @throws CairnError `wrong-state`
   */
  #refuseRival(signed: SignedChangeProposal): void {
    if (!isSuccessor(signed.body.change)) return;
    const { me, clockSkewMs } = this.#options;
    const now = this.#modules.clock.now();
    const freeAt = (rival: LiveChange) => this.#settledAt(rival.signed.body) + SETTLE_SKEWS * clockSkewMs;
    const approved = this.#rivals(signed.body).find(
      (rival) => rival.votes.get(me)?.body.approve === true && now < freeAt(rival),
    );
    const rival = this.#committedRival(signed.body) ?? approved;
    if (rival === undefined) return;
    throw new CairnError(
      "wrong-state",
      "this node has approved another change of the same manifest; have that one signed by the others, or wait until it has expired",
      { rival: rival.row.proposal, until: rival === approved ? freeAt(rival) : null },
    );
  }

  #committedRival(body: ChangeProposal): LiveChange | null {
    return this.#rivals(body).find(({ row }) => row.state === "committed") ?? null;
  }

  /** Proposals of other successors of the same manifest. */
  #rivals(body: ChangeProposal): readonly LiveChange[] {
    const effect = effectOf(body);
    return [...this.#live.values()].filter(
      ({ signed }) =>
        isSuccessor(signed.body.change) &&
        signed.body.manifestHash === body.manifestHash &&
        effectOf(signed.body) !== effect,
    );
  }

  /** When votes on a proposal count here no more: its expiry, and the time that clocks and messages may take. */
  #settledAt({ expiry }: ChangeProposal): UnixMs {
    return (expiry + SETTLE_SKEWS * this.#options.clockSkewMs) as UnixMs;
  }

  #progress(live: LiveChange): ChangeProgress {
    const { change, manifestHash } = live.signed.body;
    return { ...live, needed: changeQuorum(change, this.#modules.book.under(manifestHash)) };
  }

  #of(proposal: HashHex): LiveChange {
    const live = this.#live.get(proposal);
    if (live !== undefined) return live;
    throw new CairnError("not-found", "this node knows no such proposal; `cairn proposal list` shows them", {
      proposal,
    });
  }

  #later(work: Promise<void>): void {
    unawaited(work, this.#modules.report);
  }
}

/** Votes and reasons, for the audit log and alerts. */
export function wordsOf({ votes }: Pick<LiveChange, "votes">): {
  readonly approved: string;
  readonly refused: string;
} {
  const words = [...votes.values()].map(({ body }) => body).toSorted((a, b) => a.node - b.node);
  return {
    approved: words
      .filter(({ approve }) => approve)
      .map(({ node }) => node)
      .join(","),
    refused: words.flatMap(({ node, reason }) => (reason === null ? [] : [`${node}:${reason}`])).join(","),
  };
}
