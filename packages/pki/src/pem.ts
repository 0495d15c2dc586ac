import { X509Certificate } from "node:crypto";
import { CairnError } from "@cairn/core";

/** DER of the one certificate in a PEM file. @throws CairnError `malformed` */
export function certificateFromPem(pem: Uint8Array): Uint8Array {
  const text = Buffer.from(pem).toString("latin1");
  if (text.split("-----BEGIN CERTIFICATE-----").length !== 2) {
    throw new CairnError("malformed", "the file does not hold exactly one certificate in PEM");
  }
  return parseCertificate(Buffer.from(text, "latin1")).raw;
}

/** PEM of a certificate in DER. */
export function certificateToPem(certificate: Uint8Array): Uint8Array {
  return Buffer.from(parseCertificate(certificate).toString(), "latin1");
}

/** @throws CairnError `malformed` */
export function parseCertificate(bytes: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(bytes);
  } catch (cause) {
    throw new CairnError("malformed", "the bytes are not an X.509 certificate", {}, { cause });
  }
}
