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
  /** Items sorted in since the last that need not be kept were left out. */
  #added = 0;

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
    const loose = this.#loose.toSorted((a, b) => a.key - b.key || a.at - b.at);
    const keys = new Float64Array(this.size);
    const times = new Float64Array(this.size);
    const totals = new BigInt64Array(this.size);
    let from = 0;
    let size = 0;
    // What was put in before items of the same key, whose totals it raises.
    let raised = { key: Number.NaN, by: 0n };
    const copyUpTo = (position: number) => {
      keys.set(this.#keys.subarray(from, position), size);
      times.set(this.#times.subarray(from, position), size);
      totals.set(this.#totals.subarray(from, position), size);
      const end = size + position - from;
      for (let at = size; at < end && keys[at] === raised.key; at += 1)
        totals[at] = (totals[at] ?? 0n) + raised.by;
      size = end;
      from = position;
    };
    for (const { key, at, amount } of loose) {
      copyUpTo(this.#after(key, at));
      raised = { key, by: amount + (raised.key === key ? raised.by : 0n) };
      keys[size] = key;
      times[size] = at;
      totals[size] = amount + (keys[size - 1] === key ? (totals[size - 1] ?? 0n) : 0n);
      size += 1;
    }
    copyUpTo(this.#keys.length);
    this.#keys = keys;
    this.#times = times;
    this.#totals = totals;
    this.#loose = [];
    this.#added += loose.length;
    if (this.#added > size / 2) this.#drop(forget);
  }

  /** Leaves out what need not be kept: now and then, since it goes through everything. */
  #drop(forget: number): void {
    const { length } = this.#keys;
    let size = 0;
    let dropped = { key: Number.NaN, sum: 0n };
    for (let at = 0; at < length; at += 1) {
      const key = this.#keys[at] ?? 0;
      const total = this.#totals[at] ?? 0n;
      if ((this.#times[at] ?? 0) <= forget) {
        // Items of a key ascend by time: what is dropped of it comes first.
        dropped = { key, sum: total };
        continue;
      }
      this.#keys[size] = key;
      this.#times[size] = this.#times[at] ?? 0;
      this.#totals[size] = total - (dropped.key === key ? dropped.sum : 0n);
      size += 1;
    }
    this.#keys = this.#keys.slice(0, size);
    this.#times = this.#times.slice(0, size);
    this.#totals = this.#totals.slice(0, size);
    this.#added = 0;
  }
}
