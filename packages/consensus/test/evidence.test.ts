import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decodeCanonical,
  type ExecutionId,
  encodeCanonical,
  type HashHex,
  type NodeIndex,
  type PresignatureId,
  type SessionId,
  type SignatureHex,
  sha256Hex,
} from "@cairn/core";
import fc from "fast-check";
import {
  type Broadcast,
  type Detection,
  type DetectorState,
  detect,
  dissenters,
  type Evidence,
  emptyDetector,
  evidenceHash,
  evidenceSchema,
  type Intent,
  intentHash,
  judgeEvidence,
  MAX_BROADCASTS_PER_NODE,
  type Observation,
  type SignedBroadcast,
  type SignedPublicDataAcceptance,
  type SignedVote,
  signBroadcast,
  signPartial,
  signPublicDataAcceptance,
} from "../src/index.ts";
import { clusterOf, hash, intentOf, nodeOf, rejection, signerOf, voteOf } from "./cluster.ts";

const cluster = clusterOf();
const verifiers = {
  protocolVersions: [1],
  intentFault: (intent: Intent) =>
    Buffer.from(intent.psbt).toString() === "bad" ? ("psbt-invalid" as const) : null,
  partialValid: (partial: { partial: Uint8Array }) => Buffer.from(partial.partial).toString() === "right",
};
const context = { manifest: cluster.manifest, manifestHash: cluster.manifestHash, verifiers };
const judge = (evidence: Evidence) => judgeEvidence(evidence, cluster, verifiers);

const doubleVote = (a: SignedVote, b: SignedVote): Evidence => ({
  type: "DoubleVote",
  version: 1,
  votes: [a, b],
});
const session = hash("session") as SessionId;

function broadcastBy(from: number, digest: string, change: Partial<Broadcast> = {}): SignedBroadcast {
  const body: Broadcast = {
    version: 1,
    cluster: cluster.manifest.cluster,
    session,
    execution: hash("execution") as ExecutionId,
    round: 1,
    kind: "commitment",
    from: from as NodeIndex,
    digest: hash(digest) as HashHex,
    ...change,
  };
  return signBroadcast(body, nodeOf(cluster, from));
}

const equivocation = (a: SignedBroadcast, b: SignedBroadcast): Evidence => ({
  type: "Equivocation",
  version: 1,
  broadcasts: [a, b],
});

const presignature = hash("presignature") as PresignatureId;
const publicData = Buffer.from("public data");
const signers = [1, 2, 3, 4] as NodeIndex[];

function accept(node: number, data: Uint8Array = publicData, set = signers): SignedPublicDataAcceptance {
  return signPublicDataAcceptance(
    {
      version: 1,
      cluster: cluster.manifest.cluster,
      subject: presignature as string as HashHex,
      signers: set,
      publicData: sha256Hex(data) as HashHex,
      node: node as NodeIndex,
    },
    nodeOf(cluster, node),
  );
}

type InvalidPartial = Extract<Evidence, { type: "InvalidPartial" }>;

function invalidPartial(from: number, partial: string, change: Partial<InvalidPartial> = {}): InvalidPartial {
  const body = {
    version: 1 as const,
    cluster: cluster.manifest.cluster,
    session,
    execution: hash("execution") as ExecutionId,
    presignature,
    input: 0,
    sighash: hash("sighash") as HashHex,
    from: from as NodeIndex,
    partial: Buffer.from(partial),
  };
  return {
    type: "InvalidPartial",
    version: 1,
    partial: signPartial(body, nodeOf(cluster, from)),
    publicData,
    acceptances: signers.map((node) => accept(node)),
    ...change,
  };
}

const bad = intentOf(cluster, { psbt: Buffer.from("bad") });
const minority = (intent: Intent, voter = 5, change = {}): Evidence => ({
  type: "MinorityVote",
  version: 1,
  intent,
  vote: voteOf(cluster, voter, { intentHash: intentHash(intent), ...change }),
});

const proofs: Record<string, readonly [Evidence, number]> = {
  DoubleVote: [doubleVote(voteOf(cluster, 5), voteOf(cluster, 5, rejection("dust"))), 5],
  Equivocation: [equivocation(broadcastBy(4, "a"), broadcastBy(4, "b")), 4],
  MinorityVote: [minority(bad), 5],
  InvalidPartial: [invalidPartial(2, "wrong"), 2],
};

test("each proof convicts its author, offline, and survives its canonical form", () => {
  for (const [type, [evidence, node]] of Object.entries(proofs)) {
    assert.deepEqual(judge(evidence), { kind: "proven", type, node });
    const again = decodeCanonical(evidenceSchema, encodeCanonical(evidence));
    assert.deepEqual(judge(again), { kind: "proven", type, node });
    assert.equal(evidenceHash(again), evidenceHash(evidence));
  }
});

