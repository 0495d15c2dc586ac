import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type BanLift,
  type Change,
  type ChangeProposal,
  type ChangeVote,
  changeCommitSchema,
  changeEffectiveAt,
  changeProposalHash,
  changeProposalSchema,
  changeQuorum,
  changeVoteSchema,
  decodeCanonical,
  encodeCanonical,
  formChangeCommit,
  isCairnError,
  type KeyId,
  type KeyRefresh,
  type Manifest,
  manifestHash,
  operatorSignaturesOf,
  type Policy,
  parseShape,
  policyHash,
  type SignedChangeVote,
  signChange,
  signChangeProposal,
  signChangeVote,
  type UnixMs,
  verifyBanLift,
  verifyChangeCommit,
  verifyChangeProposal,
  verifyChangeVote,
  verifySuccessor,
} from "../src/index.ts";
import { alterations, namedSigner, openPolicy, refuses } from "../test-support/index.ts";
import { HOUR, hash, inForceOf, NOW, node, nodeKey, operatorKey } from "./small-cluster.ts";

const DAY = 24 * HOUR;
const policy = openPolicy({ perTransactionMaxSats: 1_000 });
const owner = namedSigner("owner").publicKey;
const inForce = {
  ...inForceOf({ policy: policyHash(policy), changeDelayMs: DAY, requesters: [owner] }),
  policy,
};
const { manifest } = inForce;

function successor(change: Partial<Manifest> = {}): Manifest {
  return {
    ...manifest,
    sequence: 1,
    previous: inForce.manifestHash,
    createdAt: NOW,
    effectiveAt: (NOW + DAY) as UnixMs,
    ...change,
  };
}
const policyChange = (next: Policy, change: Partial<Manifest> = {}): Change => ({
  type: "manifest",
  manifest: successor({
    policy: policyHash(next),
    policyVersion: next.policyVersion,
    policyDelayMs: next.delayMs,
    ...change,
  }),
  policy: next,
});
const liftOf = (change: Partial<BanLift> = {}): BanLift => ({
  version: 1,
  cluster: manifest.cluster,
  manifestHash: inForce.manifestHash,
  node: node(5),
  violations: [hash("violation")],
  createdAt: NOW,
  effectiveAt: (NOW + DAY) as UnixMs,
  ...change,
});
const refreshOf = (change: Partial<KeyRefresh> = {}): KeyRefresh => ({
  version: 1,
  cluster: manifest.cluster,
  manifestHash: inForce.manifestHash,
  keyId: hash("key") as string as KeyId,
  epoch: 1,
  createdAt: NOW,
  ...change,
});
const manifestChange: Change = {
  type: "manifest",
  manifest: successor({ requesters: [namedSigner("new owner").publicKey] }),
  policy: null,
};
const looser = openPolicy({ policyVersion: 2, perTransactionMaxSats: 2_000 });
const changes: Record<string, Change> = {
  manifest: manifestChange,
  policy: policyChange(looser),
  "ban lift": { type: "ban-lift", lift: liftOf() },
  refresh: { type: "refresh", refresh: refreshOf() },
};

const proposalOf = (change: Change, more: Partial<ChangeProposal> = {}): ChangeProposal => ({
  version: 1,
  cluster: manifest.cluster,
  manifestHash: inForce.manifestHash,
  change,
  createdAt: NOW,
  expiry: (NOW + HOUR) as UnixMs,
  operator: operatorKey(1).publicKey,
  ...more,
});
const propose = (change: Change, more: Partial<ChangeProposal> = {}, signer = operatorKey(1)) =>
  signChangeProposal(proposalOf(change, more), signer);
const voteOf = (
  change: Change,
  index: number,
  more: Partial<ChangeVote> = {},
  operator = operatorKey(index),
): SignedChangeVote =>
  signChangeVote(
    {
      version: 1,
      cluster: manifest.cluster,
      manifestHash: inForce.manifestHash,
      proposal: changeProposalHash(proposalOf(change)),
      node: node(index),
      approve: true,
      reason: null,
      operatorSignature: signChange(change, operator),
      ...more,
    },
    nodeKey(index),
  );
const refusalOf = (change: Change, index: number) =>
  voteOf(change, index, { approve: false, reason: "policy-denied", operatorSignature: null });
function commitOf(change: Change, voters = [1, 2, 3, 4, 5]) {
  const votes = voters.map((index) => voteOf(change, index));
  const commit = formChangeCommit(propose(change), votes, inForce);
  assert.ok(commit);
  return commit;
}

