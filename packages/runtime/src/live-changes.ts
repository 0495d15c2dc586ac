import {
  CairnError,
  type ChangeCommit,
  type ChangeProposal,
  type ChangeRow,
  type ChangeState,
  type Clock,
  changeProposalHash,
  changeQuorum,
  encodeCanonical,
  type HashHex,
  type NodeIndex,
  type NodeStore,
  type SignedChangeProposal,
  type SignedChangeVote,
} from "@cairn/core";
import { commitOf, effectOf, isSuccessor, type LiveChange, storedChanges } from "./live-change.ts";
import type { Batch } from "./loop.ts";
import type { ManifestBook } from "./manifest-book.ts";
import { unsupportedChange } from "./unsupported-change.ts";

/**
 * Where a proposal stands: its row's state, but for two that operators must look into. `conflict`: two quorums decided on different
 * successors of one manifest; `unsupported`: it is due, and this version can't carry it out.
 */
export type ChangeStanding = ChangeState | "conflict" | "unsupported";

/** How far a proposal is. */
export interface ChangeProgress extends LiveChange {
  /** Approvals that it takes. */
  readonly needed: number;
  readonly standing: ChangeStanding;
}

/** Ended proposals that are remembered over a restart. */
const MAX_KEPT = 1_000;

/** The proposals that this node knows. Every change of a row is stored and told with it. */
export class LiveChanges {
  readonly #book: ManifestBook;
  readonly #clock: Clock;
  readonly #changed: (progress: ChangeProgress) => void;
  /** In order of arrival. */
  readonly #live = new Map<HashHex, LiveChange>();

  constructor(modules: {
    readonly book: ManifestBook;
    readonly clock: Clock;
    readonly changed: (progress: ChangeProgress) => void;
  }) {
    this.#book = modules.book;
    this.#clock = modules.clock;
    this.#changed = modules.changed;
  }

  async restore(store: Pick<NodeStore, "changes" | "changeVotes">): Promise<void> {
    for (const live of await storedChanges(store, MAX_KEPT)) this.#live.set(live.row.proposal, live);
  }

  get(proposal: HashHex): LiveChange | undefined {
    return this.#live.get(proposal);
  }

  /** @throws CairnError `not-found` */
  of(proposal: HashHex): LiveChange {
    const live = this.#live.get(proposal);
    if (live !== undefined) return live;
    throw new CairnError("not-found", "this node knows no such proposal; `cairn proposal list` shows them", {
      proposal,
    });
  }

  all(): readonly LiveChange[] {
    return [...this.#live.values()];
  }

  progress(live: LiveChange): ChangeProgress {
    const { change, manifestHash } = live.signed.body;
    const needed = changeQuorum(change, this.#book.under(manifestHash));
    return { ...live, needed, standing: this.#standing(live) };
  }

  /** Whether a lift in force ends the bans of `node` for `violation`. */
  forgives(node: NodeIndex, violation: HashHex): boolean {
    return this.all().some(({ row, signed: { body } }) => {
      if (row.state !== "in-force" || body.change.type !== "ban-lift") return false;
      const { lift } = body.change;
      return lift.node === node && lift.violations.includes(violation);
    });
  }

  /** Commits in force, each after what it changes. */
  commits(): readonly ChangeCommit[] {
    const chain = this.#book.chain().map((link) => link.manifestHash);
    const place = ({ proposal: { body } }: ChangeCommit) =>
      chain.indexOf(body.manifestHash) + (isSuccessor(body.change) ? 0.5 : 0);
    return this.all()
      .flatMap((live) => (live.row.state === "in-force" ? (commitOf(live) ?? []) : []))
      .toSorted((a, b) => place(a) - place(b));
  }

  /** Proposals of other successors of the same manifest. */
  rivals(body: ChangeProposal): readonly LiveChange[] {
    const effect = effectOf(body);
    return this.all().filter(
      ({ signed }) =>
        isSuccessor(signed.body.change) &&
        signed.body.manifestHash === body.manifestHash &&
        effectOf(signed.body) !== effect,
    );
  }

  committedRival(body: ChangeProposal): LiveChange | null {
    return this.rivals(body).find(({ row }) => row.state === "committed") ?? null;
  }

  /** Takes in a proposal that is new here. */
  admit(batch: Batch, signed: SignedChangeProposal): LiveChange {
    const { body } = signed;
    const now = this.#clock.now();
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
    return this.tell(batch, live);
  }

  /** Takes in verified votes; a node's first word stands. @returns `before` itself where none is news */
  heard(batch: Batch, before: LiveChange, votes: readonly SignedChangeVote[]): LiveChange {
    const { proposal } = before.row;
    const known = new Map(before.votes);
    for (const vote of votes) {
      const { node } = vote.body;
      const earlier = known.get(node);
      if (earlier === undefined) {
        known.set(node, vote);
        const row = { proposal, node, body: encodeCanonical(vote), receivedAt: this.#clock.now() };
        batch.write({ write: "change-vote", row });
      } else if (earlier.body.approve !== vote.body.approve) {
        batch.audit("change-double-vote", proposal, { node });
      }
    }
    if (known.size === before.votes.size) return before;
    const live = { ...before, votes: known };
    batch.put(this.#live, proposal, live);
    return live;
  }

  /** Changes a proposal's row. */
  update(batch: Batch, live: LiveChange, change: Partial<ChangeRow>): LiveChange {
    const row = { ...live.row, ...change, updatedAt: this.#clock.now() };
    const next = { ...live, row };
    batch.put(this.#live, row.proposal, next);
    batch.write({ write: "change", row });
    return this.tell(batch, next);
  }

  /** Says how far a proposal is, once the batch is durable. */
  tell(batch: Batch, live: LiveChange): LiveChange {
    batch.afterwards(() => this.#changed(this.progress(live)));
    return live;
  }

  #standing({ row, signed }: LiveChange): ChangeStanding {
    const decided = row.commit !== null && isSuccessor(signed.body.change);
    if (row.state === "overtaken" && decided && !this.#book.knows(effectOf(signed.body))) return "conflict";
    const due = row.state === "committed" && row.effectiveAt !== null && row.effectiveAt <= this.#clock.now();
    return due && unsupportedChange(signed, this.#book) !== null ? "unsupported" : row.state;
  }
}
