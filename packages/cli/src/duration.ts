import { CairnError } from "@cairn/core";

const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/**
 * A length of time as people type it: `90s`, `30m`, `2h`, `7d`. In milliseconds.
 * @throws CairnError `malformed`
 */
export function parseDuration(text: string): number {
  const [, count, unit] = /^([0-9]{1,6})([smhd])$/.exec(text.trim()) ?? [];
  const known = unit === "s" || unit === "m" || unit === "h" || unit === "d" ? unit : undefined;
  const ms = known === undefined ? 0 : Number(count) * unitMs[known];
  if (ms > 0) return ms;
  throw new CairnError(
    "malformed",
    `${JSON.stringify(text.slice(0, 40))} is no length of time; write e.g. 90s, 30m, 2h or 7d`,
  );
}
