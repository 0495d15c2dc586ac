import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decodeCanonical,
  type ExecutionId,
  encodeCanonical,
  type FenceAnswer,
  fenceAnswerHash,
  type HashHex,
  type NodeIndex,
  type Nonce,
  type PresignatureId,
  type SessionId,
  type SignedFenceAnswer,
  type SignedWalletRecord,
  sha256Hex,
  signFenceAnswer,
  type UnixMs,
  type WalletRecord,
  walletIdOf,
} from "@cairn/core";
import { alterations, refuses } from "@cairn/core/test-support";
import fc from "fast-check";
import {
  type Accusation,
  type Broadcast,
  type Evidence,
  evidenceSchema,
  type Intent,
  intentHash,
  judgeEvidence,
  MAX_PUBLIC_DATA_BYTES,
  offenceOf,
  type PartialSignature,
  type SignedBroadcast,
  type SignedPublicDataAcceptance,
  type SignedVote,
  signAccusation,
  signBroadcast,
  signPartial,
  signPublicDataAcceptance,
} from "../src/index.ts";
import { clusterOf, hash, intentOf, NOW, nodeOf, rejection, requestOf, signerOf, voteOf } from "./cluster.ts";
import { ecdsaPresignature } from "./ecdsa-presignature.ts";

const cluster = clusterOf();
const { manifestHash } = cluster;
/** The PSBT rules of these tests: a PSBT that says "bad" has a fault. */
const verifiers = {
  protocolVersions: [1],
  intentFault: (intent: Intent) =>
    Buffer.from(intent.psbt).toString() === "bad" ? ("psbt-invalid" as const) : null,
};
const judge = (evidence: Evidence) => judgeEvidence(evidence, cluster, verifiers);
type Of<Type extends Evidence["type"]> = Extract<Evidence, { type: Type }>;

const doubleVote = (a: SignedVote, b: SignedVote): Of<"DoubleVote"> => ({
  type: "DoubleVote",
  version: 1,
  manifestHash,
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
    kind: "0",
    from: from as NodeIndex,
    digest: hash(digest) as HashHex,
    ...change,
  };
  return signBroadcast(body, nodeOf(cluster, from));
}

const equivocation = (a: SignedBroadcast, b: SignedBroadcast): Of<"Equivocation"> => ({
  type: "Equivocation",
  version: 1,
  manifestHash,
  broadcasts: [a, b],
});

const signers = [1, 2, 3, 4] as NodeIndex[];
const sighash = hash("sighash") as HashHex;
const presignature = ecdsaPresignature("presignature", signers);
const subject = hash("presignature") as HashHex;

function accept(
  node: number,
  change: Partial<SignedPublicDataAcceptance["body"]> = {},
  by = node,
): SignedPublicDataAcceptance {
  const body = {
    version: 1 as const,
    cluster: cluster.manifest.cluster,
    subject,
    signers,
    publicData: sha256Hex(presignature.publicData) as HashHex,
    node: node as NodeIndex,
    ...change,
  };
  return signPublicDataAcceptance(body, nodeOf(cluster, by));
}

function partialBy(from: number, change: Partial<PartialSignature> = {}) {
  const body: PartialSignature = {
    version: 1,
    cluster: cluster.manifest.cluster,
    session,
    execution: hash("execution") as ExecutionId,
    presignature: subject as string as PresignatureId,
    input: 0,
    sighash,
    from: from as NodeIndex,
    partial: presignature.partial(from as NodeIndex, sighash),
    ...change,
  };
  return signPartial(body, nodeOf(cluster, from));
}

const wrongPartial = (from: number) =>
  partialBy(from, { partial: presignature.partial(from as NodeIndex, hash("another") as HashHex) });

function invalidPartial(from: number, change: Partial<Of<"InvalidPartial">> = {}): Of<"InvalidPartial"> {
  return {
    type: "InvalidPartial",
    version: 1,
    manifestHash,
    partial: wrongPartial(from),
    publicData: presignature.publicData,
    acceptance: accept(from),
    ...change,
  };
}

