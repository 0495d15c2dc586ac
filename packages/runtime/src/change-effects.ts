import {
  type ChangeCommit,
  type Clock,
  encodeCanonical,
  type HashHex,
  type NodeIndex,
  type Timer,
  type UnixMs,
} from "@cairn/core";
import { atTime } from "./at-time.ts";
import type { ChangePosts } from "./change-posts.ts";
import type { ChangeRules } from "./change-rules.ts";

import { commitOf, isSuccessor, type LiveChange } from "./live-change.ts";
import type { LiveChanges } from "./live-changes.ts";
import type { Batch, Loop } from "./loop.ts";
import type { ManifestBook, ManifestLink } from "./manifest-book.ts";
import { unawaited } from "./unawaited.ts";
import { unsupportedChange } from "./unsupported-change.ts";
import { wordsOf } from "./words-of.ts";

export interface ChangeEffectsModules {
  readonly loop: Loop;
  readonly clock: Clock;
  readonly book: ManifestBook;
  readonly changes: LiveChanges;
  readonly rules: ChangeRules;
  readonly posts: ChangePosts;
  /** Ends a node's bans for these violations, in the batch of the change that says so. */
  readonly liftBans: (batch: Batch, node: NodeIndex, violations: readonly HashHex[]) => void;
  /** Another manifest is in force, durably. */
  readonly inForce: (link: ManifestLink) => void;
  readonly report: (cause: unknown) => void;
}

/** How proposals end: by their effect at its time, or without one. */
export class ChangeEffects {
  readonly #modules: ChangeEffectsModules;
  readonly #timers = new Map<HashHex, Timer>();
  #closed = false;

  constructor(modules: ChangeEffectsModules) {
    this.#modules = modules;
  }

  /** Goes on with what waits for its time. */
  resume(): void {
    for (const live of this.#modules.changes.all()) this.arm(live);
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) timer.cancel();
  }

  /** Waits for what comes next: the end of voting, or the effect. */
  arm({ row, signed }: LiveChange): void {
    const { clock, rules, report } = this.#modules;
    const at =
      row.state === "open"
        ? rules.settledAt(signed.body)
        : row.state === "committed"
          ? row.effectiveAt
          : null;
    this.#timers.get(row.proposal)?.cancel();
    this.#timers.delete(row.proposal);
    if (at === null || this.#closed) return;
    const timer = atTime(clock, at, () => unawaited(this.#due(row.proposal), report));
    this.#timers.set(row.proposal, timer);
  }

  /** A quorum has approved: takes effect at `effectiveAt`, which may be now. */
  commit(batch: Batch, live: LiveChange, commit: ChangeCommit, effectiveAt: UnixMs): LiveChange {
    const { changes, clock, posts } = this.#modules;
    batch.audit("change-committed", live.row.proposal, {
      type: live.row.type,
      nodes: commit.votes.map(({ body }) => body.node).join(","),
      effectiveAt,
    });
    // A voter may have told its vote to some only: all must come to the same end.
    for (const vote of commit.votes) posts.vote(batch, vote);
    const committed = changes.update(batch, live, {
      state: "committed",
      commit: encodeCanonical(commit),
      effectiveAt,
    });
    if (effectiveAt <= clock.now()) return this.#takeEffect(batch, committed);
    batch.afterwards(() => this.arm(committed));
    return committed;
  }

  /** Two quorums for two successors of one manifest: more nodes than can be are faulty, or one was cut off for long. */
  conflict(batch: Batch, live: LiveChange, commit: ChangeCommit): LiveChange {
    if (live.row.commit !== null) return live;
    batch.audit("change-conflict", live.row.proposal, wordsOf(live.votes.values()));
    return this.#modules.changes.update(batch, live, { state: "overtaken", commit: encodeCanonical(commit) });
  }

  end(batch: Batch, live: LiveChange, state: "rejected" | "expired" | "overtaken"): LiveChange {
    batch.audit("change-ended", live.row.proposal, { state, ...wordsOf(live.votes.values()) });
    return this.#modules.changes.update(batch, live, { state });
  }

  #due(proposal: HashHex): Promise<void> {
    return this.#modules.loop.run((batch) => {
      const live = this.#modules.changes.of(proposal);
      if (live.row.state === "committed") this.#takeEffect(batch, live);
      else if (live.row.state === "open") this.end(batch, live, "expired");
    });
  }

  #takeEffect(batch: Batch, live: LiveChange): LiveChange {
    const { book, changes, clock, liftBans, posts } = this.#modules;
    const commit = commitOf(live);
    const { change, manifestHash } = live.signed.body;
    if (commit === null) return live;
    if (unsupportedChange(live.signed, book) !== null) return changes.tell(batch, live);
    switch (change.type) {
      case "manifest": {
        if (book.manifestHash !== manifestHash) return this.end(batch, live, "overtaken");
        const link = book.adopt(batch, commit);
        batch.afterwards(() => this.#modules.inForce(link));
        for (const other of changes.all()) {
          const { row, signed } = other;
          const decided = row.state === "committed" && isSuccessor(signed.body.change);
          if (row.proposal !== live.row.proposal && (decided || row.state === "open"))
            this.end(batch, other, "overtaken");
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
    posts.commit(batch, commit);
    return changes.update(batch, live, { state: "in-force", effectiveAt: clock.now() });
  }
}
