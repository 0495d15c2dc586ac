/** A point in time as the API writes it. */
export function timeText(at: number): string {
  return new Date(at).toISOString();
}

/** The same where there may be none. */
export function timeTextOrNull(at: number | null): string | null {
  return at === null ? null : timeText(at);
}
