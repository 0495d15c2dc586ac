import { createHash } from "node:crypto";
import type { Random } from "@cairn/core";

/** All choices of a simulation: xoshiro128** (Blackman and Vigna, 2018), seeded by SHA-256 of a text. Nothing secret comes from it. */
export class SeededRandom implements Random {
  readonly #label: string;
  readonly #state: Uint32Array;

  constructor(label: string) {
    this.#label = label;
    const digest = createHash("sha256").update(label, "utf8").digest();
    this.#state = Uint32Array.from({ length: 4 }, (_, word) => digest.readUInt32LE(4 * word));
  }

  /** A stream of its own, which drawing from this one does not move. */
  fork(label: string): SeededRandom {
    return new SeededRandom(`${this.#label}/${label}`);
  }

  /** A whole number from 0 to `limit` − 1. */
  below(limit: number): number {
    return Math.floor((this.#next() / 2 ** 32) * limit);
  }

  /** A whole number from `low` to `high`, both possible. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.#next() / 2 ** 32 < probability;
  }

  pick<T>(choices: readonly T[]): T {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined) throw new RangeError("nothing to pick from");
    return choice;
  }

  /** The choices in another order. */
  shuffle<T>(choices: readonly T[]): T[] {
    const left = [...choices];
    const order: T[] = [];
    while (left.length > 0) order.push(...left.splice(this.below(left.length), 1));
    return order;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.#next() >>> 24);
  }

  hex(length: number): string {
    return Buffer.from(this.bytes(length)).toString("hex");
  }

  #next(): number {
    const s = this.#state;
    const [a = 0, b = 0, c = 0, d = 0] = s;
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    s[2] = c ^ a;
    s[3] = d ^ b;
    s[1] = b ^ (s[2] ?? 0);
    s[0] = a ^ (s[3] ?? 0);
    s[2] = (s[2] ?? 0) ^ shifted;
    s[3] = rotate(s[3] ?? 0, 11);
    return result;
  }
}

function rotate(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by));
}
