import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, test } from "node:test";
import type { CallOutput } from "@cairn/client";
import {
  type Change,
  type ChangeCommit,
  type Constitution,
  changeProposalHash,
  decodeCanonical,
  Ed25519Signer,
  encodeCanonical,
  formChangeCommit,
  keygenRequestHash,
  keygenRequestSchema,
  manifestHash,
  type NodeIndex,
  type Policy,
  parseShape,
  policyHash,
  type SignedChangeProposal,
  type SignedKeygenRequest,
  satsSchema,
  signatureHexSchema,
  signBody,
  signChange,
  signChangeProposal,
  signChangeVote,
  signedChangeProposalSchema,
  signedKeygenRequestSchema,
  type UnixMs,
  verifyChangeProposal,
  verifyChangeVote,
  verifySigned,
} from "@cairn/core";
import { z } from "zod";
import { changeLines } from "../../src/change-text.ts";
import { policyFromJson, policyToJson } from "../../src/policy-json.ts";
import { type Bench, createBench, temporaryFolder } from "../bench.ts";
import { manifestView, statusView } from "../fake-node.ts";

type Proposal = CallOutput<"getProposal">;

let bench: Bench;
let inForce: Constitution;
beforeEach(async () => {
  bench = await createBench({ perTransactionMaxSats: 10_000n });
  const { signedManifest, policy } = bench.cluster;
  inForce = { manifest: signedManifest.manifest, manifestHash: bench.cluster.manifestHash, policy };
  bench.node.answers.getHistory = () => historyOf([]);
  bench.node.answers.getClusterStatus = () => statusView(bench.cluster, 1);
});

const base64 = (structure: unknown) => Buffer.from(encodeCanonical(structure)).toString("base64");
const historyOf = (commits: readonly ChangeCommit[]) => ({
  genesis: base64(bench.cluster.signedManifest),
  policy: base64(bench.cluster.policy),
  commits: commits.map(base64),
});
function viewOf(signed: SignedChangeProposal): Proposal {
  const { body } = signed;
  return {
    proposal: changeProposalHash(body),
    type: body.change.type,
    state: "open",
    mode: "bft",
    manifestHash: body.manifestHash,
    operator: body.operator,
    createdAt: new Date(body.createdAt).toISOString(),
    expiry: new Date(body.expiry).toISOString(),
    firstSeenAt: new Date(body.createdAt).toISOString(),
    effectiveAt: null,
    needed: 4,
    votes: [],
    body: base64(signed),
  };
}

async function signerIn(path: string): Promise<Ed25519Signer> {
  return Ed25519Signer.fromPem(await readFile(path));
}
const operator = (index: number) => signerIn(bench.cluster.operatorKeys[index - 1] ?? "");

function looser(limit: bigint): Change {
  const { manifest, policy } = inForce;
  const now = Date.now() as UnixMs;
  const next: Policy = {
    ...policy,
    policyVersion: policy.policyVersion + 1,
    perTransactionMaxSats: satsSchema.parse(limit),
  };
  return {
    type: "manifest",
    manifest: {
      ...manifest,
      sequence: 1,
      previous: inForce.manifestHash,
      createdAt: now,
      effectiveAt: (now + manifest.changeDelayMs) as UnixMs,
      policy: policyHash(next),
      policyVersion: next.policyVersion,
    },
    policy: next,
  };
}

async function proposalOf(change: Change): Promise<SignedChangeProposal> {
  const signer = await operator(2);
  const now = Date.now() as UnixMs;
  return signChangeProposal(
    {
      version: 1,
      cluster: inForce.manifest.cluster,
      manifestHash: inForce.manifestHash,
      change,
      createdAt: now,
      expiry: (now + 60_000) as UnixMs,
      operator: signer.publicKey,
    },
    signer,
  );
}

async function commitOf(change: Change): Promise<ChangeCommit> {
  const proposal = await proposalOf(change);
  const votes = await Promise.all(
    [1, 2, 3, 4].map(async (index) =>
      signChangeVote(
        {
          version: 1,
          cluster: inForce.manifest.cluster,
          manifestHash: inForce.manifestHash,
          proposal: changeProposalHash(proposal.body),
          node: index as NodeIndex,
          approve: true,
          reason: null,
          operatorSignature: signChange(change, await operator(index)),
        },
        await signerIn(join(bench.cluster.nodes[index - 1]?.dir ?? "", "identity.pem")),
      ),
    ),
  );
  const commit = formChangeCommit(proposal, votes, inForce);
  assert.ok(commit !== null);
  return commit;
}

