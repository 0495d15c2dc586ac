import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ErrorCode,
  type IntentHash,
  isCairnError,
  type NodeIndex,
  type SignatureHex,
  spendQuorum,
} from "@cairn/core";
import fc from "fast-check";
import { type Certificate, formCertificate, verifyCertificate } from "../src/index.ts";
import { clusterOf, hash, nodeOf, rejection, signerOf, voteOf } from "./cluster.ts";

const cluster = clusterOf();
const { manifest, manifestHash } = cluster;

function certificateBy(...voters: number[]): Certificate {
  const certificate = formCertificate(
    voters.map((voter) => voteOf(cluster, voter)),
    manifest,
  );
  assert.ok(certificate);
  return certificate;
}

function refuses(certificate: Certificate, code: ErrorCode): void {
  assert.throws(
    () => verifyCertificate(certificate, manifest, manifestHash),
    (error) => isCairnError(error, code),
    code,
  );
}

test("a quorum of approvals forms a certificate that verifies offline; fewer form none", () => {
  fc.assert(
    fc.property(fc.shuffledSubarray([1, 2, 3, 4, 5]), (voters) => {
      const certificate = formCertificate(
        voters.map((voter) => voteOf(cluster, voter)),
        manifest,
      );
      assert.equal(certificate !== null, voters.length >= spendQuorum(manifest));
      if (certificate === null) return;
      verifyCertificate(certificate, manifest, manifestHash);
      assert.equal(certificate.votes.length, spendQuorum(manifest));
    }),
    { numRuns: 40 },
  );
});

test("duplicate, missing, foreign, mixed-round and altered votes are refused", () => {
  const good = certificateBy(1, 2, 3, 4);
  const [first, second, third, fourth] = good.votes;
  assert.ok(first && second && third && fourth);
  refuses({ ...good, votes: [first, first, second, third] }, "certificate-invalid");
  refuses({ ...good, votes: [second, first, third, fourth] }, "certificate-invalid");
  refuses({ ...good, votes: [first, second, third] }, "quorum-missing");
  refuses(
    { ...good, votes: [first, second, third, { ...fourth, voter: 5 as NodeIndex }] },
    "signature-invalid",
  );
  refuses({ ...good, votes: [first, second, third, { ...fourth, voter: 9 as NodeIndex }] }, "not-member");
  refuses({ ...good, round: 2 }, "signature-invalid");
  refuses({ ...good, intentHash: hash("other") as IntentHash }, "signature-invalid");
  refuses({ ...good, manifestHash: hash("other") as never }, "wrong-manifest");
  refuses({ ...good, cluster: hash("other") as never }, "wrong-cluster");
  const many = Array.from({ length: 6 }, (_, at) => ({
    voter: (at + 1) as NodeIndex,
    signature: first.signature,
  }));
  refuses({ ...good, votes: many }, "certificate-invalid");
});

test("a rejection or another round's approval can't stand in for an approval", () => {
  const good = certificateBy(1, 2, 3, 4);
  for (const alien of [voteOf(cluster, 4, rejection("dust")), voteOf(cluster, 4, { round: 2 })]) {
    const votes = good.votes.map((entry) =>
      entry.voter === 4 ? { ...entry, signature: alien.signature } : entry,
    );
    refuses({ ...good, votes }, "signature-invalid");
  }
});

test("a vote signed under another domain or key does not count", () => {
  const good = certificateBy(1, 2, 3, 4);
  const { body } = voteOf(cluster, 4);
  const signatures: SignatureHex[] = [
    nodeOf(cluster, 4).sign("cairn/void/v1", body),
    signerOf("thief").sign("cairn/vote/v1", body),
  ];
  for (const signature of signatures) {
    const votes = good.votes.map((entry) => (entry.voter === 4 ? { ...entry, signature } : entry));
    refuses({ ...good, votes }, "signature-invalid");
  }
});

test("in unanimous mode every member must approve", () => {
  const strict = clusterOf({ change: { modes: { ...manifest.modes, spend: "unanimous" } } });
  const votes = [1, 2, 3, 4, 5].map((voter) => voteOf(strict, voter));
  assert.equal(formCertificate(votes.slice(1), strict.manifest), null);
  assert.equal(formCertificate(votes, strict.manifest)?.votes.length, 5);
});