const record: WalletRecord = {
  version: 1,
  cluster: cluster.manifest.cluster,
  wallet: walletIdOf("descriptor"),
  label: "savings",
  network: cluster.manifest.network,
  descriptor: "descriptor",
  keyId: hash("key") as WalletRecord["keyId"],
  protocol: "frost",
  publicPackage: hash("package") as HashHex,
  birthday: 1 as UnixMs,
};

function walletOf(change: Partial<WalletRecord> = {}): SignedWalletRecord {
  const signed = { ...record, ...change };
  return {
    record: signed,
    signatures: cluster.nodes.map((node, at) => ({
      node: (at + 1) as NodeIndex,
      signature: node.sign("cairn/wallet-record/v1", signed),
    })),
  };
}

const request = requestOf(cluster, { wallet: record.wallet });
const sound = intentOf(cluster, {}, request);
const bad = intentOf(cluster, { psbt: Buffer.from("bad") }, request);
/** The request's signature is nobody's, which shows without any wallet. */
const unsigned = intentOf(cluster, {
  request: { body: request, signature: nodeOf(cluster, 5).sign("cairn/spend-request/v1", request) },
  wallet: record.wallet,
});

const minority = (
  intent: Intent,
  voter = 5,
  { change = {}, wallet = walletOf() }: { change?: object; wallet?: SignedWalletRecord | null } = {},
): Of<"MinorityVote"> => ({
  type: "MinorityVote",
  version: 1,
  manifestHash,
  intent,
  wallet,
  vote: voteOf(cluster, voter, { intentHash: intentHash(intent), ...change }),
});

const invented = doubleVote(voteOf(cluster, 1), voteOf(cluster, 1, rejection("dust"), signerOf("thief")));

function accusation(accuser: number, evidence: Evidence, change: Partial<Accusation> = {}) {
  const { cluster: id } = cluster.manifest;
  const body: Accusation = {
    version: 1,
    cluster: id,
    accuser: accuser as NodeIndex,
    evidence,
    ...change,
  };
  return signAccusation(body, nodeOf(cluster, accuser));
}

const falseAccusation = (accuser: number, evidence: Evidence): Evidence =>
  decodeCanonical(
    evidenceSchema,
    encodeCanonical({
      type: "FalseAccusation",
      version: 1,
      manifestHash,
      accusation: accusation(accuser, evidence),
    }),
  );

/** A word of node `by` on how far it is, to whoever asked, after it was shown `remembered`. */
function fenceAnswer(
  by: number,
  change: Partial<FenceAnswer> = {},
  remembered: SignedFenceAnswer | null = null,
): SignedFenceAnswer {
  const body: FenceAnswer = {
    version: 1,
    cluster: cluster.manifest.cluster,
    node: by as NodeIndex,
    challenger: 1 as NodeIndex,
    nonce: hash("nonce") as Nonce,
    position: { epoch: 0, burnCounter: 4, auditLength: 9 },
    auditHead: hash("head 9") as HashHex,
    continues: null,
    remembered: remembered === null ? null : fenceAnswerHash(remembered.body),
    answeredAt: NOW,
    ...change,
  };
  return signFenceAnswer(body, nodeOf(cluster, by));
}

const rollback = (earlier: SignedFenceAnswer, later: SignedFenceAnswer): Of<"Rollback"> => ({
  type: "Rollback",
  version: 1,
  manifestHash,
  answers: [earlier, later],
});

/** What a node signs that was set back after `answer`, when it is shown that. */
const setBack = (by: number, answer: SignedFenceAnswer, change: Partial<FenceAnswer> = {}) =>
  fenceAnswer(
    by,
    {
      position: { epoch: 0, burnCounter: 3, auditLength: 5 },
      auditHead: hash("head 5") as HashHex,
      continues: { auditLength: 9, auditHead: null },
      ...change,
    },
    answer,
  );

const proofs: Record<string, readonly [Evidence, number]> = {
  DoubleVote: [doubleVote(voteOf(cluster, 5), voteOf(cluster, 5, rejection("dust"))), 5],
  Equivocation: [equivocation(broadcastBy(4, "a"), broadcastBy(4, "b")), 4],
  MinorityVote: [minority(bad), 5],
  "MinorityVote without a wallet": [minority(unsigned, 5, { wallet: null }), 5],
  InvalidPartial: [invalidPartial(2), 2],
  Rollback: [rollback(fenceAnswer(2), setBack(2, fenceAnswer(2))), 2],
  "Rollback to another history": [
    rollback(fenceAnswer(2), fenceAnswer(2, { auditHead: hash("another 9") as HashHex })),
    2,
  ],
  FalseAccusation: [falseAccusation(3, invented), 3],
};

