/**
 * Facts that daemons of one cluster share to be quicker: who is up, who is banned, which coordinator leads. Whatever it says or
 * fails to say, no node signs because of it: it can cost time, never coins. Signed facts travel with their signatures, and
 * readers check those.
 *
 * Keys are paths such as `/bans/3`, values are text.
 * @throws CairnError `closed` from every method after `close`; `timeout` and `peer-unreachable` where the store behind it is
 *   far away and cannot be asked
 */
export interface Coordination {
  /** Whether other processes see what this one writes. */
  readonly shared: boolean;

  get(key: string): Promise<CoordinationEntry | null>;
  /** Entries whose key begins with `prefix`, by key. */
  list(prefix: string): Promise<readonly CoordinationEntry[]>;
  /** Writes; with `ttlMs`, for so long and no longer. */
  put(key: string, value: string, options?: { readonly ttlMs?: number }): Promise<void>;
  /**
   * Writes only if the entry still has this revision (0: only if there is none).
   * @returns whether it did; after a `timeout` or `peer-unreachable` it may have
   */
  compareAndSwap(
    key: string,
    revision: number,
    value: string,
    options?: { readonly ttlMs?: number },
  ): Promise<boolean>;
  remove(key: string): Promise<void>;
  /** Tells `listener` of each later change under `prefix`, in order, until stopped. An expired entry is a removed one. */
  watch(prefix: string, listener: (change: CoordinationChange) => void): Promise<{ stop(): void }>;

  /** Waits to become the only leader of `election`; the first in line is next. Aborting the signal leaves the line. */
  campaign(election: string, options?: { readonly signal?: AbortSignal }): Promise<Leadership>;

  close(): Promise<void>;
}

export interface CoordinationEntry {
  readonly key: string;
  readonly value: string;
  /** Rises with every change anywhere; never 0. */
  readonly revision: number;
}

export type CoordinationChange =
  | { readonly change: "put"; readonly entry: CoordinationEntry }
  | { readonly change: "removed"; readonly key: string; readonly revision: number };

/**
 * A term of office. A leader may not know yet that it lost: whatever acts for it hands on `fence`, and whoever is acted upon
 * refuses a lower fence than it has seen (https://jepsen.io/analyses/etcd-3.4.3).
 */
export interface Leadership {
  /** Higher in every later term. */
  readonly fence: number;
  /** Aborted when the term ends, by resigning or by loss. */
  readonly lost: AbortSignal;
  resign(): Promise<void>;
}
