/** Window of the rolling limits. */
export const ROLLING_WINDOW_MS = 24 * 60 * 60 * 1000;
