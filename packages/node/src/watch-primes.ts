import type { Clock, Timer } from "@cairn/core";

export interface PrimesState {
  readonly ready: number;
  readonly target: number;
  readonly generating: boolean;
}

/**
 * Tells `changed` of the stock of safe primes, first as it is and then at every change that a look `everyMs` finds.
 * @returns what ends it
 */
export function watchPrimes(
  everyMs: number,
  modules: {
    readonly primes: () => Promise<PrimesState>;
    readonly clock: Pick<Clock, "after">;
    readonly changed: (state: PrimesState) => void;
    readonly report: (cause: unknown) => void;
  },
): () => void {
  let last: PrimesState | null = null;
  let timer: Timer | null = null;
  let ended = false;
  const look = async (): Promise<void> => {
    try {
      const state = await modules.primes();
      const same =
        last !== null &&
        last.ready === state.ready &&
        last.target === state.target &&
        last.generating === state.generating;
      last = state;
      if (!same && !ended) modules.changed(state);
    } catch (cause) {
      modules.report(cause);
    }
    if (!ended) timer = modules.clock.after(everyMs, () => void look());
  };
  void look();
  return () => {
    ended = true;
    timer?.cancel();
  };
}
