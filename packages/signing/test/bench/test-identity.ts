import { createHash } from "node:crypto";
import { Ed25519Signer } from "@cairn/core";

/** PKCS#8 prefix of an Ed25519 private key (RFC 8410 §7). */
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

/** A signer that is the same in every run, for transcripts. */
export function testIdentity(name: string): Ed25519Signer {
  const seed = createHash("sha256").update(`test identity ${name}`).digest();
  const base64 = Buffer.concat([PKCS8, seed]).toString("base64");
  return Ed25519Signer.fromPem(
    Buffer.from(`-----BEGIN PRIVATE KEY-----\n${base64}\n-----END PRIVATE KEY-----\n`),
  );
}
