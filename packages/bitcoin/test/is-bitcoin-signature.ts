import { secp256k1 } from "@noble/curves/secp256k1.js";

/** Whether `signature` is strict DER (BIP-66) with low S (BIP-146), valid for `digest` under `publicKey`. */
export function isBitcoinSignature(
  signature: Uint8Array,
  digest: Uint8Array,
  publicKey: Uint8Array,
): boolean {
  try {
    return secp256k1.verify(signature, digest, publicKey, { prehash: false, lowS: true, format: "der" });
  } catch {
    // noble throws on DER that does not parse; a script would fail just the same.
    return false;
  }
}
