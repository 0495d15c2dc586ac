import { CairnError } from "@cairn/core";
import { parseDuration } from "./duration.ts";

/**
 * A point in time as people type it: a length of time before `now` (`2h`, `7d`), a day (`2026-01-31`), or an ISO 8601 time.
 * @param now milliseconds since the Unix epoch
 * @returns ISO 8601 in UTC
 * @throws CairnError `malformed`
 */
export function parseInstant(text: string, now: number): string {
  const typed = text.trim();
  if (/^[0-9]{1,6}[smhd]$/.test(typed)) return new Date(now - parseDuration(typed)).toISOString();
  const shape =
    /^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,3})?)?(Z|[+-][0-9]{2}:[0-9]{2}))?$/;
  const time = shape.test(typed) ? Date.parse(typed) : Number.NaN;
  if (Number.isNaN(time)) {
    throw new CairnError(
      "malformed",
      `${JSON.stringify(typed.slice(0, 40))} is no point in time; write e.g. 2h or 7d (ago), 2026-01-31, or 2026-01-31T08:00:00Z`,
    );
  }
  const instant = new Date(time).toISOString();
  // Date.parse takes the 31st of February for the 3rd of March.
  if (typed.length === 10 && instant.slice(0, 10) !== typed) {
    throw new CairnError("malformed", `${typed} is no day of the calendar`);
  }
  return instant;
}
