import type { Complaint } from "./invariant.ts";
import type { Outcome } from "./run-scenario.ts";

/** What is kept of a run: figures, and the complaint. */
export interface SeedResult {
  readonly seed: number;
  readonly complaint: Complaint | null;
  /** SHA-256 of the trace. */
  readonly digest: string;
  readonly steps: number;
  readonly virtualMs: number;
  readonly requests: number;
  readonly signed: number;
  readonly lies: number;
  readonly crashes: number;
}

export function seedResult(seed: number, outcome: Outcome): SeedResult {
  const { complaint, trace, steps, virtualMs, requests, signed, lies, crashes } = outcome;
  return { seed, complaint, digest: trace.digest(), steps, virtualMs, requests, signed, lies, crashes };
}
