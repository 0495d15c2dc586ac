import type { CheckedSpend } from "@cairn/bitcoin";
import type { Intent, VotingState } from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  type IntentHash,
  type LineageId,
  type NodeIndex,
  type TransactionRow,
} from "@cairn/core";
import type { Batch } from "./loop.ts";
import { readMetadata, type SpendMetadata, writeMetadata } from "./spend-metadata.ts";

/** A spend that may still change, as this node knows it. */
export interface LiveSpend {
  readonly intent: Intent;
  readonly row: TransactionRow;
  /** The node that made the intent. */
  readonly receiver: NodeIndex;
  readonly voting: VotingState;
  /** This node's own reading of the PSBT; null until its first check passes. */
  readonly checked: CheckedSpend | null;
  /** This node holds limits and coins for it: it voted or acked, durably. */
  readonly reserved: boolean;
  /** This node is about to sign `Void`, or has: it never takes part in signing it. */
  readonly voiding: boolean;
}

/** The spends that may still change. Every change of a row is stored and told with it. */
export class LiveSpends {
  readonly #clock: Clock;
  readonly #changed: (row: TransactionRow) => void;
  readonly #live = new Map<IntentHash, LiveSpend>();
  readonly #lineages = new Map<LineageId, readonly IntentHash[]>();

  constructor(modules: { readonly clock: Clock; readonly changed: (row: TransactionRow) => void }) {
    this.#clock = modules.clock;
    this.#changed = modules.changed;
  }

  get(hash: IntentHash): LiveSpend | undefined {
    return this.#live.get(hash);
  }

  has(hash: IntentHash): boolean {
    return this.#live.has(hash);
  }

  /** @throws CairnError `not-found` */
  of(hash: IntentHash): LiveSpend {
    const live = this.#live.get(hash);
    if (live === undefined)
      throw new CairnError("not-found", "this node knows no such live spend", { intent: hash });
    return live;
  }

  /** As they are now: changes while the caller walks through them do not disturb it. */
  all(): readonly LiveSpend[] {
    return [...this.#live.values()];
  }

  /** Those of one lineage, first come first. */
  ofLineage(lineage: LineageId): readonly LiveSpend[] {
    return (this.#lineages.get(lineage) ?? []).map((hash) => this.of(hash));
  }

  /** Takes up what the store holds already. */
  restore(live: LiveSpend): void {
    const { intent, lineage } = live.row;
    this.#live.set(intent, live);
    this.#lineages.set(lineage, [...(this.#lineages.get(lineage) ?? []), intent]);
  }

  /** Takes in a spend that is new here. */
  add(batch: Batch, live: LiveSpend): void {
    const { intent, lineage } = live.row;
    batch.put(this.#live, intent, live);
    batch.put(this.#lineages, lineage, [...(this.#lineages.get(lineage) ?? []), intent]);
    batch.write({ write: "transaction", row: live.row });
    batch.afterwards(() => this.#changed(live.row));
  }

  /** Changes what is kept in memory alone. */
  set(batch: Batch, hash: IntentHash, change: Partial<Omit<LiveSpend, "row" | "intent" | "receiver">>): void {
    batch.put(this.#live, hash, { ...this.of(hash), ...change });
  }

  /** Changes a spend's row. */
  update(
    batch: Batch,
    hash: IntentHash,
    change: Partial<TransactionRow>,
    metadata?: (before: SpendMetadata) => SpendMetadata,
  ): void {
    const live = this.of(hash);
    const described =
      metadata === undefined ? {} : { metadata: writeMetadata(metadata(readMetadata(live.row.metadata))) };
    const row = { ...live.row, ...change, ...described, updatedAt: this.#clock.now() };
    batch.put(this.#live, hash, { ...live, row });
    batch.write({ write: "transaction", row });
    batch.afterwards(() => this.#changed(row));
  }

  /** Nothing about the spend changes any more. */
  remove(batch: Batch, hash: IntentHash): void {
    const live = this.#live.get(hash);
    if (live === undefined) return;
    const { lineage } = live.row;
    batch.remove(this.#live, hash);
    const others = (this.#lineages.get(lineage) ?? []).filter((other) => other !== hash);
    if (others.length === 0) batch.remove(this.#lineages, lineage);
    else batch.put(this.#lineages, lineage, others);
  }
}
