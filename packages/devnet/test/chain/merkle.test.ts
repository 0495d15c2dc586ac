import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import { internalHash } from "../../src/chain/byte-order.ts";
import { merkleProof, merkleRoot } from "../../src/chain/merkle.ts";

/** Transactions and merkle root of Bitcoin's block 100,000. */
const block100000 = [
  "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
  "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
  "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
  "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
];

function fold(leaf: string, merkle: readonly string[], pos: number): string {
  const twice = (bytes: Uint8Array) =>
    createHash("sha256").update(createHash("sha256").update(bytes).digest()).digest();
  let hash = Buffer.from(internalHash(leaf));
  for (const [level, sibling] of merkle.entries()) {
    const other = Buffer.from(internalHash(sibling));
    hash = twice(Buffer.concat(((pos >> level) & 1) === 1 ? [other, hash] : [hash, other]));
  }
  return hash.reverse().toString("hex");
}

describe("merkle trees", () => {
  it("give block 100,000 its root", () => {
    assert.equal(merkleRoot(block100000), "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766");
  });

  it("prove each leaf, in odd rows too", () => {
    const leaf = fc
      .uint8Array({ minLength: 32, maxLength: 32 })
      .map((bytes) => Buffer.from(bytes).toString("hex"));
    fc.assert(
      fc.property(fc.array(leaf, { minLength: 1, maxLength: 40 }), fc.nat(), (leaves, at) => {
        const pos = at % leaves.length;
        const proof = merkleProof(leaves, pos);
        assert.equal(fold(leaves[pos] ?? "", proof.merkle, proof.pos), merkleRoot(leaves));
      }),
    );
  });
});
