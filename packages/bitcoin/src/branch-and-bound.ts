/** What the search is for; all values in the same unit. */
export interface BranchAndBoundOptions {
  /** Effective values of the candidates, each above zero, in descending order. */
  readonly values: readonly bigint[];
  /** The least sum that will do. */
  readonly target: bigint;
  /** The largest sum that is no worse than making change. */
  readonly upperBound: bigint;
  /** What each chosen candidate wastes beside the excess; negative while fees are low, so that more inputs pay off. */
  readonly wastePerPick: bigint;
  /** Whether a sum within bounds will do in other respects. */
  readonly accept: (picked: readonly number[]) => boolean;
  /** Steps after which the best find so far is taken. */
  readonly maxTries: number;
}

/**
 * Searches for a set of candidates that needs no change: the sum within [target, upperBound] that wastes least
 * (M. Erhardt, "An Evaluation of Coin Selection Strategies", 2016; Bitcoin Core's waste metric). Depth first, largest
 * values first, inclusion before omission; candidates that equal an omitted one are omitted with it.
 *
 * @returns positions of the set, ascending, or `undefined` when none was found
 */
export function branchAndBound(options: BranchAndBoundOptions): number[] | undefined {
  const { values, target, upperBound, wastePerPick, accept, maxTries } = options;
  // remaining[i] is the sum of all values from i on: what a branch can still gain.
  const remaining = new Array<bigint>(values.length + 1).fill(0n);
  for (let i = values.length - 1; i >= 0; i--) remaining[i] = at(values, i) + at(remaining, i + 1);

  const picked: number[] = [];
  let sum = 0n;
  let next = 0;
  let best: { readonly picked: number[]; readonly waste: bigint } | undefined;
  for (let tries = 0; tries < maxTries; tries++) {
    const inputWaste = wastePerPick * BigInt(picked.length);
    let backtrack = sum > upperBound || sum + at(remaining, next) < target;
    // With a positive waste for each pick, deeper branches only get worse.
    if (wastePerPick > 0n && best !== undefined && inputWaste > best.waste) backtrack = true;
    if (!backtrack && sum >= target) {
      const waste = inputWaste + sum - target;
      if ((best === undefined || waste < best.waste) && accept(picked)) best = { picked: [...picked], waste };
      backtrack = true;
    }
    if (!backtrack) {
      picked.push(next);
      sum += at(values, next);
      next += 1;
      continue;
    }
    const last = picked.pop();
    if (last === undefined) break;
    const omitted = at(values, last);
    sum -= omitted;
    next = last + 1;
    while (next < values.length && values[next] === omitted) next += 1;
  }
  return best?.picked;
}

function at(values: readonly bigint[], index: number): bigint {
  const value = values[index];
  if (value === undefined) throw new RangeError("no value at this position");
  return value;
}
