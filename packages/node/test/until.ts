import { setTimeout as wait } from "node:timers/promises";

/** Asks until there is an answer that `done` takes, and gives it. The test's own time limit is the limit. */
export async function until<T>(ask: () => Promise<T>, done: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (done(answer)) return answer;
    await wait(100);
  }
}
