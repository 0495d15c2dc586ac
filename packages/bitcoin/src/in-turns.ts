/**
 * Runs `steps` to their end and returns what they return. After every `perTurn` steps the event loop gets a turn; fewer
 * steps than that run at once.
 */
export async function inTurns<Result>(steps: Generator<void, Result>, perTurn: number): Promise<Result> {
  for (let taken = 1; ; taken++) {
    const next = steps.next();
    if (next.done === true) return next.value;
    if (taken % perTurn === 0) await nextTurn();
  }
}

/** Runs `steps` to their end without a pause. */
export function atOnce<Result>(steps: Generator<void, Result>): Result {
  for (;;) {
    const next = steps.next();
    if (next.done === true) return next.value;
  }
}

/** Lets the event loop do what waits. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