for (const [name, change] of Object.entries(changes)) {
  test(`${name}: proposal, votes and commit verify, survive their bytes, and can't be altered`, () => {
    const commit = commitOf(change);
    const again = decodeCanonical(changeCommitSchema, encodeCanonical(commit));
    assert.deepEqual(again, commit);
    verifyChangeProposal(again.proposal, inForce);
    verifyChangeCommit(again, inForce);
    for (const { path, altered } of alterations(again)) {
      const check = () => verifyChangeCommit(parseShape(changeCommitSchema, altered), inForce);
      assert.throws(check, isCairnError, path);
    }
  });

  test(`${name}: a quorum commits it, and neither fewer nor refusals do`, () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([1, 2, 3, 4, 5]), fc.subarray([1, 2, 3, 4, 5]), (voters, refusing) => {
        const votes = voters.map((index) =>
          refusing.includes(index) ? refusalOf(change, index) : voteOf(change, index),
        );
        const commit = formChangeCommit(propose(change), votes, inForce);
        const approvals = voters.filter((index) => !refusing.includes(index)).length;
        assert.equal(commit !== null, approvals >= changeQuorum(change, inForce));
        if (commit !== null) verifyChangeCommit(commit, inForce);
      }),
      { numRuns: 25 },
    );
  });
}

test("rogue proposal to lift a ban: only a quorum of operators' signatures on exactly that lift ends it", () => {
  const lift = liftOf();
  const sign = (signers: readonly number[], what = lift) =>
    signers.map((index) => ({
      operator: operatorKey(index).publicKey,
      signature: signChange({ type: "ban-lift", lift: what }, operatorKey(index)),
    }));
  const check = (signatures: ReturnType<typeof sign>, what = lift) =>
    verifyBanLift({ lift: what, signatures }, inForce);
  check(sign([1, 2, 3, 4]));
  const refused = (signatures: ReturnType<typeof sign>) =>
    refuses("operator-signature-missing", () => check(signatures));
  refused(sign([1, 2, 3]));
  refused(sign([1, 1, 2, 3]));
  refused([...sign([1, 2, 3]), ...sign([4], liftOf({ node: node(4) }))]);
  const asNode = nodeKey(4);
  refused([...sign([1, 2, 3]), { operator: asNode.publicKey, signature: asNode.sign("cairn/ban/v1", lift) }]);
  const refusedAs = (
    code: "not-yet-valid" | "wrong-cluster" | "wrong-manifest",
    change: Partial<BanLift>,
  ) => {
    const other = liftOf(change);
    refuses(code, () => check(sign([1, 2, 3, 4], other), other));
  };
  refusedAs("not-yet-valid", { effectiveAt: (NOW + DAY - 1) as UnixMs });
  refusedAs("wrong-cluster", { cluster: hash("other") });
  refusedAs("wrong-manifest", { manifestHash: hash("other") });
});

test("a vote counts only with its own operator's signature on exactly the change", () => {
  const check = (vote: SignedChangeVote) => verifyChangeVote(vote, proposalOf(manifestChange), inForce);
  check(voteOf(manifestChange, 2));
  check(refusalOf(manifestChange, 2));
  const missing = "operator-signature-missing";
  refuses(missing, () => check(voteOf(manifestChange, 2, {}, operatorKey(1))));
  refuses(missing, () => check(voteOf(manifestChange, 2, {}, nodeKey(2))));
  const other: Change = { ...manifestChange, manifest: successor() };
  const borrowed = signChange(other, operatorKey(2));
  refuses(missing, () => check(voteOf(manifestChange, 2, { operatorSignature: borrowed })));
  refuses("wrong-state", () => check(voteOf(manifestChange, 2, { proposal: hash("other") })));
  refuses("wrong-manifest", () => check(voteOf(manifestChange, 2, { manifestHash: hash("other") })));
  refuses("signature-invalid", () => check(voteOf(manifestChange, 2, { node: node(3) })));
  for (const bad of [
    { approve: false },
    { reason: "dust" },
    { operatorSignature: null },
    { approve: false, reason: "dust" },
  ]) {
    const { body } = voteOf(manifestChange, 2, bad);
    refuses("malformed", () => parseShape(changeVoteSchema, body), JSON.stringify(bad));
  }
});

