interface Item {
  readonly key: number;
  readonly at: number;
  readonly amount: bigint;
}

/** Items that are looked through one by one before they are sorted in. */
const MOST_LOOSE = 512;

/**
 * Sums of amounts by key and time: 24 bytes an item, and a question costs the same however many there are. Items are kept sorted by
 * key and time beside the running total of their key; the newest lie loose until there are enough to sort them in.
 */
export class TimedSums {
  #keys = new Float64Array(0);
  #times = new Float64Array(0);
  #totals = new BigInt64Array(0);
  #loose: Item[] = [];

  get size(): number {
    return this.#keys.length + this.#loose.length;
  }

  /** Adds an item. @param forget items of this time and before need not be kept */
  add(key: number, at: number, amount: bigint, forget: number): void {
    this.#loose.push({ key, at, amount });
    if (this.#loose.length > MOST_LOOSE) this.#sortIn(forget);
  }

  /** How many items of a key are later than `from`, and what they come to. */
  since(key: number, from: number): { readonly count: number; readonly amount: bigint } {
    const start = this.#after(key, from);
    const end = this.#after(key, Number.POSITIVE_INFINITY);
    let count = end - start;
    let amount =
      start === end ? 0n : this.#total(end) - (this.#keys[start - 1] === key ? this.#total(start) : 0n);
    for (const item of this.#loose) {
      if (item.key !== key || item.at <= from) continue;
      count += 1;
      amount += item.amount;
    }
    return { count, amount };
  }

  /** Running total of the item before `end`. */
  #total(end: number): bigint {
    return this.#totals[end - 1] ?? 0n;
  }

  /** Position behind the last item that is not later than `at`. */
  #after(key: number, at: number): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#keys[middle] ?? 0;
      if (other < key || (other === key && (this.#times[middle] ?? 0) <= at)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #sortIn(forget: number): void {
    const keys = new Float64Array(this.size);
    const times = new Float64Array(this.size);
    const totals = new BigInt64Array(this.size);
    let size = 0;
    for (const { key, at, amount } of this.#merged()) {
      if (at <= forget) continue;
      keys[size] = key;
      times[size] = at;
      totals[size] = amount + (keys[size - 1] === key ? (totals[size - 1] ?? 0n) : 0n);
      size += 1;
    }
    this.#loose = [];
    this.#keys = keys.slice(0, size);
    this.#times = times.slice(0, size);
    this.#totals = totals.slice(0, size);
  }

  *#merged(): Generator<Item> {
    const loose = this.#loose.toSorted((a, b) => a.key - b.key || a.at - b.at);
    let next = 0;
    for (let position = 0; position < this.#keys.length; position += 1) {
      const key = this.#keys[position] ?? 0;
      const at = this.#times[position] ?? 0;
      for (; ; next += 1) {
        const item = loose[next];
        if (item === undefined || item.key > key || (item.key === key && item.at >= at)) break;
        yield item;
      }
      const before = this.#keys[position - 1] === key ? this.#total(position) : 0n;
      yield { key, at, amount: this.#total(position + 1) - before };
    }
    yield* loose.slice(next);
  }
}
