import type { Clock, Timer, UnixMs } from "@cairn/core";

/** A process that timers belong to. Once it is dead, none of its timers runs any more. */
export interface Life {
  alive: boolean;
  /** How far its wall clock is ahead, in milliseconds. */
  skewMs: number;
}

interface Entry {
  readonly at: number;
  /** Order of entries of one moment: that of their making. */
  readonly number: number;
  readonly life: Life | null;
  run: (() => void) | null;
}

/**
 * Time that moves only from event to event. What happens, and in which order, follows from nothing but the calls that are made: no real
 * clock is read.
 */
export class VirtualTime {
  readonly #startAt: number;
  readonly #heap: Entry[] = [];
  #now = 0;
  #made = 0;

  /** @param startAt what wall clocks show at first, Unix time in milliseconds */
  constructor(startAt: number) {
    this.#startAt = startAt;
  }

  /** Milliseconds since the beginning. */
  get now(): number {
    return this.#now;
  }

  get unix(): UnixMs {
    return Math.floor(this.#startAt + this.#now) as UnixMs;
  }

  /** The clock of a process, or, with null, of the world. */
  clock(life: Life | null): Clock {
    return {
      now: () => (this.unix + (life?.skewMs ?? 0)) as UnixMs,
      monotonic: () => this.#now,
      after: (delayMs, run) => this.after(delayMs, run, life),
    };
  }

  /** Calls `run` in `delayMs`, unless `life` has ended by then. */
  after(delayMs: number, run: () => void, life: Life | null = null): Timer {
    const entry: Entry = { at: this.#now + Math.max(0, delayMs), number: this.#made++, life, run };
    this.#push(entry);
    return {
      cancel: () => {
        entry.run = null;
      },
    };
  }

  /** Resolves in `delayMs`; never, should `life` end before. */
  wait(delayMs: number, life: Life | null = null): Promise<void> {
    return new Promise((resolve) => void this.after(delayMs, resolve, life));
  }

  /** Moves to the next event that is due by `until` and runs it. @returns false where there is none; time is `until` then */
  step(until: number): boolean {
    for (;;) {
      const [first] = this.#heap;
      if (first === undefined || first.at > until) {
        this.#now = Math.max(this.#now, until);
        return false;
      }
      this.#pop();
      if (first.run === null || first.life?.alive === false) continue;
      this.#now = Math.max(this.#now, first.at);
      first.run();
      return true;
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || !isBefore(entry, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      const left = heap[below];
      if (left === undefined) break;
      const right = heap[below + 1];
      let least = left;
      if (right !== undefined && isBefore(right, left)) {
        below += 1;
        least = right;
      }
      if (!isBefore(least, last)) break;
      heap[at] = least;
      at = below;
    }
    heap[at] = last;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.number < b.number);
}
