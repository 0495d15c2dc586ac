/** Encoders of Bitcoin's wire format; all integers little-endian. */
export const wire = {
  /** 4 bytes. `value` is a signed or unsigned 32-bit integer. */
  u32(value: number): Uint8Array {
    const out = new Uint8Array(4);
    new DataView(out.buffer).setUint32(0, value >>> 0, true);
    return out;
  },
  /** 8 bytes, unsigned. */
  u64(value: bigint): Uint8Array {
    const out = new Uint8Array(8);
    new DataView(out.buffer).setBigUint64(0, value, true);
    return out;
  },
  /** CompactSize of a count below 2³²: 1, 3 or 5 bytes. */
  compactSize(value: number): Uint8Array {
    if (value < 0xfd) return Uint8Array.of(value);
    if (value <= 0xffff) return Uint8Array.of(0xfd, value & 0xff, value >> 8);
    return Uint8Array.of(0xfe, ...wire.u32(value));
  },
  /** `bytes` with its length before it. */
  varBytes(bytes: Uint8Array): Uint8Array {
    const size = wire.compactSize(bytes.length);
    const out = new Uint8Array(size.length + bytes.length);
    out.set(size);
    out.set(bytes, size.length);
    return out;
  },
} as const;