test("proposal create policy shows what changes, signs it for all nodes, and has the operator's own node approve exactly that", async () => {
  let proposed: SignedChangeProposal | null = null;
  bench.node.answers.createProposal = ({ body }) => {
    const { proposal } = z.object({ proposal: z.string() }).parse(body);
    proposed = decodeCanonical(signedChangeProposalSchema, Buffer.from(proposal, "base64"));
    return viewOf(proposed);
  };
  let signature = "";
  bench.node.answers.signProposal = ({ body }) => {
    signature = z.object({ signature: z.string() }).parse(body).signature;
    assert.ok(proposed !== null);
    return viewOf(proposed);
  };
  const ran = await bench.cairn("proposal", "create", "policy", "--max-per-transaction", "5000");
  assert.equal(ran.exit, 0, ran.stderr);
  assert.match(ran.stderr, /policy\.perTransactionMaxSats: 10000 → 5000/);
  assert.match(ran.stderr, /kind: tightens/);
  assert.match(ran.stderr, /needs: 4 of 5 operators/);
  const signed: SignedChangeProposal = proposed ?? assert.fail("nothing was proposed");
  verifyChangeProposal(signed, inForce);
  const { change } = signed.body;
  assert.ok(change.type === "manifest" && change.policy?.perTransactionMaxSats === 5_000n);
  const vote = signChangeVote(
    {
      version: 1,
      cluster: inForce.manifest.cluster,
      manifestHash: inForce.manifestHash,
      proposal: changeProposalHash(signed.body),
      node: 1 as NodeIndex,
      approve: true,
      reason: null,
      operatorSignature: signatureHexSchema.parse(signature),
    },
    await signerIn(join(bench.cluster.nodes[0]?.dir ?? "", "identity.pem")),
  );
  verifyChangeVote(vote, signed.body, inForce);
});

test("proposal create refuses here what nodes cannot change, and sends nothing", async () => {
  const file = join(await temporaryFolder(), "manifest.json");
  await writeFile(file, JSON.stringify({ ...inForce.manifest, threshold: 3 }));
  const ran = await bench.cairn("--json", "proposal", "create", "manifest", file);
  assert.equal(JSON.parse(ran.stderr).code, "unsupported-version");
  assert.equal(bench.node.called("createProposal").length, 0);
});

test("proposal sign signs nothing where the node shows another change under the id, or the operator says no", async () => {
  const honest = viewOf(await proposalOf(looser(20_000n)));
  const other = viewOf(await proposalOf(looser(2_000_000n)));
  bench.node.answers.getProposal = () => ({ ...honest, body: other.body });
  const ran = await bench.cairn("--json", "proposal", "sign", honest.proposal, "--yes");
  assert.equal(JSON.parse(ran.stderr).code, "peer-disagrees");
  assert.equal(bench.node.called("signProposal").length, 0);
});

test("proposal sign goes to the operator's own node alone", async () => {
  const view = viewOf(await proposalOf(looser(20_000n)));
  bench.node.answers.getProposal = () => view;
  bench.node.answers.getClusterStatus = () => statusView(bench.cluster, 3);
  const ran = await bench.cairn("--json", "proposal", "sign", view.proposal);
  assert.equal(JSON.parse(ran.stderr).code, "not-member");
  assert.equal(bench.node.called("signProposal").length, 0);
});

test("what follows from the pinned manifest is believed, and what does not is not", async () => {
  const change = looser(20_000n);
  const commit = await commitOf(change);
  assert.ok(change.type === "manifest");
  const served = manifestView({ manifest: change.manifest, signatures: [] }, manifestHash(change.manifest));
  bench.node.answers.getManifest = () => served;
  bench.node.answers.getHistory = () => historyOf([commit]);
  const believed = await bench.cairn("--json", "cluster", "manifest");
  assert.equal(believed.exit, 0, believed.stderr);
  assert.equal(JSON.parse(believed.stdout).manifest.sequence, 1);
  const shown = await bench.cairn("--json", "policy", "show");
  assert.equal(JSON.parse(shown.stdout).perTransactionMaxSats, "20000");

  for (const forged of [[], [{ ...commit, votes: commit.votes.slice(1) }]]) {
    bench.node.answers.getHistory = () => historyOf(forged);
    const refused = await bench.cairn("--json", "cluster", "manifest");
    assert.equal(JSON.parse(refused.stderr).code, "peer-disagrees");
  }
});

async function keygenView(change: Partial<Proposal> = {}): Promise<Proposal> {
  const request = signedKeygen(await operator(2));
  const { body } = request;
  return {
    proposal: keygenRequestHash(body),
    type: "keygen",
    state: "rejected",
    mode: "bft",
    manifestHash: body.manifest,
    operator: body.operator,
    createdAt: new Date(body.createdAt).toISOString(),
    expiry: new Date(body.expiry).toISOString(),
    firstSeenAt: new Date(body.createdAt).toISOString(),
    effectiveAt: null,
    needed: 5,
    votes: [
      { node: 1, approve: true, reason: null },
      { node: 2, approve: false, reason: "operator-refused" },
    ],
    body: base64(request),
    ...change,
  };
}

function signedKeygen(signer: Ed25519Signer): SignedKeygenRequest {
  const now = Date.now();
  const body = parseShape(keygenRequestSchema, {
    version: 1,
    cluster: inForce.manifest.cluster,
    manifest: inForce.manifestHash,
    protocol: "frost",
    threshold: 4,
    total: 5,
    label: "savings",
    nonce: "ab".repeat(32),
    createdAt: now,
    expiry: now + 60_000,
    operator: signer.publicKey,
  });
  return signBody("cairn/keygen-request/v1", body, signer);
}

