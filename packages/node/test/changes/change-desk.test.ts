import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  type ChangeCommit,
  type ChangeProposal,
  changeProposalHash,
  clusterIdOf,
  type ErrorCode,
  encodeCanonical,
  isCairnError,
  type Manifest,
  manifestHash,
  type NodeIndex,
  signChange,
  signChangeProposal,
  signChangeVote,
  type UnixMs,
} from "@cairn/core";
import { namedSigner } from "@cairn/core/test-support";
import fc from "fast-check";
import { ChangeCluster, HOUR, MINUTE, operatorKey } from "./change-cluster.ts";

const refuses = (work: Promise<unknown>, code: ErrorCode) =>
  assert.rejects(work, (error) => isCairnError(error, code));
const all = (cluster: ChangeCluster, proposal: Parameters<ChangeCluster["states"]>[0]) => [
  ...new Set(cluster.states(proposal)),
];
const isOpen = (cluster: ChangeCluster, proposal: Parameters<ChangeCluster["states"]>[0], index: number) =>
  cluster.states(proposal)[index - 1] === "open";
const bytes = (structure: unknown) => new Uint8Array(encodeCanonical(structure));

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

  test("all nodes restart between every two steps, and nothing is forgotten or done twice", async () => {
    const cluster = await ChangeCluster.start();
    const restartAll = async () => {
      for (const { index } of cluster.manifest.members) await cluster.restart(index);
    };
    const proposal = await cluster.propose(cluster.policyChange(5_000n, 24 * HOUR));
    await restartAll();
    await cluster.exchange();
    for (const operator of [1, 2, 3, 4]) {
      await restartAll();
      await cluster.sign(proposal, [operator]);
      await restartAll();
      await cluster.exchange();
    }
    assert.deepEqual(all(cluster, proposal), ["committed"]);
    const seen = cluster.node(5).desk.get(proposal).row;
    await cluster.pass(12 * HOUR);
    await restartAll();
    const { firstSeenAt, effectiveAt } = cluster.node(5).desk.get(proposal).row;
    assert.deepEqual([firstSeenAt, effectiveAt], [seen.firstSeenAt, seen.effectiveAt]);
    await cluster.pass(13 * HOUR);
    await restartAll();
    await cluster.exchange();
    assert.deepEqual(all(cluster, proposal), ["in-force"]);
    const manifests = await cluster.node(5).store.manifests();
    assert.deepEqual(
      manifests.map(({ sequence }) => sequence),
      [1],
    );
  });

  test("in whatever order proposal, votes and commits come, are lost before a restart, or come twice, all end the same", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(1_000), { minLength: 60, maxLength: 60 }), async (draws) => {
        let at = 0;
        const draw = () => draws[at++ % draws.length] ?? 0;
        const cluster = await ChangeCluster.start();
        const lift = await cluster.propose(cluster.banLift(3, ["ab".repeat(32) as never]), 2);
        const proposal = await cluster.propose(cluster.policyChange(5_000n, 24 * HOUR), 1);
        const unsigned = new Set([1, 2, 3, 4, 5]);
        for (let step = 0; step < 60; step += 1) {
          const entry = cluster.waiting[draw() % Math.max(1, cluster.waiting.length)];
          const operator = 1 + (draw() % 5);
          switch (draw() % 6) {
            case 0:
              if (unsigned.has(operator) && isOpen(cluster, proposal, operator)) {
                unsigned.delete(operator);
                await cluster.sign(proposal, [operator]);
              }
              break;
            case 1:
              await cluster.restart(operator);
              break;
            case 2:
              if (entry !== undefined) await cluster.deliver(entry, true);
              break;
            default:
              if (entry !== undefined) await cluster.deliver(entry);
          }
        }
        await cluster.exchange((entries) => draw() % entries.length);
        await cluster.sign(
          proposal,
          [...unsigned].filter((operator) => isOpen(cluster, proposal, operator)),
        );
        await cluster.exchange((entries) => draw() % entries.length);
        await cluster.pass(25 * HOUR);
        assert.deepEqual(all(cluster, proposal), ["in-force"]);
        assert.ok(!all(cluster, lift).includes("in-force"));
        assert.equal(new Set(cluster.hashes()).size, 1);
        assert.deepEqual(cluster.reported, []);
      }),
      { numRuns: 12 },
    );
  });

  test("a node that was away during several changes follows all of them, and so does one whose database is from before them", async () => {
    const cluster = await ChangeCluster.start();
    cluster.away.add(5);
    for (const limit of [900n, 800n, 700n]) {
      const proposal = await cluster.propose(cluster.policyChange(limit));
      await cluster.exchange();
      await cluster.sign(proposal, [1, 2, 3, 4]);
      await cluster.exchange();
      await cluster.pass(2 * HOUR);
    }
    assert.equal(cluster.node(5).book.manifest.sequence, 0);
    // Nothing of what was posted is left: it must ask. Two peers are more than can be faulty.
    cluster.waiting = [];
    cluster.away.clear();
    cluster.node(5).catchUp.ask(1 as NodeIndex);
    await cluster.exchange();
    assert.equal(cluster.node(5).book.manifest.sequence, 0);
    cluster.node(5).catchUp.ask(2 as NodeIndex);
    await cluster.exchange();
    assert.equal(cluster.node(5).book.manifest.sequence, 3);
    assert.equal(new Set(cluster.hashes()).size, 1);
    const { book } = await cluster.restart(5);
    assert.equal(book.policy.perTransactionMaxSats, 700n);
  });

  test("whoever names a manifest that a node does not know is asked for it", async () => {
    const cluster = await ChangeCluster.start();
    cluster.away.add(5);
    const first = await cluster.propose(cluster.policyChange(900n));
    await cluster.exchange();
    await cluster.sign(first, [1, 2, 3, 4]);
    await cluster.exchange();
    await cluster.pass(2 * HOUR);
    cluster.waiting = [];
    cluster.away.clear();
    const second = await cluster.propose(cluster.policyChange(800n));
    await cluster.sign(second, [1]);
    await cluster.exchange();
    await cluster.sign(second, [2, 3]);
    await cluster.pass(10_000);
    assert.equal(cluster.node(5).book.manifest.sequence, 1);
    await cluster.sign(second, [5]);
    await cluster.exchange();
    assert.deepEqual(all(cluster, second), ["in-force"]);
  });

  test("of two rival successors a node approves one; a stuck pair ends by expiry, and then the cluster can decide", async () => {
    const cluster = await ChangeCluster.start();
    const left = await cluster.propose(cluster.policyChange(500n), 1);
    const right = await cluster.propose(cluster.policyChange(600n), 2);
    await cluster.exchange();
    await cluster.sign(left, [1, 3]);
    await cluster.sign(right, [2, 4, 5]);
    await refuses(cluster.sign(left, [2]), "wrong-state");
    await cluster.restart(3);
    await refuses(cluster.sign(right, [3]), "wrong-state");
    await cluster.exchange();
    await cluster.pass(HOUR + MINUTE);
    assert.deepEqual([...all(cluster, left), ...all(cluster, right)], ["expired", "expired"]);
    // Votes of the old ones may still be on their way: not yet.
    const early = await cluster.propose(cluster.policyChange(550n), 1);
    await cluster.exchange();
    await refuses(cluster.sign(early, [3]), "wrong-state");
    await cluster.pass(2 * MINUTE);
    await cluster.sign(early, [1, 2, 3, 4]);
    await cluster.exchange();
    assert.deepEqual(all(cluster, early), ["in-force"]);
    assert.deepEqual(cluster.node(1).told.filter(({ state }) => state === "expired").length, 2);
  });

  test("another proposal of the same successor is no rival: who has approved one may approve the other", async () => {
    const cluster = await ChangeCluster.start();
    const change = cluster.policyChange(500n);
    const first = await cluster.propose(change, 1, 10 * MINUTE);
    await cluster.exchange();
    await cluster.sign(first, [1, 2, 3]);
    await cluster.exchange();
    await cluster.pass(20 * MINUTE);
    assert.deepEqual(all(cluster, first), ["expired"]);
    const again = await cluster.propose(change, 4);
    const third = await cluster.propose(change, 5);
    await cluster.exchange();
    await cluster.sign(third, [1, 2, 3, 5]);
    await cluster.sign(again, [1, 2, 3, 4]);
    await cluster.exchange();
    for (const { told, book } of cluster.nodes.values()) {
      assert.equal(book.manifest.sequence, 1);
      assert.ok(told.every(({ state }) => state !== "conflict"));
    }
  });

  test("so many refusals that no quorum is left end a proposal, with votes and reasons told", async () => {
    const cluster = await ChangeCluster.start();
    const proposal = await cluster.propose(cluster.policyChange(500n));
    await cluster.exchange();
    await cluster.sign(proposal, [1]);
    for (const index of [4, 5]) await cluster.node(index).desk.refuse(proposal);
    await refuses(cluster.sign(proposal, [4]), "wrong-state");
    await cluster.exchange();
    assert.deepEqual(all(cluster, proposal), ["rejected"]);
    const { told } = cluster.node(2);
    assert.deepEqual(
      told.filter(({ state }) => state === "rejected").map(({ progress }) => progress.votes.size),
      [3],
    );
  });

  test("a ban lift takes effect after the delay at every node, once", async () => {
    const cluster = await ChangeCluster.start();
    const violations = ["ab".repeat(32)] as never[];
    const proposal = await cluster.propose(cluster.banLift(3, violations));
    await cluster.exchange();
    await cluster.sign(proposal, [1, 2, 4, 5]);
    await cluster.exchange();
    assert.deepEqual(all(cluster, proposal), ["committed"]);
    await cluster.pass(25 * HOUR);
    assert.deepEqual(all(cluster, proposal), ["in-force"]);
    for (const node of cluster.nodes.values()) {
      assert.deepEqual(node.lifted, [{ node: 3, violations }]);
      assert.ok(node.desk.forgives(3 as NodeIndex, violations[0] as never));
      assert.ok(!node.desk.forgives(2 as NodeIndex, violations[0] as never));
    }
  });

  test("what cannot change while nodes run is refused when it is proposed, and by the node of whoever gets it from a peer", async () => {
    const cluster = await ChangeCluster.start();
    const stranger = namedSigner("stranger").publicKey;
    const swap = (field: "identity" | "sealing") =>
      cluster.manifest.members.map((member, at) => (at === 4 ? { ...member, [field]: stranger } : member));
    const impossible: Partial<Manifest>[] = [
      { threshold: 3 },
      { members: cluster.manifest.members.slice(0, 4) as Manifest["members"], threshold: 4 },
      { members: swap("identity") as Manifest["members"] },
      { members: swap("sealing") as Manifest["members"] },
      { caFingerprint: "cd".repeat(32) as never },
      { authorisation: "policy-engine" },
      { protocolVersions: [1, 2] },
    ];
    for (const change of impossible) {
      const manifest = cluster.successor(change, 24 * HOUR);
      await refuses(cluster.propose({ type: "manifest", manifest, policy: null }), "unsupported-version");
    }
    const { manifestHash: hash } = cluster.node(1).book;
    const { cluster: id } = cluster.manifest;
    const refresh = { version: 1, cluster: id, manifestHash: hash, keyId: "ef".repeat(32), epoch: 1 };
    await refuses(
      cluster.propose({
        type: "refresh",
        refresh: { ...refresh, createdAt: cluster.node(1).clock.now() } as never,
      }),
      "unsupported-version",
    );
    const manifest = cluster.successor({ threshold: 3 }, 24 * HOUR);
    const signed = cluster.proposal({ type: "manifest", manifest, policy: null }, 2);
    await cluster.node(1).desk.onProposal(bytes(signed));
    const { votes } = cluster.node(1).desk.get(changeProposalHash(signed.body));
    assert.equal(votes.get(1 as NodeIndex)?.body.reason, "unsupported-version");
  });
});

