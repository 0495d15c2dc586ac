import { createPublicKey, type KeyObject, type webcrypto } from "node:crypto";
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";

/** The HPKE library with its own primitives, and a key as it takes them. */
export function libraryHpke(key: KeyObject): {
  readonly suite: CipherSuite;
  readonly pair: webcrypto.CryptoKeyPair;
} {
  return {
    suite: new CipherSuite({
      kem: new DhkemX25519HkdfSha256(),
      kdf: new HkdfSha256(),
      aead: new Aes256Gcm(),
    }),
    pair: {
      privateKey: key.toCryptoKey("X25519", false, ["deriveBits"]),
      publicKey: createPublicKey(key).toCryptoKey("X25519", true, []),
    },
  };
}
