import assert from "node:assert/strict";
import { test } from "node:test";
import { banLiftSchema, isCairnError, manifestHash, manifestSchema } from "@cairn/core";
import { decodeExample, readProtocolExamples } from "@cairn/core/test-support";
import { z } from "zod";
import {
  accusationSchema,
  authorisedGrantSchema,
  broadcastSchema,
  certificateHash,
  certificateSchema,
  checkIntentForm,
  deferralSchema,
  evidenceSchema,
  grantDocumentSchema,
  grantIdOf,
  grantNonceOf,
  grantSchema,
  intentHash,
  intentSchema,
  judgeEvidence,
  keygenGrantSchema,
  offenceOf,
  partialSignatureSchema,
  publicDataAcceptanceSchema,
  signingGrantSchema,
  verifyCertificate,
  verifyKeygenGrant,
  verifySigningGrant,
  voidSchema,
  voteSchema,
} from "../src/index.ts";

const protocol = readProtocolExamples();
const { examples } = protocol;
const decoded = <Schema extends z.ZodType>(name: string, schema: Schema) =>
  decodeExample(protocol, name, schema);

const schemas: Record<string, z.ZodType> = {
  intent: intentSchema,
  vote: voteSchema,
  "vote-rejection": voteSchema,
  deferral: deferralSchema,
  void: voidSchema,
  certificate: certificateSchema,
  grant: grantSchema,
  "authorised-grant": authorisedGrantSchema,
  "signing-grant": grantDocumentSchema,
  "keygen-grant": grantDocumentSchema,
  broadcast: broadcastSchema,
  "presign-acceptance": publicDataAcceptanceSchema,
  partial: partialSignatureSchema,
  "evidence-double-vote": evidenceSchema,
  "evidence-minority-vote": evidenceSchema,
  "evidence-equivocation": evidenceSchema,
  "evidence-invalid-partial": evidenceSchema,
  "evidence-rollback": evidenceSchema,
  "evidence-false-accusation": evidenceSchema,
  accusation: accusationSchema,
};

for (const [name, schema] of Object.entries(schemas)) {
  test(`protocol example ${name} is of its shape and has one encoding`, () => {
    decoded(name, schema);
  });
}

const manifest = decoded("genesis-manifest", manifestSchema);
const rules = { manifest, manifestHash: manifestHash(manifest) };

test("the example intent is of its manifest, and grant id and nonce follow from its hash", () => {
  const intent = decoded("intent", intentSchema);
  checkIntentForm(intent, rules);
  const hash = intentHash(intent);
  assert.equal(hash, examples.intent?.hash);
  assert.equal(decoded("grant-id", z.string()), hash);
  assert.equal(grantIdOf(hash), examples["grant-id"]?.hash);
  assert.equal(grantNonceOf(hash), examples["grant-nonce"]?.hash);
  const grant = decoded("grant", grantSchema);
  assert.equal(grant.grantId, grantIdOf(hash));
  assert.equal(grant.nonce, grantNonceOf(hash));
});

test("the example grants hold for whoever has the example manifest, and no longer than they say", async () => {
  const signing = decoded("signing-grant", signingGrantSchema);
  const { grant } = signing;
  const read = async () => grant.inputs;
  const judge = { ...rules, read, now: grant.notBefore };
  await verifySigningGrant(signing, judge);
  assert.deepEqual(grant, decoded("grant", grantSchema));
  await assert.rejects(verifySigningGrant(signing, { ...judge, now: grant.expiry }), (error) =>
    isCairnError(error, "grant-expired"),
  );
  const keygen = decoded("keygen-grant", keygenGrantSchema);
  const { createdAt, expiry } = keygen.request.body;
  verifyKeygenGrant(keygen, { ...rules, now: createdAt });
  assert.throws(
    () => verifyKeygenGrant(keygen, { ...rules, now: expiry }),
    (error) => isCairnError(error, "grant-expired"),
  );
});

test("the example certificate verifies offline and holds the example vote's signature", () => {
  const certificate = decoded("certificate", certificateSchema);
  verifyCertificate(certificate, manifest, rules.manifestHash);
  assert.equal(certificateHash(certificate), examples.certificate?.hash);
  assert.equal(certificate.votes[0]?.signature, examples.vote?.signature);
});

test("the example evidence convicts where it holds, and the approval of a sound intent convicts nobody", () => {
  const verifiers = {
    protocolVersions: [1],
    intentFault: () => null,
  };
  const judge = (name: string) => judgeEvidence(decoded(name, evidenceSchema), rules, verifiers);
  assert.deepEqual(judge("evidence-double-vote"), { kind: "proven", type: "DoubleVote", node: 5 });
  assert.deepEqual(judge("evidence-equivocation"), { kind: "proven", type: "Equivocation", node: 1 });
  assert.deepEqual(judge("evidence-invalid-partial"), { kind: "proven", type: "InvalidPartial", node: 1 });
  assert.equal(judge("evidence-minority-vote").kind, "forged");
  assert.deepEqual(judge("evidence-rollback"), { kind: "proven", type: "Rollback", node: 1 });
  assert.deepEqual(judge("evidence-false-accusation"), { kind: "proven", type: "FalseAccusation", node: 4 });
  assert.equal(
    decoded("ban-lift", banLiftSchema).violations[0],
    offenceOf(decoded("evidence-double-vote", evidenceSchema)).id,
  );
});