test("framing an honest node: what it signed in an honest run proves nothing", () => {
  const honest: Evidence[] = [
    doubleVote(voteOf(cluster, 1), voteOf(cluster, 1)),
    doubleVote(voteOf(cluster, 1), voteOf(cluster, 1, { round: 2, ...rejection("dust") })),
    doubleVote(
      voteOf(cluster, 1),
      voteOf(cluster, 1, { intentHash: hash("b") as never, ...rejection("dust") }),
    ),
    doubleVote(voteOf(cluster, 1), voteOf(cluster, 2, rejection("dust"))),
    equivocation(broadcastBy(1, "a"), broadcastBy(1, "a")),
    equivocation(broadcastBy(1, "a"), broadcastBy(1, "b", { round: 2 })),
    equivocation(broadcastBy(1, "a"), broadcastBy(1, "b", { execution: hash("next") as ExecutionId })),
    equivocation(broadcastBy(1, "a"), broadcastBy(1, "b", { kind: "echo" })),
    equivocation(broadcastBy(1, "a"), broadcastBy(2, "b")),
    minority(intentOf(cluster), 1),
    minority(bad, 1, rejection("psbt-invalid")),
    { type: "MinorityVote", version: 1, intent: bad, vote: voteOf(cluster, 1) },
    invalidPartial(1, "right"),
  ];
  for (const evidence of honest) assert.equal(judge(evidence).kind, "forged", JSON.stringify(evidence.type));
});

test("framing an honest node: mixed presignatures and public data that it never signed", () => {
  const other = Buffer.from("other public data");
  const frames: Partial<InvalidPartial>[] = [
    { publicData: other },
    { publicData: other, acceptances: signers.map((node) => (node === 2 ? accept(2) : accept(node, other))) },
    { acceptances: [1, 3, 4].map((node) => accept(node)) },
    { acceptances: [1, 3, 4].map((node) => accept(node, publicData, [1, 3, 4] as NodeIndex[])) },
    { acceptances: [1, 2, 3, 4].map((node) => accept(node, publicData, [1, 2, 3, 5] as NodeIndex[])) },
    {
      acceptances: signers.map((node) => {
        const signed = accept(node);
        return node === 2 ? { ...signed, signature: accept(3).signature } : signed;
      }),
    },
  ];
  for (const frame of frames) assert.equal(judge(invalidPartial(2, "wrong", frame)).kind, "forged");
});

test("framing an honest node: no forged or altered signature convicts anybody", () => {
  const thief = signerOf("thief");
  const forgedVote = voteOf(cluster, 1, rejection("dust"), thief);
  assert.equal(judge(doubleVote(voteOf(cluster, 1), forgedVote)).kind, "forged");
  const forgedBroadcast = { ...broadcastBy(1, "b"), signature: broadcastBy(1, "a").signature };
  assert.equal(judge(equivocation(broadcastBy(1, "a"), forgedBroadcast)).kind, "forged");
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(proofs)), fc.nat(), (type, position) => {
      const [evidence] = proofs[type] ?? assert.fail();
      const altered = flipSignature(evidence, position);
      assert.equal(judge(altered).kind, "forged");
    }),
    { numRuns: 60 },
  );
});

/** The evidence with one digit of one of its author's signatures changed. */
function flipSignature(evidence: Evidence, position: number): Evidence {
  const flip = (signature: SignatureHex): SignatureHex => {
    const at = position % signature.length;
    const digit = (Number.parseInt(signature.charAt(at), 16) ^ 1).toString(16);
    return (signature.slice(0, at) + digit + signature.slice(at + 1)) as SignatureHex;
  };
  switch (evidence.type) {
    case "DoubleVote":
      return {
        ...evidence,
        votes: [evidence.votes[0], { ...evidence.votes[1], signature: flip(evidence.votes[1].signature) }],
      };
    case "Equivocation": {
      const [a, b] = evidence.broadcasts;
      return { ...evidence, broadcasts: [{ ...a, signature: flip(a.signature) }, b] };
    }
    case "MinorityVote":
      return { ...evidence, vote: { ...evidence.vote, signature: flip(evidence.vote.signature) } };
    case "InvalidPartial":
      return { ...evidence, partial: { ...evidence.partial, signature: flip(evidence.partial.signature) } };
  }
}

test("what this node can't judge by accuses nobody", () => {
  const elsewhere = clusterOf({ change: { protocolVersions: [1, 2] } });
  const evidence: Evidence = {
    type: "MinorityVote",
    version: 1,
    intent: intentOf(elsewhere, { protocolVersion: 2, psbt: Buffer.from("bad") }),
    vote: voteOf(elsewhere, 5, {
      intentHash: intentHash(intentOf(elsewhere, { protocolVersion: 2, psbt: Buffer.from("bad") })),
    }),
  };
  assert.equal(judgeEvidence(evidence, elsewhere, verifiers).kind, "unjudgeable");
  const older = voteOf(cluster, 5, { manifestHash: hash("older") as never });
  assert.equal(judge(doubleVote(older, voteOf(cluster, 5, rejection("dust")))).kind, "unjudgeable");
  const blind = { ...verifiers, partialValid: () => null };
  assert.equal(judgeEvidence(invalidPartial(2, "wrong"), cluster, blind).kind, "unjudgeable");
});

