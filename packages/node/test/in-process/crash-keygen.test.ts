import assert from "node:assert/strict";
import { test } from "node:test";
import type { SignedKeygenRequest } from "@cairn/core";
import { HostileNode } from "@cairn/runtime/test-support";
import { initiatorOrder, keygenSubject, testSubsets } from "@cairn/signing";
import { InProcessCluster } from "./cluster.ts";

/** A request whose first test signature `node` leads: chance decides by its hash. */
function requestLedBy(cluster: InProcessCluster, node: number): SignedKeygenRequest {
  const members = cluster.manifest.members.map(({ index }) => index);
  const [signers] = testSubsets(members, cluster.manifest.threshold);
  assert.ok(signers);
  for (let tries = 0; tries < 1_000; tries += 1) {
    const request = cluster.keygenRequest("frost", `key ${tries}`);
    const { orderBy, nonce } = keygenSubject(request.body, { step: "test", part: 0 }, signers);
    if (initiatorOrder(orderBy, nonce, signers)[0] === node) return request;
  }
  return assert.fail("no request would do");
}

test("a node that restarts before its test of a key is recorded drives another, though it led the first", async () => {
  const forgetful = new HostileNode(4);
  const cluster = await InProcessCluster.start({
    keygenTimeouts: { ackMs: 800, startMs: 1_200, roundMs: 60_000, sessionMs: 60_000 },
    attempts: { slotMs: 300, patienceMs: 500 },
    tampering: (index) => forgetful.tampering(index),
  });
  try {
    forgetful.keeps = ({ kind }) => kind === "frost-sign";
    forgetful.ignores = ({ kind }) => kind === "finalize";
    const keyId = await cluster.node(1).runtime.generateKey(requestLedBy(cluster, 4));
    const stages = () =>
      [...cluster.nodes.values()].map(
        ({ runtime }) => runtime.keys.list().find(({ row }) => row.keyId === keyId)?.stage,
      );
    await cluster.until(
      () => stages().filter((stage) => stage === "recording").length === 4,
      60_000,
      () => `the others did not wait for node 4: ${stages()}`,
    );
    await cluster.node(4).stop();
    forgetful.keeps = () => false;
    forgetful.ignores = () => false;
    await cluster.startNode(forgetful.index);
    await cluster.until(
      () => stages().every((stage) => stage === "active"),
      30_000,
      () => `the key is at ${stages()}`,
    );
  } finally {
    await cluster.close();
  }
});
