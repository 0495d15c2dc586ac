/** Lets at most so many tasks run at once; the others wait in the order in which they came. */
export class ConcurrencyLimit {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param limit 1 or more */
  constructor(limit: number) {
    if (!Number.isInteger(limit) || limit < 1) throw new RangeError("a concurrency limit is 1 or more");
    this.#free = limit;
  }

  /** Runs `task` when there is room; its outcome is passed on, and its room freed either way. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      // The room passes straight to the next, so that nobody slips in between.
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
