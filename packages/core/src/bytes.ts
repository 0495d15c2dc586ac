import { CairnError } from "./error.ts";

/** Lower-case hexadecimal text of `bytes`. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/**
 * Bytes of lower- or upper-case hexadecimal text.
 * @throws CairnError `malformed` when `text` is not an even number of hexadecimal digits.
 */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new CairnError("malformed", "expected an even number of hexadecimal digits", {
      length: text.length,
    });
  }
  return new Uint8Array(Buffer.from(text, "hex"));
}

/** One array holding all `parts` in order. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

/** Whether two public byte strings are equal. Not for secrets: use `node:crypto` `timingSafeEqual` there. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
