import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { Ed25519Signer, isCairnError, type NodeIndex, type UnixMs } from "@cairn/core";
import fc from "fast-check";
import {
  authorityToPem,
  certificateExpiry,
  certificateFromPem,
  certificateToPem,
  createAuthority,
  issueNodeCertificate,
  NODE_VALIDITY_MS,
  nodeName,
  openAuthority,
  verifyNodeCertificate,
} from "../src/index.ts";
import { writeCertificate } from "../src/write-certificate.ts";
import { identityOf, modules, NOW, pkiBench, refusedAs } from "./pki-bench.ts";

const bench = pkiBench();
const { authority, manifest } = bench;
const issue = (index: number, validity: { now: number; validForMs?: number } = { now: NOW }) =>
  issueNodeCertificate(authority, identityOf(bench, index), validity, modules);
const expected = {
  manifest,
  authority: authority.certificate,
  index: 1 as NodeIndex,
  now: NOW,
  revocations: null,
};

test("a node's certificate carries its index in CN and SAN and passes the check", () => {
  const certificate = issue(1);
  const parsed = new X509Certificate(certificate);
  const short = manifest.cluster.slice(0, 16);
  assert.equal(parsed.subject, "CN=node-1");
  assert.equal(parsed.subjectAltName, `DNS:node-1.${short}.cairn, URI:cairn://${manifest.cluster}/node/1`);
  for (const index of [1 as NodeIndex, null]) {
    const verified = verifyNodeCertificate(certificate, { ...expected, index });
    assert.deepEqual(verified, {
      index: 1,
      serial: parsed.serialNumber,
      notAfter: NOW + NODE_VALIDITY_MS,
    });
  }
});

test("a certificate of the CA for another index is refused", () => {
  assert.throws(() => verifyNodeCertificate(issue(2), expected), refusedAs("wrong-name"));
  assert.equal(verifyNodeCertificate(issue(2), { ...expected, index: null }).index, 2);
});

test("a certificate of the CA for a key that the manifest does not pin is refused", () => {
  const identity = Ed25519Signer.generate().publicKey;
  const certificate = issueNodeCertificate(
    authority,
    { ...identityOf(bench, 1), identity },
    { now: NOW },
    modules,
  );
  assert.throws(() => verifyNodeCertificate(certificate, expected), refusedAs("wrong-key"));
});

test("a certificate is valid from its first to its last second", () => {
  const certificate = issue(1, { now: NOW, validForMs: 60_000 });
  verifyNodeCertificate(certificate, { ...expected, now: NOW + 60_000 });
  const at = (now: number) => () => verifyNodeCertificate(certificate, { ...expected, now });
  assert.throws(at(NOW + 61_000), (error) => isCairnError(error, "certificate-expired"));
  assert.throws(at(NOW - 3_601_000), (error) => isCairnError(error, "not-yet-valid"));
});

test("a certificate of another authority is refused, even of one with the same name", () => {
  const foreign = createAuthority({ now: NOW }, modules);
  const certificate = issueNodeCertificate(foreign, identityOf(bench, 1), { now: NOW }, modules);
  assert.throws(() => verifyNodeCertificate(certificate, expected), refusedAs("not-issued"));
  assert.throws(
    () => verifyNodeCertificate(certificate, { ...expected, authority: foreign.certificate }),
    refusedAs("foreign-authority"),
  );
});

test("a certificate that says it is of another cluster is refused", () => {
  const far = { ...identityOf(bench, 1), cluster: "12".repeat(32) as never };
  const certificate = issueNodeCertificate(authority, far, { now: NOW }, modules);
  assert.throws(() => verifyNodeCertificate(certificate, expected), refusedAs("wrong-name"));
});

test("the authority's own certificate is no node's", () => {
  assert.throws(() => verifyNodeCertificate(authority.certificate, expected), refusedAs("wrong-usage"));
});

test("a certificate with further names is refused", () => {
  const { commonName, dns, uri } = nodeName(manifest.cluster, 1 as NodeIndex);
  const certificate = writeCertificate(
    {
      serial: Uint8Array.of(0x41, 2),
      issuer: "Cairn cluster CA",
      subject: commonName,
      subjectKey: identityOf(bench, 1).identity,
      notBefore: NOW,
      notAfter: NOW + 1000,
      role: { type: "node", dns: `${dns}, URI:${uri}`, uri },
    },
    authority.signer,
  );
  assert.throws(() => verifyNodeCertificate(certificate, expected), refusedAs("wrong-name"));
});

test("no altered byte of a certificate passes", () => {
  const certificate = issue(1);
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: certificate.length - 1 }),
      fc.integer({ min: 1, max: 255 }),
      (position, change) => {
        const altered = new Uint8Array(certificate);
        altered[position] = (altered[position] ?? 0) ^ change;
        assert.throws(() => verifyNodeCertificate(altered, expected), isCairnError);
      },
    ),
    { numRuns: 400 },
  );
  assert.throws(() => verifyNodeCertificate(new Uint8Array(5000), expected), refusedAs("malformed"));
});

test("a renewed certificate is for the same key and has its own serial", () => {
  const [first, second] = [issue(1), issue(1, { now: NOW + 1000 })];
  const one = verifyNodeCertificate(first, { ...expected, now: NOW + 1000 });
  const two = verifyNodeCertificate(second, { ...expected, now: NOW + 1000 });
  assert.notEqual(one.serial, two.serial);
  assert.ok(two.notAfter > one.notAfter);
});

test("a certificate asks to be renewed in the last third of its life", () => {
  const certificate = issue(1, { now: NOW, validForMs: 30 * 3_600_000 });
  const state = (now: number) => certificateExpiry(certificate, now).state;
  assert.equal(state(NOW - 3_600_001), "not-yet-valid");
  assert.equal(state(NOW), "valid");
  assert.equal(state(NOW + 25 * 3_600_000), "renew");
  assert.equal(state((NOW + 30 * 3_600_000) as UnixMs), "expired");
});

test("an authority issues nothing that would outlive it", () => {
  const short = createAuthority({ now: NOW, validForMs: 1000 }, modules);
  assert.throws(
    () => issueNodeCertificate(short, identityOf(bench, 1), { now: NOW }, modules),
    (error) => isCairnError(error, "certificate-expired"),
  );
});

test("an authority and certificates survive their PEM form", () => {
  const pem = authorityToPem(authority);
  const again = openAuthority(pem.key, pem.certificate);
  assert.equal(again.fingerprint, authority.fingerprint);
  const certificate = issueNodeCertificate(again, identityOf(bench, 1), { now: NOW }, modules);
  verifyNodeCertificate(certificateFromPem(certificateToPem(certificate)), expected);
  const other = authorityToPem(createAuthority({ now: NOW }, modules));
  assert.throws(() => openAuthority(other.key, pem.certificate), refusedAs("wrong-key"));
  assert.throws(
    () => certificateFromPem(Buffer.concat([pem.certificate, pem.certificate])),
    (error) => isCairnError(error, "malformed"),
  );
});

test("dates from 2050 on are written so that OpenSSL reads them back", () => {
  const now = Date.UTC(2049, 11, 31);
  const late = createAuthority({ now }, modules);
  assert.equal(new X509Certificate(late.certificate).validToDate.getTime(), now + 3650 * 24 * 3_600_000);
});

test("a certificate with bytes after it, or in PEM, is not taken for the one in DER", () => {
  const certificate = issue(1);
  for (const other of [Uint8Array.of(...certificate, 0), certificateToPem(certificate)]) {
    assert.throws(() => verifyNodeCertificate(other, expected), refusedAs("malformed"));
  }
});
