import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import {
  apiRequestSchema,
  auditEntryHash,
  auditEntrySchema,
  banLiftSchema,
  changeCommitSchema,
  changeProposalHash,
  changeProposalSchema,
  changeVoteSchema,
  checkpointAnchor,
  checkpointHash,
  checkpointProposalSchema,
  checkpointSchema,
  checkpointSignatureSchema,
  clusterIdOf,
  concatBytes,
  decodeCanonical,
  decodeEnvelope,
  domainTags,
  ed25519PublicKeySchema,
  encodeCanonical,
  envelopeHeaderSchema,
  envelopeSchema,
  fenceAnswerSchema,
  fenceChallengeSchema,
  fromHex,
  keygenApprovalSchema,
  keygenRequestHash,
  keygenRequestSchema,
  manifestHash,
  manifestSchema,
  openEnvelope,
  policyHash,
  policySchema,
  publicPackageHash,
  readCheckpointAnchor,
  SealingKey,
  sha256Hex,
  signatureHexSchema,
  signedCheckpointSchema,
  spendApprovalSchema,
  spendRequestHash,
  spendRequestSchema,
  syncAnswerSchema,
  syncRequestSchema,
  toHex,
  verifyApiRequest,
  verifyChangeCommit,
  verifyChangeProposal,
  verifyCheckpoint,
  verifyCheckpointChain,
  verifyFenceAnswer,
  verifySignature,
  verifySpendApproval,
  verifySyncAnswer,
  verifyWalletProof,
  walletIdOf,
  walletProofSchema,
  walletRecordSchema,
} from "../src/index.ts";
import { decodeExample, readProtocolExamples, refuses, signerOfSeed } from "../test-support/index.ts";

const protocol = readProtocolExamples();
const { keys, examples } = protocol;
const decoded = <Schema extends z.ZodType>(name: string, schema: Schema) =>
  decodeExample(protocol, name, schema);

function example(name: string) {
  const found = examples[name];
  assert.ok(found, `docs/protocol-examples.json has no example "${name}"`);
  return found;
}

const schemas: Record<string, z.ZodType> = {
  policy: policySchema,
  "genesis-manifest": manifestSchema,
  "successor-manifest": manifestSchema,
  "keygen-request": keygenRequestSchema,
  "keygen-approval": keygenApprovalSchema,
  "wallet-record": walletRecordSchema,
  "wallet-proof": walletProofSchema,
  "spend-request": spendRequestSchema,
  "spend-approval": spendApprovalSchema,
  "fence-challenge": fenceChallengeSchema,
  "fence-answer": fenceAnswerSchema,
  "sync-request": syncRequestSchema,
  "sync-answer": syncAnswerSchema,
  "api-request": apiRequestSchema,
  "ban-lift": banLiftSchema,
  "change-proposal": changeProposalSchema,
  "change-proposal-manifest": changeProposalSchema,
  "change-vote": changeVoteSchema,
  "change-vote-refusal": changeVoteSchema,
  "change-commit": changeCommitSchema,
  checkpoint: checkpointSchema,
  "checkpoint-next": checkpointSchema,
  "signed-checkpoint": signedCheckpointSchema,
  "checkpoint-proposal": checkpointProposalSchema,
  "checkpoint-signature": checkpointSignatureSchema,
  "audit-entry": auditEntrySchema,
  "audit-entry-next": auditEntrySchema,
  "envelope-header": envelopeHeaderSchema,
  envelope: envelopeSchema.omit({ signature: true }),
  "envelope-frame": envelopeSchema,
};

for (const [name, schema] of Object.entries(schemas)) {
  test(`protocol example ${name} is of its shape and has one encoding`, () => {
    decoded(name, schema);
  });
}

test("every example is hashed over tag, zero byte and canonical bytes", () => {
  for (const [name, { domain, encoded, hash }] of Object.entries(examples)) {
    decoded(name, z.unknown());
    if (domain === null) continue;
    const bytes = concatBytes(new TextEncoder().encode(domain), Uint8Array.of(0), fromHex(encoded));
    assert.equal(sha256Hex(bytes), hash, name);
  }
});

test("no tag is declared without an example of what is hashed or signed under it", () => {
  const shown = new Set(Object.values(examples).map(({ domain }) => domain));
  assert.deepEqual(
    domainTags.filter((tag) => !shown.has(tag)),
    [],
  );
});

test("every signed example carries the signature that its key makes, and no other key's", () => {
  for (const [name, { domain, encoded, signer, signature }] of Object.entries(examples)) {
    if (domain === null || signer === null || signature === null) continue;
    const pair = keys[signer];
    assert.ok(pair, `no key "${signer}" in the document`);
    const body = decodeCanonical(z.unknown(), fromHex(encoded));
    const key = signerOfSeed(pair.private);
    assert.equal(key.publicKey, pair.public, name);
    assert.equal(key.sign(domain, body), signature, name);
    const given = signatureHexSchema.parse(signature);
    assert.ok(verifySignature(domain, body, ed25519PublicKeySchema.parse(pair.public), given), name);
    const stranger = Object.entries(keys).find(
      ([other]) => other !== signer && other.startsWith("node"),
    )?.[1];
    assert.ok(stranger);
    assert.ok(!verifySignature(domain, body, ed25519PublicKeySchema.parse(stranger.public), given), name);
  }
});

