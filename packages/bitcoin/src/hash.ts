import { ripemd160 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes, utf8ToBytes } from "@noble/hashes/utils.js";

const tagPrefixes = new Map<string, Uint8Array>();

/** Hash functions that Bitcoin composes of SHA-256 and RIPEMD-160. */
export const hash = {
  /** One SHA-256, 32 bytes. */
  sha256(bytes: Uint8Array): Uint8Array {
    return sha256(bytes);
  },
  /** SHA-256 twice: transaction ids, BIP-143 sighashes. */
  sha256d(bytes: Uint8Array): Uint8Array {
    return sha256(sha256(bytes));
  },
  /** RIPEMD-160 of SHA-256, 20 bytes: public key hashes. */
  hash160(bytes: Uint8Array): Uint8Array {
    return ripemd160(sha256(bytes));
  },
  /** BIP-340 tagged hash: SHA-256(SHA-256(tag) ‖ SHA-256(tag) ‖ bytes). */
  tagged(tag: string, bytes: Uint8Array): Uint8Array {
    let prefix = tagPrefixes.get(tag);
    if (prefix === undefined) {
      const tagHash = sha256(utf8ToBytes(tag));
      prefix = concatBytes(tagHash, tagHash);
      tagPrefixes.set(tag, prefix);
    }
    return sha256(concatBytes(prefix, bytes));
  },
} as const;
