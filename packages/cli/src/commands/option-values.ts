import { CairnError } from "@cairn/core";
import { InvalidArgumentError } from "commander";
import { parseInstant } from "../parse-instant.ts";

/** For options that may be given several times. */
export function collect(value: string, earlier: readonly string[] | undefined): readonly string[] {
  return [...(earlier ?? []), value];
}

/** For options that may be given several times, each with one of `choices`. */
export function collectOneOf(
  choices: readonly string[],
): (value: string, earlier: readonly string[] | undefined) => readonly string[] {
  return (value, earlier) => {
    if (choices.includes(value)) return collect(value, earlier);
    throw new InvalidArgumentError(`It must be one of ${choices.join(", ")}.`);
  };
}

export const SINCE = "--since <time>";
export const UNTIL = "--until <time>";
export const PERIOD_HELP = "2h or 7d (ago), 2026-01-31, or 2026-01-31T08:00:00Z";

export interface Period {
  readonly since?: string;
  readonly until?: string;
}

/** `--since` and `--until` as the API takes them. */
export function periodQuery({ since, until }: Period, now: number): Period {
  return {
    ...(since === undefined ? {} : { since: parseInstant(since, now) }),
    ...(until === undefined ? {} : { until: parseInstant(until, now) }),
  };
}

/** A whole number from `least` to `most`. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^[0-9]{1,10}$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

/** 64 hexadecimal digits: a txid, key, session or manifest hash. */
export function hex32(text: string, what: string): string {
  const lower = text.toLowerCase();
  if (/^[0-9a-f]{64}$/.test(lower)) return lower;
  throw new CairnError("malformed", `${what} has 64 hexadecimal digits; copy it again, whole`, {
    length: text.length,
  });
}
