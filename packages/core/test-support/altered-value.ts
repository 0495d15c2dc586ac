/** Values that readers of a shape must not take for another: wrong types, and ends of ranges. */
const strangers: readonly unknown[] = [
  null,
  true,
  "",
  "x",
  "__proto__",
  "00".repeat(32),
  "FF".repeat(32),
  "9".repeat(300),
  0,
  -1,
  1.5,
  255,
  256,
  2 ** 32,
  Number.MAX_SAFE_INTEGER,
  Number.MIN_SAFE_INTEGER,
  [],
  {},
  [[]],
];

/**
 * A copy of a plain value in which one place is another: the `place`-th of all values within is replaced, left out, moved to
 * the end of its list, or given a neighbour.
 */
export function alteredValue(value: unknown, place: number, change: number): unknown {
  let left = place % Math.max(1, countOf(value));
  const visit = (part: unknown): unknown => {
    if (left-- === 0) return replaced(part, change);
    if (part instanceof Uint8Array || part === null || typeof part !== "object") return part;
    if (Array.isArray(part)) return part.map(visit);
    return Object.fromEntries(Object.entries(part).map(([key, child]) => [key, visit(child)]));
  };
  return visit(value);
}

function countOf(value: unknown): number {
  if (value instanceof Uint8Array || value === null || typeof value !== "object") return 1;
  return Object.values(value).reduce<number>((sum, child) => sum + countOf(child), 1);
}

function replaced(part: unknown, change: number): unknown {
  if (change < strangers.length) return strangers[change];
  const flavour = change % 4;
  if (typeof part === "number") return part + ([1, -1, 0.5, 2 ** 31][flavour] ?? 0);
  if (typeof part === "string") return [`${part}0`, part.slice(1), part.toUpperCase(), ` ${part}`][flavour];
  if (part instanceof Uint8Array)
    return [part.slice(1), Uint8Array.of(...part, 0), part.slice().fill(0), ""][flavour];
  if (Array.isArray(part)) return [part.slice(1), [...part, ...part], [...part].reverse(), [part]][flavour];
  if (part !== null && typeof part === "object") {
    const entries: [string, unknown][] = Object.entries(part);
    const choices: [string, unknown][][] = [
      entries.slice(1),
      entries.slice(0, -1),
      [...entries, ["extra", 1]],
      [["a", part]],
    ];
    return Object.fromEntries(choices[flavour] ?? []);
  }
  return [part];
}
