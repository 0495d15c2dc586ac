import { toHex } from "@cairn/core";

/** Hex of `hash` with its bytes reversed: how people read transaction ids and block hashes. */
export function displayHash(hash: Uint8Array): string {
  return toHex(hash.toReversed());
}

/** The 32 bytes behind a hash in display order. */
export function internalHash(display: string): Uint8Array {
  return new Uint8Array(Buffer.from(display, "hex")).reverse();
}
