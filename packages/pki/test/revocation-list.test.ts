import assert from "node:assert/strict";
import { test } from "node:test";
import { isCairnError, type NodeIndex, type UnixMs } from "@cairn/core";
import {
  createAuthority,
  encodeRevocationList,
  issueNodeCertificate,
  openRevocationList,
  signRevocationList,
  verifyNodeCertificate,
} from "../src/index.ts";
import { identityOf, modules, NOW, pkiBench, refusedAs } from "./pki-bench.ts";

const bench = pkiBench();
const { authority, manifest } = bench;
const first = issueNodeCertificate(authority, identityOf(bench, 1), { now: NOW }, modules);
const second = issueNodeCertificate(authority, identityOf(bench, 1), { now: NOW }, modules);
const expected = {
  manifest,
  authority: authority.certificate,
  index: 1 as NodeIndex,
  now: NOW,
  revocations: null,
};
const list = {
  version: 1 as const,
  cluster: manifest.cluster,
  number: 3,
  issuedAt: NOW as UnixMs,
  revoked: [
    {
      serial: verifyNodeCertificate(first, expected).serial,
      revokedAt: NOW as UnixMs,
      reason: "laptop lost",
    },
  ],
};
const trusted = { authority: authority.certificate, cluster: manifest.cluster, atLeast: 3 };

test("a revoked certificate is refused, its successor for the same key is not", () => {
  const revocations = openRevocationList(encodeRevocationList(signRevocationList(authority, list)), trusted);
  assert.throws(() => verifyNodeCertificate(first, { ...expected, revocations }), refusedAs("revoked"));
  verifyNodeCertificate(second, { ...expected, revocations });
});

test("a list of another authority, another cluster or an earlier time is refused", () => {
  const open = (signed: Uint8Array, change: Partial<typeof trusted> = {}) =>
    openRevocationList(signed, { ...trusted, ...change });
  const encoded = encodeRevocationList(signRevocationList(authority, list));
  const foreign = createAuthority({ now: NOW }, modules);
  assert.throws(
    () => open(encodeRevocationList(signRevocationList(foreign, list))),
    (error) => isCairnError(error, "signature-invalid"),
  );
  assert.throws(
    () => open(encoded, { cluster: "12".repeat(32) as never }),
    (error) => isCairnError(error, "wrong-cluster"),
  );
  assert.throws(
    () => open(encoded, { atLeast: 4 }),
    (error) => isCairnError(error, "replayed"),
  );
  const signed = signRevocationList(authority, list);
  const altered = { ...signed, body: { ...signed.body, revoked: [] } };
  assert.throws(
    () => open(encodeRevocationList(altered)),
    (error) => isCairnError(error, "signature-invalid"),
  );
});
