import type { Clock, RequestHash } from "@cairn/core";
import type { CoinAdvice } from "@cairn/runtime";
import type { Coordination } from "@cairn/storage";

const PREFIX = "/coins/";
/** Longest wait for the store: a payment must not wait for advice. */
const LIMIT_MS = 250;
/** How long a store that failed is left alone, so that payments do not wait for it one after another. */
const PAUSE_MS = 10_000;
/** Longer than an intent takes to reach all nodes, after which they know of its coins themselves. */
const CLAIM_MS = 15_000;

/** Advice on coins through the cluster's coordination store: `/coins/<outpoint>` holds the request that claimed it first. */
export class SharedCoinAdvice implements CoinAdvice {
  readonly #coordination: Pick<Coordination, "compareAndSwap" | "list">;
  readonly #clock: Clock;
  #pausedUntil = Number.NEGATIVE_INFINITY;

  constructor(modules: {
    readonly coordination: Pick<Coordination, "compareAndSwap" | "list">;
    readonly clock: Clock;
  }) {
    this.#coordination = modules.coordination;
    this.#clock = modules.clock;
  }

  async claim(outpoints: readonly string[], request: RequestHash): Promise<ReadonlySet<string>> {
    const none: ReadonlySet<string> = new Set();
    if (this.#clock.monotonic() < this.#pausedUntil) return none;
    const others = await this.#soon(this.#others(outpoints, request));
    // The coordination board reports what is wrong with the store.
    if (others === null) this.#pausedUntil = this.#clock.monotonic() + PAUSE_MS;
    return others ?? none;
  }

  async #others(outpoints: readonly string[], request: RequestHash): Promise<ReadonlySet<string>> {
    const first = await Promise.all(
      outpoints.map((outpoint) =>
        this.#coordination.compareAndSwap(PREFIX + outpoint, 0, request, { ttlMs: CLAIM_MS }),
      ),
    );
    if (first.every((swapped) => swapped)) return new Set();
    const entries = await this.#coordination.list(PREFIX);
    // The same request may come to several nodes, and should become the same transaction.
    const claimed = entries
      .filter(({ value }) => value !== request)
      .map(({ key }) => key.slice(PREFIX.length));
    return outpoints.some((outpoint) => claimed.includes(outpoint)) ? new Set(claimed) : new Set();
  }

  /** The answer, or null where it fails or does not come in time. */
  #soon<Answer>(answer: Promise<Answer>): Promise<Answer | null> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(LIMIT_MS, () => resolve(null));
      answer.then(resolve, () => resolve(null)).finally(() => timer.cancel());
    });
  }
}
