import type { UnixMs } from "../ids.ts";

/** Time. Logic asks this port and nothing else, so that a simulation can own it. */
export interface Clock {
  /** Wall clock, milliseconds since the Unix epoch. May jump. */
  now(): UnixMs;
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonic(): number;
  /** Calls `run` once after `delayMs`. The timer does not keep the process alive. */
  after(delayMs: number, run: () => void): Timer;
}

export interface Timer {
  cancel(): void;
}