for (const [name, [evidence, node]] of Object.entries(proofs)) {
  const proven = { kind: "proven", type: evidence.type, node };

  test(`${name}: convicts its author, offline, and survives its canonical form`, () => {
    assert.deepEqual(judge(evidence), proven);
    assert.equal(offenceOf(evidence).node, node);
    const again = decodeCanonical(evidenceSchema, encodeCanonical(evidence));
    assert.deepEqual(judge(again), proven);
    assert.deepEqual(offenceOf(again), offenceOf(evidence));
  });

  test(`${name}: no altered field convicts anybody`, () => {
    const altered = alterations(evidence);
    assert.ok(altered.length > 10);
    for (const { path, altered: other } of altered) {
      const verdict = () => judge(decodeCanonical(evidenceSchema, encodeCanonical(other))).kind;
      if (evidenceSchema.safeParse(other).success) assert.notEqual(verdict(), "proven", path);
      else refuses("malformed", verdict, path);
    }
  });

  test(`${name}: what honest nodes hold in another cluster, or under another manifest, accuses nobody here`, () => {
    const elsewhere = clusterOf({ change: { nonce: hash("elsewhere") as never } });
    const successor = clusterOf({ change: { sequence: 1, previous: manifestHash } });
    for (const rules of [elsewhere, successor])
      assert.equal(judgeEvidence(evidence, rules, verifiers).kind, "unjudgeable");
    const relabelled = { ...evidence, manifestHash: elsewhere.manifestHash };
    assert.equal(judgeEvidence(relabelled, elsewhere, verifiers).kind, "forged");
  });
}

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
    equivocation(broadcastBy(1, "a"), broadcastBy(1, "b", { kind: "1" })),
    equivocation(broadcastBy(1, "a"), broadcastBy(2, "b")),
    minority(sound, 1),
    minority(sound, 1, { wallet: null }),
    minority(bad, 1, { change: rejection("psbt-invalid") }),
    { ...minority(bad, 1), vote: voteOf(cluster, 1, { intentHash: intentHash(sound) }) },
    invalidPartial(1, { partial: partialBy(1) }),
    falseAccusation(1, proofs.DoubleVote?.[0] ?? assert.fail()),
  ];
  for (const evidence of honest) assert.equal(judge(evidence).kind, "forged", evidence.type);
});

test("framing an honest node: no answers that it gave prove that it was set back, in whatever order, whatever its clock said", () => {
  const at = (time: number) => time as UnixMs;
  // Its clock was ahead when it was less far: by their times alone the answers would look like a rollback.
  const first = fenceAnswer(2, {
    position: { epoch: 0, burnCounter: 3, auditLength: 5 },
    auditHead: hash("head 5") as HashHex,
    answeredAt: at(NOW + 3_600_000),
  });
  const second = fenceAnswer(
    2,
    { continues: { auditLength: 5, auditHead: hash("head 5") as HashHex } },
    first,
  );
  const asked = fenceAnswer(2, { nonce: hash("of another challenger") as Nonce, challenger: 3 as NodeIndex });
  const restored = fenceAnswer(
    2,
    { position: { epoch: 1, burnCounter: 0, auditLength: 2 }, auditHead: hash("restored") as HashHex },
    second,
  );
  const others = setBack(2, fenceAnswer(2)).body;
  const thief = signerOf("thief");
  const frames: Evidence[] = [
    ...[first, second, asked, restored].flatMap((a, _, all) => all.map((b) => rollback(a, b))),
    // What it signed of an earlier answer, shown beside a later one.
    rollback(second, fenceAnswer(2, { ...first.body, remembered: hash("an answer before") as HashHex })),
    // What a challenger only says that it was shown.
    rollback(fenceAnswer(2), { body: others, signature: thief.sign("cairn/fence/v1", others) }),
    rollback(fenceAnswer(3), setBack(2, fenceAnswer(3))),
    rollback(fenceAnswer(2), setBack(3, fenceAnswer(2))),
  ];
  for (const [position, frame] of frames.entries())
    assert.equal(judge(frame).kind, "forged", `frame ${position}`);
  assert.deepEqual(judge(falseAccusation(3, rollback(second, first))), {
    kind: "proven",
    type: "FalseAccusation",
    node: 3,
  });
});

