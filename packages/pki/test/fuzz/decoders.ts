import type { NodeIndex } from "@cairn/core";
import type { Decoder } from "@cairn/core/test-support";
import {
  authorityToPem,
  certificateExpiry,
  certificateFromPem,
  certificateToPem,
  encodeRevocationList,
  issueNodeCertificate,
  openAuthority,
  openRevocationList,
  signRevocationList,
  verifyNodeCertificate,
} from "../../src/index.ts";
import { identityOf, modules, NOW, pkiBench } from "../pki-bench.ts";

const bench = pkiBench();
const { authority, manifest } = bench;
const certificate = issueNodeCertificate(authority, identityOf(bench, 1), { now: NOW }, modules);
const pem = authorityToPem(authority);
const revocations = encodeRevocationList(
  signRevocationList(authority, {
    version: 1,
    cluster: manifest.cluster,
    number: 3,
    issuedAt: NOW,
    revoked: [],
  } as never),
);

/** Everything in this package that reads bytes of strangers. */
export const decoders: readonly Decoder[] = [
  { name: "certificate-pem", samples: [certificateToPem(certificate)], decode: certificateFromPem },
  {
    name: "node-certificate",
    samples: [certificate],
    // What passes is the certificate that was issued, byte for byte: its signature covers all of it.
    decode: (input) => {
      verifyNodeCertificate(input, {
        manifest,
        authority: authority.certificate,
        index: 1 as NodeIndex,
        now: NOW,
        revocations: null,
      });
      return certificate;
    },
    encode: (issued) => issued,
  },
  { name: "certificate-expiry", samples: [certificate], decode: (input) => certificateExpiry(input, NOW) },
  {
    name: "authority-certificate",
    samples: [pem.certificate],
    decode: (input) => openAuthority(pem.key, input),
  },
  { name: "authority-key", samples: [pem.key], decode: (input) => openAuthority(input, pem.certificate) },
  {
    name: "revocation-list",
    samples: [revocations],
    decode: (input) => {
      openRevocationList(input, { authority: authority.certificate, cluster: manifest.cluster, atLeast: 1 });
      return revocations;
    },
    encode: (issued) => issued,
  },
];
