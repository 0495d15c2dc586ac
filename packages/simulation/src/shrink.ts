import type { Complaint } from "./invariant.ts";
import type { Scenario } from "./scenario.ts";

/** A scenario that still fails, with which operations of the first are left in it. */
export interface Shrunk {
  readonly scenario: Scenario;
  readonly kept: readonly number[];
  readonly runs: number;
}

/** The scenario with only these of its operations. */
export function keepOperations(scenario: Scenario, kept: readonly number[]): Scenario {
  return { ...scenario, operations: scenario.operations.filter((_, at) => kept.includes(at)) };
}

/**
 * Drops operations, many at a time and then one by one, as long as the same invariant breaks (delta debugging, Zeller and Hildebrandt
 * 2002).
 * @param play the complaint of a run, or null
 * @param mostRuns how many runs it may take
 */
export async function shrink(
  scenario: Scenario,
  complaint: Complaint,
  play: (scenario: Scenario) => Promise<Complaint | null>,
  mostRuns = 120,
): Promise<Shrunk> {
  let kept = scenario.operations.map((_, at) => at);
  let runs = 0;
  let size = Math.ceil(kept.length / 2);
  while (size >= 1 && runs < mostRuns) {
    let dropped = false;
    for (let from = 0; from < kept.length && runs < mostRuns; ) {
      const fewer = [...kept.slice(0, from), ...kept.slice(from + size)];
      runs += 1;
      const again = await play(keepOperations(scenario, fewer));
      if (again?.invariant === complaint.invariant) {
        kept = fewer;
        dropped = true;
      } else from += size;
    }
    if (size === 1 && !dropped) break;
    size = size === 1 ? 1 : Math.ceil(size / 2);
  }
  return { scenario: keepOperations(scenario, kept), kept, runs };
}
