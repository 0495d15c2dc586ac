import assert from "node:assert/strict";
import { test } from "node:test";
import { Ed25519Signer, verifySignature } from "../src/index.ts";

test("a signature that verified once is still refused over another body, for another key and under another domain", () => {
  const [one, two] = [Ed25519Signer.generate(), Ed25519Signer.generate()];
  const body = { amount: 1 };
  const signature = one.sign("cairn/vote/v1", body);
  for (let time = 0; time < 2; time += 1) {
    assert.equal(verifySignature("cairn/vote/v1", body, one.publicKey, signature), true);
    assert.equal(verifySignature("cairn/vote/v1", { amount: 2 }, one.publicKey, signature), false);
    assert.equal(verifySignature("cairn/vote/v1", body, two.publicKey, signature), false);
    assert.equal(verifySignature("cairn/void/v1", body, one.publicKey, signature), false);
    const other = two.sign("cairn/vote/v1", body);
    assert.equal(verifySignature("cairn/vote/v1", body, one.publicKey, other), false);
  }
});
