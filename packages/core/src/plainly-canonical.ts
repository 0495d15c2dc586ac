/** Major types of CBOR (RFC 8949 §3.1). */
const UNSIGNED = 0;
const NEGATIVE = 1;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;
const FALSE = 0xf4;
const NULL = 0xf6;

/** Structures of Cairn are far shallower; deeper ones are left to the whole check. */
const MAX_DEPTH = 64;
const FIRST_NOT_ASCII = 0x80;

/**
 * Whether `bytes` are one item that a single look shows to be canonical DAG-CBOR: integers and lengths in their shortest form, ASCII text, maps whose keys are
 * text in ascending order (shorter ones first, then by their bytes) and no two alike, arrays, byte strings, booleans and null. False says nothing: floats, links, other text than ASCII
 * and integers of 64 bits beyond what a number holds may be canonical too, which only encoding them anew shows.
 *
 * The rules are those of the DAG-CBOR specification, "Strictness".
 */
export function isPlainlyCanonical(bytes: Uint8Array): boolean {
  return new PlainReader(bytes).item(0) === bytes.length;
}

/** A place that no item ends at. */
const NOT_PLAIN = -1;

class PlainReader {
  readonly #bytes: Uint8Array;
  /** Where what follows the head at the place last asked for begins. */
  #next = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Where the item that begins at 0 ends, or {@link NOT_PLAIN}. */
  item(depth: number): number {
    const initial = this.#bytes[this.#next];
    if (initial === undefined || depth > MAX_DEPTH) return NOT_PLAIN;
    if (initial >= FALSE && initial <= NULL) {
      this.#next += 1;
      return this.#next;
    }
    const argument = this.#argument(initial);
    if (argument === NOT_PLAIN) return NOT_PLAIN;
    switch (initial >> 5) {
      case UNSIGNED:
      case NEGATIVE:
        return this.#next;
      case BYTES:
        return this.#skip(argument);
      case TEXT:
        return this.#text(argument);
      case ARRAY:
        return this.#items(argument, depth);
      case MAP:
        return this.#entries(argument, depth);
      default:
        return NOT_PLAIN;
    }
  }

  /** The argument of a head in its shortest form (RFC 8949 §3). */
  #argument(initial: number): number {
    const short = initial & 0x1f;
    const from = this.#next + 1;
    if (short < 24) {
      this.#next = from;
      return short;
    }
    const width = 1 << (short - 24);
    if (short > 27 || from + width > this.#bytes.length) return NOT_PLAIN;
    let value = 0;
    for (let at = from; at < from + width; at += 1) value = value * 256 + (this.#bytes[at] ?? 0);
    this.#next = from + width;
    const least = short === 24 ? 24 : 2 ** (4 * width);
    return value < least || value >= Number.MAX_SAFE_INTEGER ? NOT_PLAIN : value;
  }

  #skip(length: number): number {
    this.#next += length;
    return this.#next <= this.#bytes.length ? this.#next : NOT_PLAIN;
  }

  #text(length: number): number {
    const end = this.#next + length;
    if (end > this.#bytes.length) return NOT_PLAIN;
    for (let at = this.#next; at < end; at += 1) {
      if ((this.#bytes[at] ?? FIRST_NOT_ASCII) >= FIRST_NOT_ASCII) return NOT_PLAIN;
    }
    this.#next = end;
    return end;
  }

  #items(count: number, depth: number): number {
    for (let item = 0; item < count; item += 1) {
      if (this.item(depth + 1) === NOT_PLAIN) return NOT_PLAIN;
    }
    return this.#next;
  }

  #entries(count: number, depth: number): number {
    let [beforeFrom, beforeEnd] = [0, 0];
    for (let entry = 0; entry < count; entry += 1) {
      const initial = this.#bytes[this.#next];
      if (initial === undefined || initial >> 5 !== TEXT) return NOT_PLAIN;
      const length = this.#argument(initial);
      const from = this.#next;
      if (length === NOT_PLAIN || this.#text(length) === NOT_PLAIN) return NOT_PLAIN;
      const end = this.#next;
      if (entry > 0 && !this.#isBefore(beforeFrom, beforeEnd, from, end)) return NOT_PLAIN;
      [beforeFrom, beforeEnd] = [from, end];
      if (this.item(depth + 1) === NOT_PLAIN) return NOT_PLAIN;
    }
    return this.#next;
  }

  #isBefore(aFrom: number, aEnd: number, bFrom: number, bEnd: number): boolean {
    const [aLength, bLength] = [aEnd - aFrom, bEnd - bFrom];
    if (aLength !== bLength) return aLength < bLength;
    for (let at = 0; at < aLength; at += 1) {
      const difference = (this.#bytes[aFrom + at] ?? 0) - (this.#bytes[bFrom + at] ?? 0);
      if (difference !== 0) return difference < 0;
    }
    return false;
  }
}
