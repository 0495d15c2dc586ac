/**
 * The little of DER (ITU-T X.690 §10) that certificates need to be written. Each function returns one encoded element. Reading
 * certificates is left to OpenSSL.
 */
export const der = {
  sequence: (...parts: readonly Uint8Array[]) => element(0x30, ...parts),
  set: (...parts: readonly Uint8Array[]) => element(0x31, ...parts),
  boolean: (value: boolean) => element(0x01, Uint8Array.of(value ? 0xff : 0x00)),
  octetString: (bytes: Uint8Array) => element(0x04, bytes),
  utf8String: (text: string) => element(0x0c, Buffer.from(text, "utf8")),
  /** Whole bytes, or with the last `unused` bits left out. */
  bitString: (bytes: Uint8Array, unused = 0) => element(0x03, Uint8Array.of(unused), bytes),
  /** A number that is not negative, most significant byte first. */
  integer,
  objectId,
  time,
  /** `[tag] EXPLICIT`. */
  explicit: (tag: number, content: Uint8Array) => element(0xa0 | tag, content),
  /** `[tag] IMPLICIT` of a primitive type. */
  implicit: (tag: number, content: Uint8Array) => element(0x80 | tag, content),
};

function element(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(parts);
  return Buffer.concat([Uint8Array.of(tag), lengthOf(content.length), content]);
}

function lengthOf(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  const digits = bigEndian(length);
  return Uint8Array.of(0x80 | digits.length, ...digits);
}

function bigEndian(value: number): number[] {
  const digits: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  return digits;
}

function integer(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = first === -1 ? Uint8Array.of(0) : bytes.subarray(first);
  const padded = (digits[0] ?? 0) & 0x80 ? Buffer.concat([Uint8Array.of(0), digits]) : digits;
  return element(0x02, padded);
}

function objectId(text: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const arc = (value: number): number[] => {
    const digits = [value % 128];
    for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128)) {
      digits.unshift((left % 128) | 0x80);
    }
    return digits;
  };
  return element(0x06, Uint8Array.from([first * 40 + second, ...rest].flatMap(arc)));
}

/** UTCTime up to 2049 and GeneralizedTime from 2050 (RFC 5280 §4.1.2.5); whole seconds, rounded down. */
function time(unixMs: number): Uint8Array {
  const at = new Date(Math.floor(unixMs / 1000) * 1000);
  const digits = at.toISOString().replace(/[-:T]|\.000/g, "");
  return at.getUTCFullYear() < 2050
    ? element(0x17, Buffer.from(digits.slice(2), "ascii"))
    : element(0x18, Buffer.from(digits, "ascii"));
}
