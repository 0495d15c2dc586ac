import type { X509Certificate } from "node:crypto";
import {
  CairnError,
  equalBytes,
  type Manifest,
  memberOf,
  type NodeIndex,
  rawPublicKey,
  type UnixMs,
} from "@cairn/core";
import { certificateFingerprint } from "./authority.ts";
import { nodeName } from "./node-name.ts";
import { parseCertificate } from "./pem.ts";
import type { RevocationList } from "./revocation-list.ts";

/** Why a certificate is refused, in `data.reason` of the error `certificate-refused`. */
export type CertificateRefusal =
  | "malformed"
  | "foreign-authority"
  | "not-issued"
  | "wrong-usage"
  | "wrong-name"
  | "wrong-key"
  | "revoked";

export interface CertificateExpectation {
  readonly manifest: Manifest;
  /** The CA's certificate, DER. */
  readonly authority: Uint8Array;
  /** Whose it must be, or null to learn it from the certificate. */
  readonly index: NodeIndex | null;
  readonly now: number;
  readonly revocations: RevocationList | null;
}

/** A certificate that passed every check. */
export interface VerifiedCertificate {
  readonly index: NodeIndex;
  /** Upper-case hexadecimal. */
  readonly serial: string;
  readonly notAfter: UnixMs;
}

const MAX_CERTIFICATE_BYTES = 4096;
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

/**
 * Checks a node's certificate: issued by the authority that the manifest names, for the index (CN and SAN) whose key the manifest
 * pins, valid now and not revoked. Any certificate of the CA opens a TLS connection; only this tells whose it is.
 * @param certificate DER
 * @throws CairnError `certificate-refused` (with a {@link CertificateRefusal}), `certificate-expired`, `not-yet-valid`, `not-member`
 */
export function verifyNodeCertificate(
  certificate: Uint8Array,
  expected: CertificateExpectation,
): VerifiedCertificate {
  const { manifest, now } = expected;
  if (certificateFingerprint(expected.authority) !== manifest.caFingerprint) {
    throw refused("foreign-authority", "the authority is not the one that the manifest names");
  }
  const authority = parseCertificate(expected.authority);
  const parsed = parse(certificate);
  if (!parsed.checkIssued(authority) || !parsed.verify(authority.publicKey)) {
    throw refused("not-issued", "the certificate was not issued by the cluster's authority, or was altered");
  }
  const usage = parsed.keyUsage ?? [];
  if (parsed.ca || !usage.includes(SERVER_AUTH) || !usage.includes(CLIENT_AUTH)) {
    throw refused("wrong-usage", "the certificate is not one for a node");
  }
  const index = expected.index ?? indexIn(parsed);
  const member = memberOf(manifest, index);
  const { commonName, dns, uri } = nodeName(manifest.cluster, index);
  if (parsed.subject !== `CN=${commonName}` || parsed.subjectAltName !== `DNS:${dns}, URI:${uri}`) {
    throw refused("wrong-name", `the certificate is not that of node ${index} of this cluster`);
  }
  if (
    parsed.publicKey.asymmetricKeyType !== "ed25519" ||
    rawPublicKey(parsed.publicKey) !== member.identity
  ) {
    throw refused(
      "wrong-key",
      `the certificate's key is not the one that the manifest pins for node ${index}`,
    );
  }
  const notAfter = Math.min(parsed.validToDate.getTime(), authority.validToDate.getTime()) as UnixMs;
  if (now > notAfter) {
    throw new CairnError("certificate-expired", `node ${index}'s certificate has expired; issue a new one`, {
      node: index,
      notAfter,
    });
  }
  const notBefore = Math.max(parsed.validFromDate.getTime(), authority.validFromDate.getTime());
  if (now < notBefore) {
    throw new CairnError(
      "not-yet-valid",
      `node ${index}'s certificate is not valid yet; check this machine's clock`,
      { node: index, notBefore },
    );
  }
  const serial = parsed.serialNumber;
  if (expected.revocations?.revoked.some((entry) => entry.serial === serial)) {
    throw refused("revoked", `node ${index}'s certificate was revoked`);
  }
  return { index, serial, notAfter };
}

function parse(certificate: Uint8Array): X509Certificate {
  if (certificate.length > MAX_CERTIFICATE_BYTES) {
    throw refused("malformed", "the certificate is larger than any of this cluster's");
  }
  let parsed: X509Certificate;
  try {
    parsed = parseCertificate(certificate);
  } catch {
    throw refused("malformed", "the bytes are not an X.509 certificate");
  }
  // OpenSSL stops at the certificate's end and reads PEM too: one certificate would have many forms.
  if (!equalBytes(parsed.raw, certificate)) {
    throw refused("malformed", "the bytes are not one certificate in DER and nothing else");
  }
  return parsed;
}

function indexIn(certificate: X509Certificate): NodeIndex {
  const found = /^CN=node-([1-9][0-9]{0,2})$/.exec(certificate.subject)?.[1];
  if (found === undefined) throw refused("wrong-name", "the certificate names no node");
  return Number(found) as NodeIndex;
}

function refused(reason: CertificateRefusal, message: string): CairnError {
  return new CairnError("certificate-refused", message, { reason });
}
