import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { z } from "zod";
import { isBitcoinSignature } from "./is-bitcoin-signature.ts";
import raw from "./vectors/wycheproof-ecdsa-secp256k1-sha256-bitcoin.json" with { type: "json" };

const schema = z.object({
  numberOfTests: z.number().int().positive(),
  testGroups: z.array(
    z.object({
      publicKey: z.object({ uncompressed: z.string() }),
      tests: z.array(
        z.object({
          tcId: z.number(),
          comment: z.string(),
          msg: z.string(),
          sig: z.string(),
          result: z.enum(["valid", "invalid"]),
        }),
      ),
    }),
  ),
});

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));

test("Wycheproof's ECDSA signatures are accepted and refused as Bitcoin does", () => {
  const vectors = schema.parse(raw);
  let run = 0;
  for (const { publicKey, tests } of vectors.testGroups) {
    for (const { tcId, comment, msg, sig, result } of tests) {
      const digest = new Uint8Array(createHash("sha256").update(bytes(msg)).digest());
      const accepted = isBitcoinSignature(bytes(sig), digest, bytes(publicKey.uncompressed));
      assert.equal(accepted, result === "valid", `test ${tcId}: ${comment}`);
      run += 1;
    }
  }
  assert.equal(run, vectors.numberOfTests);
});