describe("attacks on changes of the cluster", () => {
  test("a rogue proposal of a node without an operator is refused everywhere", async () => {
    const cluster = await ChangeCluster.start();
    const body = cluster.proposal(cluster.policyChange(5_000n, 24 * HOUR)).body;
    const rogue = signChangeProposal(body, namedSigner("node 2"));
    for (const { desk } of cluster.nodes.values()) {
      await refuses(desk.propose(rogue), "operator-signature-missing");
      await refuses(desk.onProposal(bytes(rogue)), "operator-signature-missing");
    }
    assert.deepEqual(cluster.node(1).desk.list(), []);
  });

  test("one stolen operator's key alone proposes, but approves at its own node only, and fills no disk", async () => {
    const cluster = await ChangeCluster.start();
    const proposal = await cluster.propose(cluster.policyChange(5_000n, 24 * HOUR));
    await cluster.exchange();
    const { change } = cluster.node(1).desk.get(proposal).signed.body;
    const stolen = signChange(change, operatorKey(1));
    for (const index of [2, 3, 4, 5])
      await refuses(cluster.node(index).desk.sign(proposal, stolen), "operator-signature-missing");
    await cluster.sign(proposal, [1]);
    for (let more = 0; more < 63; more += 1) await cluster.propose(cluster.policyChange(BigInt(more)));
    await refuses(cluster.propose(cluster.policyChange(99n)), "rate-limited");
    await cluster.exchange();
    await cluster.pass(2 * HOUR);
    assert.deepEqual(all(cluster, proposal), ["expired"]);
    assert.equal(new Set(cluster.hashes()).size, 1);
  });

  test("one stolen node alone cannot vote for others, nor without its operator", async () => {
    const cluster = await ChangeCluster.start();
    const proposal = await cluster.propose(cluster.policyChange(5_000n, 24 * HOUR));
    await cluster.exchange();
    const { signed } = cluster.node(1).desk.get(proposal);
    const { manifestHash: named, change } = signed.body;
    const vote = (node: number, by: number) =>
      bytes(
        signChangeVote(
          {
            version: 1,
            cluster: cluster.manifest.cluster,
            manifestHash: named,
            proposal,
            node: node as NodeIndex,
            approve: true,
            reason: null,
            operatorSignature: signChange(change, operatorKey(by)),
          },
          namedSigner("node 2"),
        ),
      );
    const { desk } = cluster.node(1);
    await refuses(desk.onVote(vote(3, 3)), "signature-invalid");
    await refuses(desk.onVote(vote(2, 3)), "operator-signature-missing");
    assert.equal(desk.get(proposal).votes.size, 0);
  });

  test("of two contrary votes of one node the first counts, and a vote that comes twice counts once", async () => {
    const cluster = await ChangeCluster.start();
    const proposal = await cluster.propose(cluster.policyChange(500n));
    await cluster.exchange();
    const { signed } = cluster.node(1).desk.get(proposal);
    const word = (approve: boolean) =>
      bytes(
        signChangeVote(
          {
            version: 1,
            cluster: cluster.manifest.cluster,
            manifestHash: signed.body.manifestHash,
            proposal,
            node: 5 as NodeIndex,
            approve,
            reason: approve ? null : "operator-refused",
            operatorSignature: approve ? signChange(signed.body.change, operatorKey(5)) : null,
          },
          namedSigner("node 5"),
        ),
      );
    for (const index of [1, 2, 3]) {
      const { desk } = cluster.node(index);
      for (const approve of [false, true, true, false]) await desk.onVote(word(approve));
      assert.equal(desk.get(proposal).votes.get(5 as NodeIndex)?.body.approve, false);
    }
    await cluster.sign(proposal, [1, 2, 3]);
    await cluster.exchange();
    assert.deepEqual(cluster.states(proposal).slice(0, 3), ["open", "open", "open"]);
    await cluster.sign(proposal, [4]);
    await cluster.exchange();
    assert.deepEqual(all(cluster, proposal), ["in-force"]);
  });

  test("an old commit that is replayed changes nothing", async () => {
    const cluster = await ChangeCluster.start();
    const commits: ChangeCommit[] = [];
    for (const limit of [900n, 950n]) {
      const delay = limit === 900n ? 0 : 24 * HOUR;
      const proposal = await cluster.propose(cluster.policyChange(limit, delay));
      await cluster.exchange();
      await cluster.sign(proposal, [1, 2, 3, 4]);
      await cluster.exchange();
      await cluster.pass(25 * HOUR);
      commits.push(...cluster.node(1).desk.commits().slice(commits.length));
    }
    assert.equal(commits.length, 2);
    const before = cluster.hashes();
    for (const commit of commits) {
      for (const from of [1, 2, 3]) await cluster.node(4).desk.onCommit(from as NodeIndex, bytes(commit));
    }
    assert.deepEqual(cluster.hashes(), before);
    const [first] = commits;
    assert.ok(first !== undefined);
    const restarted = await cluster.restart(4);
    await restarted.desk.onProposal(bytes(first.proposal));
    await restarted.desk.onCommit(1 as NodeIndex, bytes(first));
    assert.equal(cluster.node(4).book.manifest.sequence, 2);
  });

  test("a commit of another cluster of the same people is refused for good", async () => {
    const cluster = await ChangeCluster.start();
    const nonce = "11".repeat(32);
    const other = await ChangeCluster.start({ nonce });
    assert.notEqual(other.manifest.cluster, cluster.manifest.cluster);
    assert.equal(other.manifest.cluster, clusterIdOf(other.manifest));
    const signed = other.proposal(other.policyChange(5_000n, 24 * HOUR));
    const commit = other.commitOf(signed, [1, 2, 3, 4]);
    for (const from of [1, 2, 3])
      await refuses(cluster.node(5).desk.onCommit(from as NodeIndex, bytes(commit)), "wrong-cluster");
    await refuses(cluster.node(5).desk.onProposal(bytes(signed)), "wrong-cluster");
  });

  test("a quorum that writes times of the past cannot bring a loosening forward, nor can a peer that says it is in force", async () => {
    const cluster = await ChangeCluster.start();
    const now = cluster.node(1).clock.now();
    const change = cluster.policyChange(5_000n, 24 * HOUR);
    assert.ok(change.type === "manifest");
    const past = (now - 48 * HOUR) as UnixMs;
    const forged = {
      ...change,
      manifest: { ...change.manifest, createdAt: past, effectiveAt: (past + 24 * HOUR) as UnixMs },
    };
    const body: ChangeProposal = {
      ...cluster.proposal(forged).body,
      createdAt: past,
      expiry: (now + HOUR) as UnixMs,
    };
    const signed = signChangeProposal(body, operatorKey(1));
    const commit = cluster.commitOf(signed, [1, 2, 3, 4]);
    const { desk, book } = cluster.node(5);
    await desk.onCommit(1 as NodeIndex, bytes(commit));
    assert.equal(book.manifest.sequence, 0);
    const { row } = desk.get(changeProposalHash(body));
    assert.equal(row.state, "committed");
    assert.equal(row.firstSeenAt, now);
    assert.equal(row.effectiveAt, now + 24 * HOUR);
    await cluster.pass(23 * HOUR);
    assert.equal(book.manifest.sequence, 0);
    // Peers may repeat themselves: only others count.
    await desk.onCommit(1 as NodeIndex, bytes(commit));
    assert.equal(book.manifest.sequence, 0);
  });

  test("a commit that one peer brings long after its time is not believed until more nodes than can be faulty have it in force", async () => {
    const cluster = await ChangeCluster.start();
    const signed = cluster.proposal(cluster.policyChange(500n), 1, HOUR);
    const commit = cluster.commitOf(signed, [1, 2, 3, 4]);
    await cluster.pass(2 * HOUR);
    const { desk, book } = cluster.node(5);
    await refuses(desk.onCommit(2 as NodeIndex, bytes(commit)), "busy");
    await refuses(desk.onCommit(2 as NodeIndex, bytes(commit)), "busy");
    assert.equal(book.manifest.sequence, 0);
    await desk.onCommit(3 as NodeIndex, bytes(commit));
    assert.equal(book.manifest.sequence, 1);
  });

  test("a second quorum for another successor of the same manifest changes nothing and is told", async () => {
    const cluster = await ChangeCluster.start();
    const proposal = await cluster.propose(cluster.policyChange(500n));
    const rival = cluster.proposal(cluster.policyChange(600n), 2);
    const commit = cluster.commitOf(rival, [2, 3, 4, 5]);
    await cluster.exchange();
    await cluster.sign(proposal, [1, 2, 3, 4]);
    await cluster.exchange();
    const before = cluster.hashes();
    for (const from of [2, 3, 4]) await cluster.node(1).desk.onCommit(from as NodeIndex, bytes(commit));
    assert.deepEqual(cluster.hashes(), before);
    assert.equal(cluster.node(1).told.filter(({ state }) => state === "conflict").length, 1);
  });

  test("a commit short of votes, or with a vote of another change, is refused", async () => {
    const cluster = await ChangeCluster.start();
    const signed = cluster.proposal(cluster.policyChange(500n));
    const commit = cluster.commitOf(signed, [1, 2, 3, 4]);
    const other = cluster.commitOf(cluster.proposal(cluster.policyChange(600n)), [1, 2, 3, 4]);
    assert.ok(commit !== null && other !== null);
    const { desk } = cluster.node(5);
    const bring = (votes: ChangeCommit["votes"]) =>
      desk.onCommit(1 as NodeIndex, bytes({ ...commit, votes }));
    await refuses(bring(commit.votes.slice(1)), "quorum-missing");
    await refuses(bring([...commit.votes.slice(0, 3), ...other.votes.slice(3)]), "wrong-state");
    assert.equal(cluster.node(5).book.manifestHash, manifestHash(cluster.manifest));
  });
});
