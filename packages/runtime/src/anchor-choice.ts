import type {
  Clock,
  LineageId,
  ManifestHash,
  NodeStore,
  SignedCheckpoint,
  TransactionState,
  UnixMs,
} from "@cairn/core";
import type { InForce } from "./manifest-book.ts";

export interface AnchorChoiceOptions {
  readonly book: Pick<InForce, "under">;
  /** Least time between two anchors of this cluster, as far as this node sees them, in milliseconds. */
  readonly anchorMs: number;
}

export interface AnchorChoiceModules {
  readonly store: Pick<NodeStore, "anchors" | "transaction">;
  readonly clock: Pick<Clock, "now">;
  /** The newest complete checkpoint, or null. */
  readonly newest: () => SignedCheckpoint | null;
}

/** States in which a transaction brings no anchor to the chain any more. */
const ended: ReadonlySet<TransactionState> = new Set([
  "rejected",
  "expired",
  "failed",
  "replaced",
  "aborted-byzantine",
  "aborted-timeout",
]);

/** Anchors that one question to the store gives. */
const MAX_ROWS = 1_000;

/** Which checkpoint a spend that this node builds puts on the chain, if any. */
export class AnchorChoice {
  readonly #options: AnchorChoiceOptions;
  readonly #modules: AnchorChoiceModules;

  constructor(options: AnchorChoiceOptions, modules: AnchorChoiceModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /**
   * The newest checkpoint, where `manifestHash` allows anchors and made it, no transaction anchors it or a later one, and none has
   * anchored any for a while. Transactions of `lineage` do not count: the one in question takes their place.
   */
  async due(manifestHash: ManifestHash, lineage: LineageId): Promise<SignedCheckpoint | null> {
    const { book, anchorMs } = this.#options;
    const { clock, newest } = this.#modules;
    const candidate = newest();
    if (candidate === null || candidate.checkpoint.manifestHash !== manifestHash) return null;
    if (!book.under(manifestHash).manifest.checkpointAnchors) return null;
    const since = Math.max(0, clock.now() - anchorMs) as UnixMs;
    const same = { from: candidate.checkpoint.sequence };
    if ((await this.#stands(same, lineage)) || (await this.#stands({ since }, lineage))) return null;
    return candidate;
  }

  /** Whether a transaction of another lineage carries one of these anchors, or still may. */
  async #stands(
    query: { readonly from: number } | { readonly since: UnixMs },
    lineage: LineageId,
  ): Promise<boolean> {
    const { store } = this.#modules;
    for (const { intent } of await store.anchors({ ...query, limit: MAX_ROWS })) {
      const row = await store.transaction({ intent });
      if (row !== null && row.lineage !== lineage && !ended.has(row.state)) return true;
    }
    return false;
  }
}
