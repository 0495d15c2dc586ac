import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ChangeCluster, HOUR } from "./change-cluster.ts";

describe("changes of the cluster", () => {
  test("a policy that tightens is in force at once when a quorum's operators have signed, and not before", async () => {
    const cluster = await ChangeCluster.start();
    const proposal = await cluster.propose(cluster.policyChange(500n));
    await cluster.exchange();
    assert.deepEqual(new Set(cluster.states(proposal)), new Set(["open"]));
    await cluster.sign(proposal, [1, 2, 3]);
    await cluster.exchange();
    assert.deepEqual(new Set(cluster.states(proposal)), new Set(["open"]));
    await cluster.sign(proposal, [5]);
    await cluster.exchange();
    assert.deepEqual(new Set(cluster.states(proposal)), new Set(["in-force"]));
    for (const { book } of cluster.nodes.values()) {
      assert.equal(book.policy.perTransactionMaxSats, 500n);
      assert.equal(book.manifest.sequence, 1);
    }
    assert.deepEqual(cluster.reported, []);
    assert.deepEqual(cluster.refused, []);
  });

  test("a policy that loosens waits for the delay from the node's own first sight, over restarts and a clock that goes back", async () => {
    const cluster = await ChangeCluster.start();
    const proposal = await cluster.propose(cluster.policyChange(5_000n, 24 * HOUR));
    await cluster.exchange();
    await cluster.sign(proposal, [1, 2, 3, 4]);
    await cluster.exchange();
    assert.deepEqual(new Set(cluster.states(proposal)), new Set(["committed"]));
    await cluster.pass(23 * HOUR);
    for (const { index } of cluster.manifest.members) await cluster.restart(index);
    assert.deepEqual(new Set(cluster.states(proposal)), new Set(["committed"]));
    cluster.node(1).clock.jump(-10 * HOUR);
    await cluster.restart(1);
    cluster.away.add(1);
    await cluster.pass(HOUR);
    assert.deepEqual(cluster.states(proposal), ["committed", ...Array(4).fill("in-force")]);
    cluster.away.clear();
    await cluster.exchange();
    assert.deepEqual(new Set(cluster.states(proposal)), new Set(["in-force"]));
    for (const { index } of cluster.manifest.members) {
      const { book } = await cluster.restart(index);
      assert.equal(book.policy.perTransactionMaxSats, 5_000n);
    }
  });
});
