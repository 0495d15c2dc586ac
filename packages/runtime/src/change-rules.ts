import {
  CairnError,
  type ChangeProposal,
  type Clock,
  type NodeIndex,
  type SignedChangeProposal,
  type UnixMs,
  verifyChangeProposal,
} from "@cairn/core";
import { isSuccessor, type LiveChange } from "./live-change.ts";
import type { LiveChanges } from "./live-changes.ts";
import type { ManifestBook, ManifestLink } from "./manifest-book.ts";

export interface ChangeRulesOptions {
  readonly me: NodeIndex;
  /** Largest difference between two clocks that is believed, in milliseconds. */
  readonly clockSkewMs: number;
}

export interface ChangeRulesModules {
  readonly book: ManifestBook;
  readonly clock: Clock;
  readonly changes: Pick<LiveChanges, "all" | "rivals" | "committedRival">;
}

/** Proposals that one operator may make in a day: a stolen key must not fill the disk. */
const MAX_PER_OPERATOR = 64;
const DAY_MS = 24 * 60 * 60 * 1000;
/** In units of the clock skew: how long after its expiry votes on a proposal are still waited for. */
const SETTLE_SKEWS = 2;

/** Which proposals this node takes, until when it counts votes on them, and which of them it may approve. */
export class ChangeRules {
  readonly #options: ChangeRulesOptions;
  readonly #modules: ChangeRulesModules;

  constructor(options: ChangeRulesOptions, modules: ChangeRulesModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /**
   * What is wrong with a proposal now, beside what this version does not support.
   * @throws CairnError the codes of `verifyChangeProposal`, `clock-skew`, `expired`, `rate-limited`
   */
  check(signed: SignedChangeProposal): void {
    const { book, clock, changes } = this.#modules;
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
    const lately = changes
      .all()
      .filter(
        ({ row, signed: { body: other } }) =>
          other.operator === body.operator && row.firstSeenAt > now - DAY_MS,
      );
    if (lately.length >= MAX_PER_OPERATOR) {
      throw new CairnError("rate-limited", "the operator has made too many proposals in a day; wait", {
        limit: MAX_PER_OPERATOR,
      });
    }
  }

  /** The manifest that a proposal or vote names. @throws CairnError `wrong-cluster`, `wrong-manifest` */
  under({ cluster, manifestHash }: Pick<ChangeProposal, "cluster" | "manifestHash">): ManifestLink {
    const { book } = this.#modules;
    if (cluster !== book.manifest.cluster)
      throw new CairnError("wrong-cluster", "the change is of another cluster");
    return book.under(manifestHash);
  }

  /** What changes a former manifest can't come about any more, however often it is sent. @throws CairnError `wrong-state` */
  refuseFormer({ body }: SignedChangeProposal): void {
    if (this.under(body) === this.#modules.book.current) return;
    throw new CairnError("wrong-state", "the proposal changes a manifest that is no longer in force", {
      named: body.manifestHash,
    });
  }

  /**
   * A node approves one successor of a manifest at a time. It is free again when votes on the other count nowhere any more.
   * @throws CairnError `wrong-state`
   */
  refuseRival(signed: SignedChangeProposal): void {
    if (!isSuccessor(signed.body.change)) return;
    const { changes, clock } = this.#modules;
    const { me, clockSkewMs } = this.#options;
    const now = clock.now();
    const freeAt = (rival: LiveChange) => this.settledAt(rival.signed.body) + SETTLE_SKEWS * clockSkewMs;
    const approved = changes
      .rivals(signed.body)
      .find((rival) => rival.votes.get(me)?.body.approve === true && now < freeAt(rival));
    const rival = changes.committedRival(signed.body) ?? approved;
    if (rival === undefined) return;
    throw new CairnError(
      "wrong-state",
      "this node has approved another change of the same manifest; have that one signed by the others, or wait until it has expired",
      { rival: rival.row.proposal, until: rival === approved ? freeAt(rival) : null },
    );
  }

  /** When votes on a proposal count here no more: its expiry, and the time that clocks and messages may take. */
  settledAt({ expiry }: Pick<ChangeProposal, "expiry">): UnixMs {
    return (expiry + SETTLE_SKEWS * this.#options.clockSkewMs) as UnixMs;
  }
}
