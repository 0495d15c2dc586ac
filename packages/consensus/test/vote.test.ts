import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeCanonical, type IntentHash } from "@cairn/core";
import { decodeVote, encodeVote, verifyVote } from "../src/index.ts";
import { clusterOf, hash, voteOf } from "./cluster.ts";

test("a vote that was checked once cannot be changed, and its copies are checked anew", () => {
  const cluster = clusterOf();
  const { manifest, manifestHash } = cluster;
  const vote = voteOf(cluster, 1, { intentHash: hash("intent") as IntentHash });
  verifyVote(vote, manifest, manifestHash);
  verifyVote(vote, manifest, manifestHash);
  assert.throws(() => Object.assign(vote.body, { round: 2 }), TypeError);
  assert.throws(() => Object.assign(vote, { signature: "00".repeat(64) }), TypeError);
  const altered = { ...vote, body: { ...vote.body, round: 2 } };
  assert.throws(() => verifyVote(altered, manifest, manifestHash), { code: "signature-invalid" });
  assert.throws(() => verifyVote(vote, { ...manifest, members: [] }, manifestHash), {
    code: "not-member",
  });
  const other = hash("another manifest") as typeof manifestHash;
  assert.throws(() => verifyVote(vote, manifest, other), { code: "wrong-manifest" });
});

test("a vote's bytes are its canonical ones, whether it was made here or received", () => {
  const vote = voteOf(clusterOf(), 1, { intentHash: hash("intent") as IntentHash });
  const bytes = encodeVote(vote);
  assert.deepEqual(bytes, encodeCanonical(vote));
  const received = decodeVote(bytes);
  assert.deepEqual(received, vote);
  assert.deepEqual(encodeVote(received), bytes);
  assert.throws(() => decodeVote(new Uint8Array([...bytes, 0])), { code: "malformed" });
});