test("a key's request is shown with every node's word, can be refused, and takes no operator's signature", async () => {
  const view = await keygenView();
  bench.node.answers.getProposal = () => view;
  bench.node.answers.refuseProposal = () => view;
  const shown = await bench.cairn("proposal", "show", view.proposal);
  assert.equal(shown.exit, 0, shown.stderr);
  assert.match(shown.stdout, /type +keygen/);
  assert.match(shown.stdout, /key +frost, 4 of 5/);
  assert.match(shown.stdout, /approved +1 of 5 nodes/);
  assert.match(shown.stdout, /2 +refuses +operator-refused/);
  const refused = await bench.cairn("--json", "proposal", "refuse", view.proposal);
  assert.equal(JSON.parse(refused.stdout).state, "rejected");
  const signed = await bench.cairn("--json", "proposal", "sign", view.proposal);
  assert.equal(JSON.parse(signed.stderr).code, "wrong-state");
  assert.equal(bench.node.called("signProposal").length, 0);
  bench.node.answers.listProposals = () => ({ proposals: [view] });
  const list = await bench.cairn("proposal", "list", "--state", "failed");
  assert.match(list.stdout, new RegExp(`${view.proposal.slice(0, 16)} +keygen +rejected +bft +1/5 +1`));
});

test("a node that shows another key under a request's id is not believed", async () => {
  const view = await keygenView({ proposal: "ab".repeat(32) });
  bench.node.answers.getProposal = () => view;
  const shown = await bench.cairn("--json", "proposal", "show", view.proposal);
  assert.equal(JSON.parse(shown.stderr).code, "peer-disagrees");
});

test("proposal create keygen signs and sends the same request as dkg start", async () => {
  const taken: SignedKeygenRequest[] = [];
  bench.node.answers.createKey = ({ body }) => {
    const signed = parseShape(signedKeygenRequestSchema, body);
    taken.push(signed);
    return {
      keyId: keygenRequestHash(signed.body),
      protocol: signed.body.protocol,
      purpose: "wallet",
      epoch: 0,
      status: "generating",
      stage: "approving",
      progress: null,
      reason: null,
      approvals: [],
      createdAt: "2027-01-15T08:00:00.000Z",
      updatedAt: "2027-01-15T08:00:00.000Z",
    };
  };
  const ran = await bench.cairn(
    "--json",
    "proposal",
    "create",
    "keygen",
    "--protocol",
    "frost",
    "--label",
    "x",
  );
  assert.equal(ran.exit, 0, ran.stderr);
  const [signed] = taken;
  assert.ok(signed?.body.protocol === "frost" && signed.body.label === "x" && signed.body.total === 5);
  assert.ok(verifySigned("cairn/keygen-request/v1", signed, (await operator(1)).publicKey));
});

test("bans lift proposes to end the bans in force that the asked nodes know of", async () => {
  const ban = {
    node: 3,
    violation: "ab".repeat(32),
    scope: "cluster" as const,
    count: 1,
    from: "2026-01-01T00:00:00.000Z",
    until: null,
    liftedAt: null,
    inForce: true,
  };
  const others = [
    { ...ban, violation: "cd".repeat(32), inForce: false },
    { ...ban, violation: "ef".repeat(32), node: 4 },
  ];
  bench.node.answers.listBans = () => ({ bans: [ban, ...others] });
  let proposed: SignedChangeProposal | null = null;
  bench.node.answers.createProposal = ({ body }) => {
    const { proposal } = z.object({ proposal: z.string() }).parse(body);
    proposed = decodeCanonical(signedChangeProposalSchema, Buffer.from(proposal, "base64"));
    return viewOf(proposed);
  };
  bench.node.answers.signProposal = () => viewOf(proposed ?? assert.fail("nothing was proposed"));
  const ran = await bench.cairn("cluster", "bans", "lift", "--node", "3");
  assert.equal(ran.exit, 0, ran.stderr);
  const { change } = (proposed ?? (assert.fail("nothing was proposed") as SignedChangeProposal)).body;
  assert.ok(change.type === "ban-lift");
  assert.deepEqual(change.lift.violations, [ban.violation]);
  assert.equal(change.lift.node, 3);
});

test("a policy reads back as it was printed, and lists that change are told by what comes and goes", () => {
  const { policy } = inForce;
  const edited: Policy = { ...policy, whitelist: ["a", "b"] };
  assert.deepEqual(policyFromJson(JSON.stringify(policyToJson(edited))), edited);
  const change = looser(20_000n);
  assert.ok(change.type === "manifest");
  const lines = changeLines(
    { ...change, policy: { ...edited, whitelist: ["b", "c"] } },
    { ...inForce, policy: edited },
  );
  assert.deepEqual(
    lines.filter(({ field }) => field === "policy.whitelist"),
    [{ field: "policy.whitelist", from: "-a", to: "+c" }],
  );
});
