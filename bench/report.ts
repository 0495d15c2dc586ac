import { writeFileSync } from "node:fs";
import type { Spread } from "./spread.ts";

/** One figure. Times mean little on a shared machine, so every figure is a ratio to its partner in the same run. */
export interface Figure {
  readonly section: string;
  readonly what: string;
  /** What the figure is divided by. */
  readonly partner: string;
  readonly ratio: Spread;
  /** Bound that the median must keep; null where the figure is information. */
  readonly target: { readonly most: number } | { readonly least: number } | null;
  /** What it was measured with, such as the engine's level, the number of samples or the absolute medians of this run. */
  readonly note: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A figure that could not be measured counts as missed. */
export interface Missing {
  readonly section: string;
  readonly what: string;
  readonly missing: string;
}

export type Entry = Figure | Missing;

export type Verdict = "met" | "MISSED" | "shown";

export function verdictOf(entry: Entry): Verdict {
  if ("missing" in entry) return "MISSED";
  const { ratio, target } = entry;
  if (target === null) return "shown";
  const kept = "most" in target ? ratio.median <= target.most : ratio.median >= target.least;
  return kept ? "met" : "MISSED";
}

/** Writes all figures as JSON. */
export function writeReport(
  path: string,
  run: Readonly<Record<string, unknown>>,
  entries: readonly Entry[],
): void {
  const figures = entries.map((entry) => ({ ...entry, verdict: verdictOf(entry) }));
  writeFileSync(path, `${JSON.stringify({ ...run, figures }, null, 2)}\n`);
}

/** A table for people. */
export function table(entries: readonly Entry[]): string {
  const head = ["figure", "ratio", "spread", "target", "", "beside", "note"];
  const lines: string[][] = [];
  let section = "";
  for (const entry of entries) {
    if (entry.section !== section) lines.push([`[${entry.section}]`, "", "", "", "", "", ""]);
    section = entry.section;
    lines.push(lineOf(entry));
  }
  const widths = head.map((title, column) =>
    Math.max(
      title.length,
      ...lines.map((line) => (line[0]?.startsWith("[") ? 0 : (line[column]?.length ?? 0))),
    ),
  );
  return [head, ...lines]
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function lineOf(entry: Entry): string[] {
  if ("missing" in entry) return [`  ${entry.what}`, "–", "", "", verdictOf(entry), "", entry.missing];
  const { what, ratio, target, partner, note } = entry;
  const bound = target === null ? "" : "most" in target ? `≤ ${target.most}` : `≥ ${target.least}`;
  const spread = ratio.samples === 1 ? "one sample" : `${short(ratio.lowest)}–${short(ratio.highest)}`;
  return [`  ${what}`, short(ratio.median), spread, bound, verdictOf(entry), partner, note];
}

function short(value: number): string {
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}
