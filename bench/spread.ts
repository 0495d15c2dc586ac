/** A set of samples in short. */
export interface Spread {
  readonly samples: number;
  readonly median: number;
  readonly p99: number;
  readonly lowest: number;
  readonly highest: number;
}

/** @throws RangeError without samples */
export function spreadOf(samples: readonly number[]): Spread {
  if (samples.length === 0) throw new RangeError("no samples");
  const sorted = [...samples].sort((a, b) => a - b);
  return {
    samples: sorted.length,
    median: at(sorted, 0.5),
    p99: at(sorted, 0.99),
    lowest: at(sorted, 0),
    highest: at(sorted, 1),
  };
}

/** Every sample divided by one number. */
export function over(samples: readonly number[], divisor: number): Spread {
  return spreadOf(samples.map((sample) => sample / divisor));
}

export function median(samples: readonly number[]): number {
  return spreadOf(samples).median;
}

export function mean(samples: readonly number[]): number {
  return samples.reduce((total, sample) => total + sample, 0) / samples.length;
}

/** Nearest rank. */
function at(sorted: readonly number[], share: number): number {
  const rank = Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1));
  return sorted[rank] ?? Number.NaN;
}
