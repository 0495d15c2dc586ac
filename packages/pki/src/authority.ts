import { X509Certificate } from "node:crypto";
import {
  CairnError,
  type ClusterId,
  type Ed25519PublicKey,
  Ed25519Signer,
  type HashHex,
  type NodeIndex,
  type Random,
  rawPublicKey,
  sha256Hex,
} from "@cairn/core";
import { nodeName } from "./node-name.ts";
import { certificateFromPem, certificateToPem } from "./pem.ts";
import { writeCertificate } from "./write-certificate.ts";

const AUTHORITY_NAME = "Cairn cluster CA";
const DAY_MS = 24 * 60 * 60 * 1000;
/** How long an authority's certificate is valid unless told otherwise: ten years. */
export const AUTHORITY_VALIDITY_MS = 3650 * DAY_MS;
/** How long a node's certificate is valid unless told otherwise: a year. */
export const NODE_VALIDITY_MS = 365 * DAY_MS;
/** Certificates begin a little before they are made, for clocks that are behind. */
const CLOCK_ALLOWANCE_MS = 60 * 60 * 1000;

/** The cluster's certificate authority. Its key signs node certificates and revocation lists and is kept offline. */
export interface Authority {
  readonly signer: Ed25519Signer;
  /** Own certificate, DER. */
  readonly certificate: Uint8Array;
  /** SHA-256 of the certificate: the manifest's `caFingerprint`. */
  readonly fingerprint: HashHex;
}

export interface Validity {
  /** Milliseconds since the Unix epoch. */
  readonly now: number;
  readonly validForMs?: number;
}

/** A new authority with a fresh Ed25519 key. */
export function createAuthority(validity: Validity, modules: { readonly random: Random }): Authority {
  const signer = Ed25519Signer.generate();
  const certificate = writeCertificate(
    {
      serial: freshSerial(modules.random),
      issuer: AUTHORITY_NAME,
      subject: AUTHORITY_NAME,
      subjectKey: signer.publicKey,
      notBefore: validity.now - CLOCK_ALLOWANCE_MS,
      notAfter: validity.now + (validity.validForMs ?? AUTHORITY_VALIDITY_MS),
      role: { type: "authority" },
    },
    signer,
  );
  return { signer, certificate, fingerprint: certificateFingerprint(certificate) };
}

/**
 * The authority of a key and a certificate in PEM.
 * @throws CairnError `malformed`, or `certificate-refused` when they do not belong together
 */
export function openAuthority(keyPem: Uint8Array, certificatePem: Uint8Array): Authority {
  const signer = Ed25519Signer.fromPem(keyPem);
  const certificate = certificateFromPem(certificatePem);
  const parsed = new X509Certificate(certificate);
  if (!parsed.ca || rawPublicKey(parsed.publicKey) !== signer.publicKey) {
    throw new CairnError("certificate-refused", "the authority's certificate is not that of its key", {
      reason: "wrong-key",
    });
  }
  return { signer, certificate, fingerprint: certificateFingerprint(certificate) };
}

/** The two files of an authority: the key for mode 0600, the certificate for everybody. */
export function authorityToPem(authority: Authority): {
  readonly key: Uint8Array;
  readonly certificate: Uint8Array;
} {
  return { key: authority.signer.toPem(), certificate: certificateToPem(authority.certificate) };
}

/**
 * A certificate for a node's own key, which the node made on its own machine and of which only the public half is ever seen
 * here: that of its manifest entry. Issuing again for the same key renews it: the old one stays valid until it expires or is
 * revoked, so that a node changes over without downtime.
 * @returns DER
 * @throws CairnError `certificate-expired` when the authority's own certificate ends before the new one would
 */
export function issueNodeCertificate(
  authority: Authority,
  node: { readonly cluster: ClusterId; readonly index: NodeIndex; readonly identity: Ed25519PublicKey },
  validity: Validity,
  modules: { readonly random: Random },
): Uint8Array {
  const notAfter = validity.now + (validity.validForMs ?? NODE_VALIDITY_MS);
  const authorityEnds = new X509Certificate(authority.certificate).validToDate.getTime();
  if (notAfter > authorityEnds) {
    throw new CairnError(
      "certificate-expired",
      "the certificate would outlive the authority's own; make it shorter, or a new authority with a new manifest",
      { notAfter, authorityEnds },
    );
  }
  const { commonName, dns, uri } = nodeName(node.cluster, node.index);
  return writeCertificate(
    {
      serial: freshSerial(modules.random),
      issuer: AUTHORITY_NAME,
      subject: commonName,
      subjectKey: node.identity,
      notBefore: validity.now - CLOCK_ALLOWANCE_MS,
      notAfter,
      role: { type: "node", dns, uri },
    },
    authority.signer,
  );
}

/** SHA-256 of a certificate in DER. */
export function certificateFingerprint(certificate: Uint8Array): HashHex {
  return sha256Hex(certificate) as HashHex;
}

/** 16 random bytes, the first neither zero nor with its top bit set, so that every form of the number has the same digits. */
function freshSerial(random: Random): Uint8Array {
  const serial = random.bytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial;
}