test("ids in the examples follow from what they name", () => {
  const genesis = decoded("genesis-manifest", manifestSchema);
  const successor = decoded("successor-manifest", manifestSchema);
  const keygen = decoded("keygen-request", keygenRequestSchema);
  const record = decoded("wallet-record", walletRecordSchema);
  const request = decoded("spend-request", spendRequestSchema);
  assert.equal(clusterIdOf(genesis), genesis.cluster);
  assert.equal(example("cluster-id").hash, genesis.cluster);
  assert.equal(manifestHash(genesis), example("genesis-manifest").hash);
  assert.equal(successor.previous, manifestHash(genesis));
  assert.equal(policyHash(decoded("policy", policySchema)), genesis.policy);
  assert.equal(keygenRequestHash(keygen), record.keyId);
  assert.equal(walletIdOf(record.descriptor), record.wallet);
  assert.equal(publicPackageHash(decoded("public-package", z.instanceof(Uint8Array))), record.publicPackage);
  assert.equal(spendRequestHash(request), example("spend-request").hash);
  assert.equal(
    decoded("audit-entry-next", auditEntrySchema).previous,
    auditEntryHash(decoded("audit-entry", auditEntrySchema)),
  );
});

test("the example approval, fence answer, API request and sync answer belong to what they name", () => {
  const manifest = decoded("genesis-manifest", manifestSchema);
  const signature = (name: string) => signatureHexSchema.parse(example(name).signature);
  const approval = decoded("spend-approval", spendApprovalSchema);
  const { requestHash, createdAt } = approval;
  assert.equal(requestHash, example("spend-request").hash);
  verifySpendApproval(
    { body: approval, signature: signature("spend-approval") },
    { manifest, requestHash, now: createdAt, clockSkewMs: 0 },
  );
  verifyFenceAnswer(
    { body: decoded("fence-answer", fenceAnswerSchema), signature: signature("fence-answer") },
    decoded("fence-challenge", fenceChallengeSchema),
    manifest,
  );
  const call = decoded("api-request", apiRequestSchema);
  verifyApiRequest(
    { body: call, signature: signature("api-request") },
    {
      cluster: manifest.cluster,
      me: null,
      callers: manifest.members.map((member) => member.identity),
      method: "POST",
      path: "/registry/heartbeat",
      body: Buffer.from('{"party_index":1}'),
      now: call.createdAt,
      clockSkewMs: 0,
    },
  );
  verifySyncAnswer(decoded("sync-answer", syncAnswerSchema), decoded("sync-request", syncRequestSchema));
});

test("the example wallet proof hangs on the signatures of all nodes, and on the hashes in the record that they signed", () => {
  const manifest = decoded("genesis-manifest", manifestSchema);
  const proof = decoded("wallet-proof", walletProofSchema);
  const { request, record, publicPackage } = proof;
  verifyWalletProof(proof, manifest);
  const short = { ...record, signatures: record.signatures.slice(1) };
  refuses("signature-invalid", () => verifyWalletProof({ ...proof, record: short }, manifest));
  const renamed = { ...request, body: { ...request.body, label: "another" } };
  refuses("malformed", () => verifyWalletProof({ ...proof, request: renamed }, manifest));
  const longer = Uint8Array.of(...publicPackage, 0);
  refuses("malformed", () => verifyWalletProof({ ...proof, publicPackage: longer }, manifest));
});

test("the example change commits, and the example successor follows its manifest", () => {
  const manifest = decoded("genesis-manifest", manifestSchema);
  const inForce = { manifest, manifestHash: manifestHash(manifest), policy: decoded("policy", policySchema) };
  const commit = decoded("change-commit", changeCommitSchema);
  verifyChangeCommit(commit, inForce);
  assert.equal(changeProposalHash(commit.proposal.body), example("change-proposal").hash);
  assert.equal(commit.votes[0]?.signature, example("change-vote").signature);
  assert.equal(commit.votes[0]?.body.operatorSignature, example("ban-lift").signature);
  const proposal = {
    body: decoded("change-proposal-manifest", changeProposalSchema),
    signature: signatureHexSchema.parse(example("change-proposal-manifest").signature),
  };
  verifyChangeProposal(proposal, inForce);
});

test("the example checkpoints verify, follow one another, and stand in the example anchor", () => {
  const manifest = decoded("genesis-manifest", manifestSchema);
  const signed = decoded("signed-checkpoint", signedCheckpointSchema);
  verifyCheckpoint(signed, { manifest, manifestHash: manifestHash(manifest) });
  const { checkpoint } = signed;
  assert.equal(checkpointHash(checkpoint), example("checkpoint").hash);
  const next = decoded("checkpoint-next", checkpointSchema);
  verifyCheckpointChain({ checkpoint, manifest }, { checkpoint: next, manifest });
  const anchor = decoded("checkpoint-anchor", z.instanceof(Uint8Array));
  assert.deepEqual(anchor, checkpointAnchor(checkpoint));
  assert.equal(readCheckpointAnchor(anchor), example("checkpoint").hash);
});

test("the example envelope opens under its recipient's key to the example payload", async () => {
  const envelope = decodeEnvelope(fromHex(example("envelope-frame").encoded));
  assert.equal(toHex(encodeCanonical(envelope.header)), example("envelope-header").encoded);
  assert.equal(envelope.signature, example("envelope").signature);
  const pair = keys["sealing 2"];
  assert.ok(pair);
  const der = Buffer.from(`302e020100300506032b656e04220420${pair.private}`, "hex").toString("base64");
  const sealing = SealingKey.fromPem(
    Buffer.from(`-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`),
  );
  assert.equal(sealing.publicKey, pair.public);
  const payload = await openEnvelope(
    envelope,
    {
      cluster: envelope.header.cluster,
      me: envelope.header.to,
      from: envelope.header.from,
      senderKey: ed25519PublicKeySchema.parse(keys["node 1"]?.public),
      now: envelope.header.sentAt,
      clockSkewMs: 0,
    },
    sealing,
  );
  assert.equal(toHex(payload), example("sealed-payload").encoded);
});