test("rogue proposals are refused by every node: foreign keys, other manifests, early effects, missing documents", () => {
  const check = (signed: ReturnType<typeof propose>) => () => verifyChangeProposal(signed, inForce);
  const stranger = namedSigner("stranger");
  const missing = "operator-signature-missing";
  refuses(missing, check(propose(manifestChange, {}, stranger)));
  refuses(missing, check(propose(manifestChange, { operator: stranger.publicKey }, stranger)));
  refuses(missing, check(propose(manifestChange, { operator: nodeKey(1).publicKey }, nodeKey(1))));
  refuses("wrong-cluster", check(propose(manifestChange, { cluster: hash("other") })));
  refuses("wrong-manifest", check(propose(manifestChange, { manifestHash: hash("other") })));
  const changed = (change: Partial<Manifest>) => propose({ ...manifestChange, manifest: successor(change) });
  refuses("wrong-manifest", check(changed({ sequence: 2 })));
  refuses("wrong-manifest", check(changed({ previous: hash("other") })));
  refuses("wrong-manifest", check(changed({ network: "signet" })));
  refuses("wrong-policy", check(changed({ policy: hash("other") })));
  refuses("wrong-policy", check(changed({ policyVersion: 2 })));
  refuses("wrong-policy", check(changed({ policyDelayMs: 1 })));
  refuses("wrong-policy", check(propose(policyChange(looser, { policy: hash("other") }))));
  refuses("wrong-policy", check(propose({ type: "manifest", manifest: successor(), policy })));
  const hasty = successor({
    requesters: [owner, namedSigner("thief").publicKey],
    effectiveAt: (NOW + DAY - 1) as UnixMs,
  });
  refuses("not-yet-valid", check(propose({ type: "manifest", manifest: hasty, policy: null })));
  refuses("not-yet-valid", check(propose(policyChange(looser, { effectiveAt: NOW }))));
  parseShape(changeProposalSchema, proposalOf(manifestChange, { expiry: (NOW + 7 * DAY) as UnixMs }));
  for (const expiry of [NOW, NOW + 7 * DAY + 1]) {
    const body = proposalOf(manifestChange, { expiry: expiry as UnixMs });
    refuses("malformed", () => parseShape(changeProposalSchema, body));
  }
  const refreshed = (change: Partial<KeyRefresh>) => propose({ type: "refresh", refresh: refreshOf(change) });
  refuses("wrong-cluster", check(refreshed({ cluster: hash("other") })));
  refuses("wrong-manifest", check(refreshed({ manifestHash: hash("other") })));
});

test("commits with repeated, disordered, refusing or too few votes are refused", () => {
  const good = commitOf(manifestChange);
  const [one, two, three, four] = good.votes;
  assert.ok(one && two && three && four);
  const check = (votes: SignedChangeVote[]) => () => verifyChangeCommit({ ...good, votes }, inForce);
  refuses("certificate-invalid", check([one, one, two, three]));
  refuses("certificate-invalid", check([two, one, three, four]));
  refuses("certificate-invalid", check([one, two, three, refusalOf(manifestChange, 4)]));
  refuses("quorum-missing", check([one, two, three]));
});

test("what tightens needs no delay, and takes effect no sooner than people could notice what loosens", () => {
  const tighter = openPolicy({ policyVersion: 2, perTransactionMaxSats: 10 });
  const now = { createdAt: NOW, effectiveAt: NOW };
  const urgent: Change = { type: "manifest", manifest: successor({ ...now, requesters: [] }), policy: null };
  verifyChangeProposal(propose(urgent), inForce);
  verifyChangeProposal(propose(policyChange(tighter, now)), inForce);
  assert.equal(changeEffectiveAt(urgent, NOW, inForce), NOW);
  const late = (NOW + 2 * DAY) as UnixMs;
  assert.equal(changeEffectiveAt(manifestChange, NOW, inForce), NOW + DAY);
  assert.equal(changeEffectiveAt(manifestChange, late, inForce), late + DAY);
  assert.equal(changeEffectiveAt({ type: "ban-lift", lift: liftOf() }, late, inForce), late + DAY);
  assert.equal(changeEffectiveAt({ type: "refresh", refresh: refreshOf() }, late, inForce), late);
});

test("a change of policy and a refresh need modes of their own, and everything else the manifest's", () => {
  const modes = { ...manifest.modes, policy: "unanimous" as const, refresh: "unanimous" as const };
  const strict = { ...inForceOf({ policy: policyHash(policy), modes }), policy };
  const next = (change: Partial<Manifest>): Change => ({
    type: "manifest",
    manifest: { ...strict.manifest, sequence: 1, previous: strict.manifestHash, ...change },
    policy: null,
  });
  assert.equal(changeQuorum(next({ policyVersion: 2 }), strict), 5);
  assert.equal(changeQuorum(next({ policyVersion: 2, requesters: [owner] }), strict), 4);
  assert.equal(changeQuorum({ type: "ban-lift", lift: liftOf() }, strict), 4);
  assert.equal(changeQuorum({ type: "refresh", refresh: refreshOf() }, strict), 5);
});

test("a commit yields a manifest that stands by itself", () => {
  const signatures = operatorSignaturesOf(commitOf(manifestChange), inForce);
  assert.ok(manifestChange.type === "manifest");
  verifySuccessor(manifest, { manifest: manifestChange.manifest, signatures });
  assert.equal(manifestChange.manifest.previous, manifestHash(manifest));
});
