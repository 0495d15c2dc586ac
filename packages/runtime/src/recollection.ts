import {
  AMNESIA_KEY,
  type Amnesia,
  type Clock,
  decodeAmnesia,
  forgottenUntil,
  type Manifest,
  type NodeIndex,
  type NodeStore,
  overlapQuorum,
  type UnixMs,
} from "@cairn/core";

/** Peers that a node without its database hears out before it acts again, where there are so many (architecture §7). */
const LEAST_PEERS = 3;

/** How many peers have to tell a node that lost its database what they hold, before it acts again. */
export function peersToRecall({ members }: Pick<Manifest, "members">): number {
  return Math.min(members.length - 1, Math.max(LEAST_PEERS, overlapQuorum(members.length) - 1));
}

/** Where a node stands that lost its database, as people are told. */
export interface RecollectionStatus {
  readonly restoredAt: UnixMs;
  /** Peers that have told all they hold since, ascending. */
  readonly heard: readonly NodeIndex[];
  readonly needed: number;
  /** It takes no part in requests that expire until then. */
  readonly forgottenUntil: UnixMs;
}

/**
 * What follows from the loss of this node's database, if it was ever lost: it abstains from everything until enough peers have told it
 * what they hold, and for good from lineages in which it may have acted before.
 */
export class Recollection {
  readonly #needed: number;
  readonly #clock: Clock;
  readonly #heard = new Set<NodeIndex>();
  readonly #done = Promise.withResolvers<void>();
  #amnesia: Amnesia | null = null;
  #restored = false;

  constructor(manifest: Manifest, { clock }: { readonly clock: Clock }) {
    this.#needed = peersToRecall(manifest);
    this.#clock = clock;
  }

  /** Reads the mark that a restore leaves. @throws CairnError `malformed`, `not-canonical` where it is none */
  async restore(store: Pick<NodeStore, "meta">): Promise<void> {
    this.#amnesia = decodeAmnesia(await store.meta(AMNESIA_KEY));
    this.#restored = true;
    this.#settle();
  }

  /** When the database was restored, which names the loss that peers are asked about; null where none is known. */
  get restoredAt(): UnixMs | null {
    return this.#amnesia?.restoredAt ?? null;
  }

  /** Whether enough peers have been heard. */
  get isDone(): boolean {
    return this.#restored && (this.#amnesia === null || this.#heard.size >= this.#needed);
  }

  /** Resolves once enough peers have been heard. */
  done(): Promise<void> {
    return this.#done.promise;
  }

  /** A peer has told all that it holds since the database was restored, and that is durable here. */
  hear(node: NodeIndex): void {
    this.#heard.add(node);
    this.#settle();
  }

  /** Whether this node may have acted in a lineage before it lost its database. @param expiries of all its requests */
  forgets(expiries: Iterable<UnixMs>): boolean {
    if (this.#amnesia === null) return false;
    return Math.min(...expiries) <= forgottenUntil(this.#amnesia);
  }

  /** Null once nothing follows from a loss any more, but for requests that replace older ones. */
  get status(): RecollectionStatus | null {
    if (this.#amnesia === null) return null;
    const until = forgottenUntil(this.#amnesia);
    if (this.isDone && until <= this.#clock.now()) return null;
    return {
      restoredAt: this.#amnesia.restoredAt,
      heard: [...this.#heard].toSorted((a, b) => a - b),
      needed: this.#needed,
      forgottenUntil: until,
    };
  }

  #settle(): void {
    if (this.isDone) this.#done.resolve();
  }
}
