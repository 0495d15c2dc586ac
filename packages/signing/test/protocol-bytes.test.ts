import assert from "node:assert/strict";
import { test } from "node:test";
import { authorisedGrantSchema, grantSchema } from "@cairn/consensus";
import { type ClusterId, type HashHex, toHex } from "@cairn/core";
import { decodeExample, readProtocolExamples } from "@cairn/core/test-support";
import { z } from "zod";
import {
  abortSchema,
  ackSchema,
  broadcastMessageSchema,
  directMessageSchema,
  executionIdOf,
  finalizeSchema,
  initiatorOrder,
  nackSchema,
  presignatureIdOf,
  presignJobHash,
  presignJobSchema,
  presignReadySchema,
  proposalHash,
  proposalSchema,
  publicPackageWordSchema,
  startSchema,
  subsetsInOrder,
  testSigningItem,
  testSubsets,
} from "../src/index.ts";

const protocol = readProtocolExamples();
const { examples } = protocol;
const decoded = <Schema extends z.ZodType>(name: string, schema: Schema) =>
  decodeExample(protocol, name, schema);

const schemas: Record<string, z.ZodType> = {
  "presign-job": presignJobSchema,
  "proposal-presign": proposalSchema,
  "presign-ready": presignReadySchema,
  proposal: proposalSchema,
  "proposal-keygen": proposalSchema,
  ack: ackSchema,
  "ack-keygen": ackSchema,
  nack: nackSchema,
  start: startSchema,
  abort: abortSchema,
  finalize: finalizeSchema,
  "round-broadcast": broadcastMessageSchema,
  "round-direct": directMessageSchema,
  "public-package-word": publicPackageWordSchema,
};

for (const [name, schema] of Object.entries(schemas)) {
  test(`protocol example ${name} is of its shape and has one encoding`, () => {
    decoded(name, schema);
  });
}

test("session and execution ids of the examples follow from proposal and Acks", () => {
  const proposal = decoded("proposal", proposalSchema);
  assert.equal(proposal.sessionId, examples["session-id"]?.hash);
  assert.equal(proposalHash(proposal), examples.proposal?.hash);
  const { acks } = decoded("start", startSchema);
  const execution = executionIdOf(
    proposal.sessionId,
    acks.map((ack) => ack.body),
  );
  assert.equal(execution, examples["execution-id"]?.hash);
  assert.equal(acks[0]?.signature, examples.ack?.signature);
});

test("orders of initiators and of subsets follow from the example grant", () => {
  const grant = decoded("grant", grantSchema);
  const subject = examples["grant-id"]?.hash as HashHex;
  assert.equal(decoded("authorised-grant", authorisedGrantSchema).grant.grantId, subject);
  const order = initiatorOrder(subject, grant.nonce, grant.participants);
  assert.deepEqual(order, decoded("initiator-order", z.array(z.number())));
  const subsets = subsetsInOrder(subject, grant.participants, grant.threshold);
  assert.deepEqual(subsets, decoded("subset-order", z.array(z.array(z.number()))));
});

test("the example presignature's id follows from job, execution and item", () => {
  const job = decoded("presign-job", presignJobSchema);
  const { execution } = decoded("presignature-id", z.looseObject({ execution: z.string() }));
  assert.equal(presignJobHash(job), examples["presign-job"]?.hash);
  const id = presignatureIdOf(job, execution as Parameters<typeof presignatureIdOf>[1], 0);
  assert.equal(id, examples["presignature-id"]?.hash);
  assert.deepEqual(decoded("proposal", proposalSchema).items, [id]);
});

test("what the example test signature signs follows from key, package and signers", () => {
  const word = decoded("public-package-word", publicPackageWordSchema);
  const item = testSigningItem({
    cluster: word.cluster satisfies ClusterId,
    keyId: word.keyId,
    protocol: "cggmp24",
    publicPackage: word.publicPackage,
    subset: testSubsets(decoded("proposal-keygen", proposalSchema).signers, 4)[0] ?? [],
  });
  const shown = decoded(
    "keygen-test-item",
    z.strictObject({ path: z.array(z.number()), preimage: z.instanceof(Uint8Array) }),
  );
  assert.deepEqual([...item.path], shown.path);
  assert.equal(toHex(item.preimage), toHex(shown.preimage));
});
