import { schnorr } from "@noble/curves/secp256k1.js";
import { bytesToHex } from "@noble/hashes/utils.js";

/** Keys found valid lately: those of a wallet come again in every PSBT, and lifting one takes a square root. Oldest first. */
const valid = new Set<string>();
const VALID_LIMIT = 1024;

/** Whether 32 bytes are the x coordinate of a point of the curve (BIP-340 lift_x succeeds). */
export function isXOnlyKey(bytes: Uint8Array): boolean {
  if (bytes.length !== 32) return false;
  const hex = bytesToHex(bytes);
  if (valid.has(hex)) return true;
  try {
    schnorr.Point.fromBytes(Uint8Array.of(2, ...bytes));
    if (valid.size >= VALID_LIMIT)
      for (const oldest of [...valid].slice(0, VALID_LIMIT / 2)) valid.delete(oldest);
    valid.add(hex);
    return true;
  } catch {
    // noble reports "no such point" only by throwing; the answer is the boolean.
    return false;
  }
}
