import { schnorr } from "@noble/curves/secp256k1.js";

/** Whether 32 bytes are the x coordinate of a point of the curve (BIP-340 lift_x succeeds). */
export function isXOnlyKey(bytes: Uint8Array): boolean {
  if (bytes.length !== 32) return false;
  try {
    schnorr.Point.fromBytes(Uint8Array.of(2, ...bytes));
    return true;
  } catch {
    // noble reports "no such point" only by throwing; the answer is the boolean.
    return false;
  }
}