test("framing an honest node: a wallet's descriptor that not all nodes signed proves nothing", () => {
  const foreign = walletOf({ descriptor: "other", wallet: walletIdOf("other") });
  const wallets: (SignedWalletRecord | null)[] = [
    null,
    foreign,
    walletOf({ network: "mainnet" }),
    { ...walletOf(), record: { ...record, descriptor: "other" } },
    { ...walletOf(), signatures: walletOf().signatures.slice(1) },
    { ...walletOf(), signatures: foreign.signatures },
  ];
  for (const wallet of wallets) assert.equal(judge(minority(bad, 1, { wallet })).kind, "forged");
});

test("framing an honest node: mixed presignatures and public data that it never signed", () => {
  const other = ecdsaPresignature("other", signers);
  const otherHash = sha256Hex(other.publicData) as HashHex;
  const frames: Partial<Of<"InvalidPartial">>[] = [
    { publicData: other.publicData },
    { publicData: other.publicData, acceptance: accept(2, { publicData: otherHash }) },
    { publicData: other.publicData, acceptance: accept(2, { publicData: otherHash }, 3) },
    { acceptance: accept(3) },
    { acceptance: accept(2, { node: 3 as NodeIndex }) },
    { acceptance: accept(2, { subject: hash("other") as HashHex }) },
    { acceptance: accept(2, { signers: [1, 2, 3] as NodeIndex[] }) },
    { acceptance: { ...accept(2), signature: accept(3).signature } },
    { partial: partialBy(2, { presignature: hash("other") as PresignatureId }) },
    { partial: partialBy(2, { presignature: null }) },
    {
      publicData: Uint8Array.of(1),
      acceptance: accept(2, { publicData: sha256Hex(Uint8Array.of(1)) as HashHex }),
    },
  ];
  for (const [at, frame] of frames.entries())
    assert.equal(judge(invalidPartial(2, frame)).kind, "forged", `frame ${at}`);
  // A node outside of the set has no commitment to fail against.
  const outside = { partial: partialBy(5, { partial: Uint8Array.of(1) }), acceptance: accept(5) };
  assert.equal(judge(invalidPartial(2, outside)).kind, "forged");
});

test("framing an honest node: no forged or altered signature convicts anybody", () => {
  const thief = signerOf("thief");
  assert.equal(judge(invented).kind, "forged");
  const forgedBroadcast = { ...broadcastBy(1, "b"), signature: broadcastBy(1, "a").signature };
  assert.equal(judge(equivocation(broadcastBy(1, "a"), forgedBroadcast)).kind, "forged");
  const { body } = accusation(1, invented);
  const inTheName = { body, signature: thief.sign("cairn/accusation/v1", body) };
  const { accusation: _, ...rest } = falseAccusation(1, invented) as Of<"FalseAccusation">;
  assert.equal(judge({ ...rest, accusation: inTheName } as Evidence).kind, "forged");
});