function observe(observation: Observation, state: DetectorState = emptyDetector): Detection {
  return detect(state, observation, context);
}

test("forged evidence counts against the peer that handed it in, at this node alone", () => {
  const forged = doubleVote(voteOf(cluster, 1), voteOf(cluster, 1, rejection("dust"), signerOf("thief")));
  const { violations } = observe({ kind: "evidence", from: 3 as NodeIndex, evidence: forged });
  assert.deepEqual(
    violations.map(({ type, node, scope, evidence }) => ({ type, node, scope, evidence })),
    [{ type: "InvalidSignature", node: 3, scope: "local", evidence: null }],
  );
});

test("proven evidence of a peer's accuses its author, whoever handed it in", () => {
  for (const [type, [evidence, node]] of Object.entries(proofs)) {
    const [violation] = observe({ kind: "evidence", from: 3 as NodeIndex, evidence }).violations;
    assert.deepEqual([violation?.type, violation?.node, violation?.scope], [type, node, "cluster"]);
  }
});

test("equivocation is found among broadcasts, also in another node's echo", () => {
  const first = observe({ kind: "broadcast", from: 4 as NodeIndex, broadcast: broadcastBy(4, "a") });
  assert.deepEqual(first.violations, []);
  const same = observe(
    { kind: "broadcast", from: 2 as NodeIndex, broadcast: broadcastBy(4, "a") },
    first.state,
  );
  assert.deepEqual(same.violations, []);
  const echo = observe(
    { kind: "broadcast", from: 2 as NodeIndex, broadcast: broadcastBy(4, "b") },
    first.state,
  );
  const [violation] = echo.violations;
  assert.ok(violation?.evidence);
  assert.equal(violation.node, 4);
  assert.equal(judge(violation.evidence).kind, "proven");
  const forged = { ...broadcastBy(4, "b"), signature: broadcastBy(3, "b").signature };
  const blamed = observe({ kind: "broadcast", from: 2 as NodeIndex, broadcast: forged }, first.state);
  assert.deepEqual(
    blamed.violations.map(({ type, node }) => [type, node]),
    [["InvalidSignature", 2]],
  );
});

test("a flood of broadcasts pushes out its own sender's only", () => {
  let state = observe({ kind: "broadcast", from: 1 as NodeIndex, broadcast: broadcastBy(1, "a") }).state;
  for (let at = 0; at <= MAX_BROADCASTS_PER_NODE; at += 1) {
    const broadcast = broadcastBy(4, "a", { kind: `${at}` });
    state = observe({ kind: "broadcast", from: 4 as NodeIndex, broadcast }, state).state;
  }
  assert.equal(state.broadcasts.get(4 as NodeIndex)?.size, MAX_BROADCASTS_PER_NODE);
  const { violations } = observe(
    { kind: "broadcast", from: 1 as NodeIndex, broadcast: broadcastBy(1, "b") },
    state,
  );
  assert.equal(violations[0]?.type, "Equivocation");
});

test("only approvals of an invalid intent are minority votes; dissent by itself is recorded, not punished", () => {
  const votes = [1, 2, 3].map((voter) =>
    voteOf(cluster, voter, { intentHash: intentHash(bad), ...rejection("psbt-invalid") }),
  );
  votes.push(voteOf(cluster, 5, { intentHash: intentHash(bad) }));
  const found = observe({ kind: "invalid-intent", intent: bad, votes }).violations;
  assert.deepEqual(
    found.map(({ type, node }) => [type, node]),
    [["MinorityVote", 5]],
  );
  const good = [voteOf(cluster, 1), voteOf(cluster, 2, rejection("policy-denied"))];
  assert.deepEqual(
    observe({ kind: "invalid-intent", intent: intentOf(cluster), votes: good }).violations,
    [],
  );
  assert.deepEqual(dissenters(good, true), [2]);
  assert.deepEqual(dissenters(votes, false), [5]);
});

test("faults in private messages, timeouts and rollbacks never leave this node", () => {
  const from = 4 as NodeIndex;
  const observations: Observation[] = [
    { kind: "invalid-signature", from, subject: session },
    { kind: "invalid-round-message", from, session },
    { kind: "invalid-partial", from, session, evidence: null },
    { kind: "invalid-partial", from, session, evidence: invalidPartial(2, "wrong") },
    { kind: "rollback", from },
    { kind: "timeout", from, session },
  ];
  for (const observation of observations) {
    const [violation] = observe(observation).violations;
    assert.deepEqual([violation?.node, violation?.scope, violation?.evidence], [4, "local", null]);
  }
  const proven = observe({
    kind: "invalid-partial",
    from: 2 as NodeIndex,
    session,
    evidence: invalidPartial(2, "wrong"),
  });
  assert.equal(proven.violations[0]?.scope, "cluster");
});
