import {
  CairnError,
  type ChangeVote,
  type Clock,
  changeCommitSchema,
  changeEffectiveAt,
  changeProposalHash,
  changeQuorum,
  checkSupportedChange,
  decodeCanonical,
  faultsTolerated,
  formChangeCommit,
  type HashHex,
  type NodeIndex,
  type NodeStore,
  type SignatureHex,
  type SignedChangeProposal,
  type SignedChangeVote,
  type Signer,
  signChangeVote,
  signedChangeProposalSchema,
  signedChangeVoteSchema,
  verifyChangeCommit,
  verifyChangeVote,
} from "@cairn/core";
import { ChangeEffects } from "./change-effects.ts";
import { ChangePosts } from "./change-posts.ts";
import { ChangeRules } from "./change-rules.ts";
import { effectOf, isSuccessor, type LiveChange } from "./live-change.ts";
import { type ChangeProgress, LiveChanges } from "./live-changes.ts";
import type { Batch, Loop } from "./loop.ts";
import type { ManifestBook, ManifestLink } from "./manifest-book.ts";
import { unsupportedChange } from "./unsupported-change.ts";

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
  /** A proposal has changed. */
  readonly changed: (progress: ChangeProgress) => void;
  readonly report: (cause: unknown) => void;
}

/** Changes of one peer's that are taken for in force with it. */
const MAX_TOLD = 1_000;

/**
 * Changes of the cluster, from one operator's proposal to its effect. A node approves with its own operator's signature on exactly the
 * change, and one successor of a manifest at a time; a quorum of approvals commits. A commit that a node learns of in time takes effect
 * when {@link changeEffectiveAt} says; one that more nodes than can be faulty have in force takes effect at once, so that a node that was
 * away follows.
 */
export class ChangeDesk {
  readonly #options: ChangeDeskOptions;
  readonly #modules: ChangeDeskModules;
  readonly #changes: LiveChanges;
  readonly #rules: ChangeRules;
  readonly #posts: ChangePosts;
  readonly #effects: ChangeEffects;
  /** Effects of changes that each peer says are in force with it, oldest first. */
  readonly #told = new Map<NodeIndex, Set<HashHex>>();

  constructor(options: ChangeDeskOptions, modules: ChangeDeskModules) {
    this.#options = options;
    this.#modules = modules;
    this.#changes = new LiveChanges(modules);
    const changes = this.#changes;
    this.#rules = new ChangeRules(options, { ...modules, changes });
    this.#posts = new ChangePosts({ me: options.me, book: modules.book });
    this.#effects = new ChangeEffects({ ...modules, changes, rules: this.#rules, posts: this.#posts });
  }

  /** Takes up what the store holds. */
  restore(): Promise<void> {
    return this.#changes.restore(this.#modules.store);
  }

  /** Goes on with what waits for its time. */
  resume(): void {
    this.#effects.resume();
  }

  close(): void {
    this.#effects.close();
  }

