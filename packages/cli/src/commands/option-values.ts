import { CairnError } from "@cairn/core";
import { InvalidArgumentError } from "commander";

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
