/** Reads Bitcoin's wire format from front to back; all integers little-endian. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  /**
   * The next `length` bytes, as a copy.
   * @throws RangeError when fewer remain
   */
  bytes(length: number): Uint8Array {
    return this.#bytes.slice(this.#take(length), this.#offset);
  }

  /** @throws RangeError at the end */
  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  /** @throws RangeError when fewer than 4 bytes remain */
  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  /** @throws RangeError when fewer than 8 bytes remain */
  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  /**
   * A count or length. Only its shortest form is accepted, and only below 2³²: nothing here is longer.
   * @throws RangeError
   */
  compactSize(): number {
    const first = this.u8();
    if (first < 0xfd) return first;
    if (first === 0xff) throw new RangeError("a length of 2^32 or more");
    const [value, least] =
      first === 0xfd ? [this.#view.getUint16(this.#take(2), true), 0xfd] : [this.u32(), 0x10000];
    if (value < least) throw new RangeError("a length that is not in its shortest form");
    return value;
  }

  /** A length and as many bytes. @throws RangeError */
  varBytes(): Uint8Array {
    return this.bytes(this.compactSize());
  }

  #take(length: number): number {
    if (length > this.remaining) throw new RangeError("the bytes end too early");
    const at = this.#offset;
    this.#offset += length;
    return at;
  }
}