  /** Newest first. */
  list(): readonly ChangeProgress[] {
    return this.#changes
      .all()
      .map((live) => this.#changes.progress(live))
      .toSorted((a, b) => b.row.createdAt - a.row.createdAt || (a.row.proposal < b.row.proposal ? -1 : 1));
  }

  /** @throws CairnError `not-found` */
  get(proposal: HashHex): ChangeProgress {
    return this.#changes.progress(this.#changes.of(proposal));
  }

  /** Whether a lift in force ends the bans of `node` for `violation`. */
  forgives(node: NodeIndex, violation: HashHex): boolean {
    return this.#changes.forgives(node, violation);
  }

  /** Commits in force, each after what it changes. */
  commits(): ReturnType<LiveChanges["commits"]> {
    return this.#changes.commits();
  }

  /**
   * Proposes a change to all nodes. The same proposal again changes nothing.
   * @throws CairnError the codes of `verifyChangeProposal` and `checkSupportedChange`, `clock-skew`, `expired`, `rate-limited`
   */
  propose(signed: SignedChangeProposal): Promise<ChangeProgress> {
    return this.#modules.loop.run((batch) => {
      const known = this.#changes.get(changeProposalHash(signed.body));
      if (known !== undefined) return this.#changes.progress(known);
      this.#rules.check(signed);
      checkSupportedChange(signed.body.change, this.#modules.book.current);
      const live = this.#admit(batch, signed);
      this.#posts.proposal(batch, live);
      return this.#changes.progress(live);
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
      if (this.#changes.get(changeProposalHash(signed.body)) !== undefined) return;
      this.#rules.refuseFormer(signed);
      this.#rules.check(signed);
      const live = this.#admit(batch, signed);
      const unsupported = unsupportedChange(signed, this.#modules.book);
      if (unsupported !== null)
        this.#vote(batch, live, { approve: false, reason: unsupported, operatorSignature: null });
    });
  }

  /** A node's word, from that node or whoever handed it on. */
  async onVote(payload: Uint8Array): Promise<void> {
    const vote = decodeCanonical(signedChangeVoteSchema, payload);
    await this.#modules.loop.run((batch) => {
      const { book } = this.#modules;
      const live = this.#changes.get(vote.body.proposal);
      if (live === undefined) {
        if (this.#rules.under(vote.body) !== book.current) return;
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
      const known = this.#changes.get(hash);
      if (known?.row.state === "in-force" || book.knows(effectOf(signed.body))) return;
      const under = this.#rules.under(signed.body);
      verifyChangeCommit(commit, under);
      checkSupportedChange(signed.body.change, under);
      if (isSuccessor(signed.body.change) && under !== book.current) {
        this.#effects.conflict(batch, known ?? this.#admit(batch, signed), commit);
        return;
      }
      const believed = tellers > faultsTolerated(under.manifest.members.length);
      if (
        !believed &&
        known?.row.state !== "committed" &&
        clock.now() >= this.#rules.settledAt(signed.body)
      ) {
        throw new CairnError(
          "busy",
          "the change came after its time, and too few nodes have it in force yet",
          { tellers },
        );
      }
      const live = this.#take(batch, known ?? this.#admit(batch, signed), votes);
      if (believed && live.row.state !== "in-force") this.#effects.commit(batch, live, commit, clock.now());
    });
  }

  /** How many peers say that a change is in force with them, `from` among them. */
  #tellers(effect: HashHex, from: NodeIndex): number {
    const own = this.#told.get(from) ?? new Set<HashHex>();
    own.add(effect);
    const [oldest] = own;
    if (own.size > MAX_TOLD && oldest !== undefined) own.delete(oldest);
    this.#told.set(from, own);
    return [...this.#told.values()].filter((effects) => effects.has(effect)).length;
  }

  #word(
    proposal: HashHex,
    word: Pick<ChangeVote, "approve" | "reason" | "operatorSignature">,
  ): Promise<ChangeProgress> {
    return this.#modules.loop.run((batch) => {
      const live = this.#changes.of(proposal);
      const own = live.votes.get(this.#options.me)?.body;
      if (own !== undefined && own.approve === word.approve) return this.#changes.progress(live);
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
      if (word.approve) this.#rules.refuseRival(signed);
      return this.#changes.progress(this.#vote(batch, live, word));
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
    this.#posts.proposal(batch, live);
    this.#posts.vote(batch, vote);
    return this.#take(batch, live, [vote]);
  }

  /** Takes verified votes in, and does what follows. */
  #take(batch: Batch, before: LiveChange, votes: readonly SignedChangeVote[]): LiveChange {
    const live = this.#changes.heard(batch, before, votes);
    if (live === before) return before;
    return this.#count(batch, live);
  }

  #count(batch: Batch, live: LiveChange): LiveChange {
    const { book, clock } = this.#modules;
    const { row, signed, votes } = live;
    if (row.commit !== null || clock.now() >= this.#rules.settledAt(signed.body)) return live;
    const under = book.under(signed.body.manifestHash);
    const commit = formChangeCommit(signed, [...votes.values()], under);
    if (commit === null) {
      if (row.state !== "open") return live;
      const refusals = [...votes.values()].filter(({ body }) => !body.approve).length;
      const total = under.manifest.members.length;
      const lost = total - refusals < changeQuorum(signed.body.change, under);
      return lost ? this.#effects.end(batch, live, "rejected") : this.#changes.tell(batch, live);
    }
    // Another proposal of the same successor has brought it about.
    if (book.knows(effectOf(signed.body))) return live;
    if (
      isSuccessor(signed.body.change) &&
      (under !== book.current || this.#changes.committedRival(signed.body) !== null)
    ) {
      return this.#effects.conflict(batch, live, commit);
    }
    const effectiveAt = changeEffectiveAt(signed.body.change, row.firstSeenAt, under);
    return this.#effects.commit(batch, live, commit, effectiveAt);
  }

  #admit(batch: Batch, signed: SignedChangeProposal): LiveChange {
    const live = this.#changes.admit(batch, signed);
    batch.afterwards(() => this.#effects.arm(live));
    return live;
  }
}
