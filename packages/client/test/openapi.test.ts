import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Ed25519PublicKey,
  Ed25519Signer,
  type SpendRequest,
  signBody,
  spendRequestHash,
  spendRequestSchema,
} from "@cairn/core";
import { contract, openApiDocument, signedSpendRequestJsonSchema, spendRequestToJson } from "../src/index.ts";

test("every endpoint of the contract stands in the OpenAPI document with its id, role and answer", () => {
  const text = JSON.stringify(openApiDocument("0.0.0"));
  for (const [name, route] of Object.entries(contract)) {
    assert.ok(text.includes(`"operationId":"${name}"`), name);
    assert.ok(text.includes(`"${route.path.replace(/:([A-Za-z]+)/g, "{$1}")}"`), route.path);
  }
  assert.ok(!text.includes('"bigint"'));
});

test("a spend request signs the same structure before and after its JSON form", () => {
  const owner = Ed25519Signer.generate();
  const request: SpendRequest = spendRequestSchema.parse({
    version: 1,
    cluster: "11".repeat(32),
    network: "regtest",
    wallet: "22".repeat(32),
    outputs: [{ address: "bcrt1qexample", amountSats: 2_099_999_999_999_999n }],
    maxFeeSats: 10_000n,
    feeRateSatsPerKvb: null,
    nonce: "33".repeat(32),
    createdAt: 1,
    expiry: 2,
    replaces: null,
    requester: owner.publicKey as Ed25519PublicKey,
  });
  const signed = signBody("cairn/spend-request/v1", request, owner);
  const back = signedSpendRequestJsonSchema.parse(JSON.parse(JSON.stringify(spendRequestToJson(signed))));
  assert.equal(spendRequestHash(back.request), spendRequestHash(request));
  assert.equal(back.signature, signed.signature);
});
