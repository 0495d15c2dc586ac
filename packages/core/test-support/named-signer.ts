import { createHash } from "node:crypto";
import { Ed25519Signer } from "../src/index.ts";

/** PKCS#8 prefix of an Ed25519 private key (RFC 8410 §7). */
const PKCS8 = "302e020100300506032b657004220420";

/** The signer whose seed is these 32 bytes, in hex. */
export function signerOfSeed(seed: string): Ed25519Signer {
  const der = Buffer.from(PKCS8 + seed, "hex").toString("base64");
  return Ed25519Signer.fromPem(
    Buffer.from(`-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`),
  );
}

/** A signer that follows from its name, so that transcripts are the same on every machine. */
export function namedSigner(name: string): Ed25519Signer {
  return signerOfSeed(createHash("sha256").update(name).digest("hex"));
}
