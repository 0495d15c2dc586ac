import { createHash, sign } from "node:crypto";
import { type Ed25519PublicKey, type Ed25519Signer, fromHex } from "@cairn/core";
import { der } from "./der.ts";

/** id-Ed25519 (RFC 8410 §3). */
const ED25519 = der.sequence(der.objectId("1.3.101.112"));
const COMMON_NAME = der.objectId("2.5.4.3");

/** What a certificate says. All names are common names alone. */
export interface CertificateContent {
  /** 1 to 20 bytes, most significant first. */
  readonly serial: Uint8Array;
  readonly issuer: string;
  readonly subject: string;
  readonly subjectKey: Ed25519PublicKey;
  /** Milliseconds since the Unix epoch; certificates keep whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly role:
    | { readonly type: "authority" }
    | { readonly type: "node"; readonly dns: string; readonly uri: string };
}

/** An X.509 v3 certificate (RFC 5280) over an Ed25519 key, signed with Ed25519, in DER. */
export function writeCertificate(content: CertificateContent, issuer: Ed25519Signer): Uint8Array {
  const subjectKey = fromHex(content.subjectKey);
  const body = der.sequence(
    der.explicit(0, der.integer(Uint8Array.of(2))),
    der.integer(content.serial),
    ED25519,
    name(content.issuer),
    der.sequence(der.time(content.notBefore), der.time(content.notAfter)),
    name(content.subject),
    der.sequence(ED25519, der.bitString(subjectKey)),
    der.explicit(3, der.sequence(...extensions(content, fromHex(issuer.publicKey)))),
  );
  return der.sequence(body, ED25519, der.bitString(sign(null, body, issuer.keyObject)));
}

function name(commonName: string): Uint8Array {
  return der.sequence(der.set(der.sequence(COMMON_NAME, der.utf8String(commonName))));
}

function extensions({ role, subjectKey }: CertificateContent, issuerKey: Uint8Array): Uint8Array[] {
  const keyIds = [
    extension("2.5.29.14", false, der.octetString(keyId(fromHex(subjectKey)))),
    extension("2.5.29.35", false, der.sequence(der.implicit(0, keyId(issuerKey)))),
  ];
  if (role.type === "authority") {
    return [
      // cA, and no further authority below it.
      extension("2.5.29.19", true, der.sequence(der.boolean(true), der.integer(Uint8Array.of(0)))),
      // keyCertSign and cRLSign: bits 5 and 6.
      extension("2.5.29.15", true, der.bitString(Uint8Array.of(0b0000_0110), 1)),
      ...keyIds,
    ];
  }
  return [
    extension("2.5.29.19", true, der.sequence()),
    // digitalSignature: bit 0.
    extension("2.5.29.15", true, der.bitString(Uint8Array.of(0b1000_0000), 7)),
    // Every node is server to some peers and client to others.
    extension(
      "2.5.29.37",
      false,
      der.sequence(der.objectId("1.3.6.1.5.5.7.3.1"), der.objectId("1.3.6.1.5.5.7.3.2")),
    ),
    extension(
      "2.5.29.17",
      false,
      der.sequence(
        der.implicit(2, Buffer.from(role.dns, "ascii")),
        der.implicit(6, Buffer.from(role.uri, "ascii")),
      ),
    ),
    ...keyIds,
  ];
}

function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  const mark = critical ? [der.boolean(true)] : [];
  return der.sequence(der.objectId(id), ...mark, der.octetString(value));
}

/** Key identifier: the first 20 bytes of the key's SHA-256 (RFC 7093 §2). */
function keyId(publicKey: Uint8Array): Uint8Array {
  return createHash("sha256").update(publicKey).digest().subarray(0, 20);
}