test("one offence has one id, whatever words prove it; another offence has another", () => {
  const [a, b, c] = ["dust", "psbt-invalid", "expired"].map((code) => voteOf(cluster, 5, rejection(code)));
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  const same: Evidence[][] = [
    [doubleVote(a, b), doubleVote(b, a), doubleVote(a, c), doubleVote(voteOf(cluster, 5), c)],
    [
      equivocation(broadcastBy(4, "a"), broadcastBy(4, "b")),
      equivocation(broadcastBy(4, "c"), broadcastBy(4, "a")),
    ],
    [minority(bad), minority(bad, 5, { wallet: null }), minority(bad, 5, { change: { round: 2 } })],
    [invalidPartial(2), invalidPartial(2, { partial: partialBy(2, { partial: Uint8Array.of(1) }) })],
    [
      rollback(fenceAnswer(2), setBack(2, fenceAnswer(2))),
      rollback(fenceAnswer(2), setBack(2, fenceAnswer(2), { nonce: hash("asked again") as Nonce })),
    ],
    [falseAccusation(3, doubleVote(a, a)), falseAccusation(3, doubleVote(b, b))],
    [doubleVote(voteOf(cluster, 5, { round: 2 }), voteOf(cluster, 5, { round: 2, ...rejection("dust") }))],
    [equivocation(broadcastBy(4, "a", { round: 2 }), broadcastBy(4, "b", { round: 2 }))],
    [minority(unsigned)],
    [invalidPartial(3)],
    [rollback(fenceAnswer(3), setBack(3, fenceAnswer(3)))],
    [falseAccusation(4, doubleVote(a, a))],
  ];
  const ids = same.map((group) => new Set(group.map((evidence) => offenceOf(evidence).id)));
  for (const [at, group] of ids.entries()) assert.equal(group.size, 1, `group ${at}`);
  assert.equal(new Set(ids.flatMap((group) => [...group])).size, same.length);
});

test("what this node can't judge by accuses nobody, neither the accused nor the accuser", () => {
  const elsewhere = clusterOf({ change: { protocolVersions: [1, 2] } });
  const asked = requestOf(elsewhere, { wallet: record.wallet });
  const intent = intentOf(elsewhere, { protocolVersion: 2, psbt: Buffer.from("bad") }, asked);
  const evidence: Evidence = {
    type: "MinorityVote",
    version: 1,
    manifestHash: elsewhere.manifestHash,
    intent,
    wallet: {
      record: { ...record, cluster: elsewhere.manifest.cluster },
      signatures: elsewhere.nodes.map((node, at) => ({
        node: (at + 1) as NodeIndex,
        signature: node.sign("cairn/wallet-record/v1", { ...record, cluster: elsewhere.manifest.cluster }),
      })),
    },
    vote: voteOf(elsewhere, 5, { intentHash: intentHash(intent) }),
  };
  const later = { ...verifiers, protocolVersions: [1, 2] };
  assert.equal(judgeEvidence(evidence, elsewhere, verifiers).kind, "unjudgeable");
  assert.equal(judgeEvidence(evidence, elsewhere, later).kind, "proven");
  const accused = falseAccusation(3, { ...evidence, manifestHash: hash("older") as never });
  assert.equal(judge(accused).kind, "unjudgeable");
});

test("evidence is bounded: longer public data, a third vote and nested accusations are no evidence", () => {
  const decode = (value: unknown) => decodeCanonical(evidenceSchema, encodeCanonical(value));
  const long = new Uint8Array(MAX_PUBLIC_DATA_BYTES + 1);
  refuses("malformed", () => decode(invalidPartial(2, { publicData: long })));
  const vote = voteOf(cluster, 5);
  refuses("malformed", () => decode({ ...doubleVote(vote, vote), votes: [vote, vote, vote] }));
  const nested = { ...falseAccusation(3, invented), accusation: accusation(3, falseAccusation(3, invented)) };
  refuses("malformed", () => decode(nested));
});

test("random choices of true words never convict a node that signed one vote a round and one broadcast a slot", () => {
  const votes = [1, 2].flatMap((voter) =>
    [1, 2].flatMap((round) =>
      ["x", "y"].map((intent) => voteOf(cluster, voter, { round, intentHash: hash(intent) as never })),
    ),
  );
  const words = [1, 2].flatMap((from) =>
    [1, 2].flatMap((round) =>
      ["0", "1"].map((kind) => broadcastBy(from, `${from}${round}${kind}`, { round, kind })),
    ),
  );
  const pick = <T>(all: readonly T[]) => fc.tuple(fc.constantFrom(...all), fc.constantFrom(...all));
  fc.assert(
    fc.property(pick(votes), pick(words), ([a, b], [c, d]) => {
      assert.equal(judge(doubleVote(a, b)).kind, "forged");
      assert.equal(judge(equivocation(c, d)).kind, "forged");
    }),
    { numRuns: 50 },
  );
});
