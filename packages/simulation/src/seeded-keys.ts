import { createPrivateKey } from "node:crypto";
import { Ed25519Signer, SealingKey } from "@cairn/core";
import { SeededRandom } from "./seeded-random.ts";

/** ASN.1 prefixes of PKCS#8 private keys (RFC 8410 §7). */
const ED25519_PKCS8 = "302e020100300506032b657004220420";
const X25519_PKCS8 = "302e020100300506032b656e04220420";

/** The same signing key for the same name, in every run. */
export function seededSigner(name: string): Ed25519Signer {
  return Ed25519Signer.fromPem(pem(ED25519_PKCS8, name));
}

/** The same sealing key for the same name, in every run. */
export function seededSealingKey(name: string): SealingKey {
  return SealingKey.fromPem(pem(X25519_PKCS8, name));
}

function pem(prefix: string, name: string): Uint8Array {
  const der = Buffer.from(prefix + new SeededRandom(`key/${name}`).hex(32), "hex");
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  return Buffer.from(key.export({ type: "pkcs8", format: "pem" }));
}
