import type { NativeEngine, NativeSealedPrime } from "@cairn/native-engine";
import type { PrimeStore } from "./prime-store.ts";

export interface PrimePoolOptions {
  /** Primes to keep in stock; 0 never searches. */
  readonly target: number;
  /** Threads of low priority that search. */
  readonly threads: number;
}

export interface PrimePoolModules {
  readonly native: Pick<NativeEngine, "generatePrimes" | "stopGenerating" | "isGenerating">;
  readonly store: PrimeStore;
}

/** Why a wait for primes ended without them. */
export type NoPrimes = { readonly reason: "closed" | "failed" | "not-searching" };

export interface PrimePool {
  state(): Promise<{ readonly ready: number; readonly target: number; readonly generating: boolean }>;
  /**
   * Takes `count` primes out for good. Where there are too few it waits; `waiting` hears how many are there, first at once and
   * then after each prime found. `signal` ends the wait.
   */
  take(
    count: number,
    waiting: (ready: number) => void,
    signal: AbortSignal,
  ): Promise<NativeSealedPrime[] | NoPrimes>;
  close(): Promise<void>;
}

/** Keeps the stock of sealed primes filled in the background, from now on until closed. */
export async function createPrimePool(
  options: PrimePoolOptions,
  { native, store }: PrimePoolModules,
): Promise<PrimePool> {
  let closed = false;
  let failed = false;
  let outstanding = 0;
  let storing: Promise<void> = Promise.resolve();
  const waiters = new Set<() => void>();
  const wake = () => {
    for (const waiter of [...waiters]) waiter();
  };

  async function refill(): Promise<void> {
    if (closed || failed || outstanding > 0) return;
    const missing = options.target - (await store.count());
    if (missing <= 0 || closed || outstanding > 0) return;
    outstanding = missing;
    native.generatePrimes(missing, options.threads, (event) => {
      if (closed) return;
      const { id, sealed } = event;
      if (id === undefined || sealed === undefined) {
        failed = true;
        wake();
        return;
      }
      storing = storing
        .then(() => store.put({ id, sealed }))
        .catch(() => {
          // Without room for primes a search is in vain; who waits is told so.
          failed = true;
          native.stopGenerating();
        })
        .then(() => {
          outstanding -= 1;
          wake();
          return refill();
        })
        .catch(() => {
          failed = true;
          wake();
        });
    });
  }

  await refill();

  return {
    async state() {
      return { ready: await store.count(), target: options.target, generating: native.isGenerating() };
    },

    async take(count, waiting, signal) {
      for (;;) {
        if (closed || signal.aborted) return { reason: "closed" };
        const taken = await store.take(count);
        if (taken !== undefined) {
          await refill();
          return taken;
        }
        if (failed) return { reason: "failed" };
        if (options.target < count) return { reason: "not-searching" };
        // Register before counting: a prime stored in between must not be missed.
        const more = new Promise<void>((resolve) => {
          const end = () => {
            waiters.delete(end);
            signal.removeEventListener("abort", end);
            resolve();
          };
          waiters.add(end);
          signal.addEventListener("abort", end);
        });
        await refill();
        const ready = await store.count();
        waiting(ready);
        if (ready >= count) wake();
        await more;
      }
    },

    async close() {
      closed = true;
      native.stopGenerating();
      wake();
      await storing;
    },
  };
}
