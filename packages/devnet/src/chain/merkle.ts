import { sha256x2 } from "@scure/btc-signer/utils.js";
import { displayHash, internalHash } from "./byte-order.ts";

/** Hashes that lead from one leaf of a merkle tree to its root, lowest first, in display order. */
export interface MerkleProof {
  readonly merkle: readonly string[];
  /** The leaf's position. */
  readonly pos: number;
}

/**
 * Bitcoin's merkle root: pairs are hashed with double SHA-256, the last of an odd row is paired with itself.
 * @param leaves hashes in display order
 * @returns the root in display order; zeros when there are no leaves
 */
export function merkleRoot(leaves: readonly string[]): string {
  let row = leaves.map(internalHash);
  while (row.length > 1) row = parents(row);
  return displayHash(row[0] ?? new Uint8Array(32));
}

/** The branch for leaf `pos`, as in Electrum's `blockchain.transaction.get_merkle`. */
export function merkleProof(leaves: readonly string[], pos: number): MerkleProof {
  const merkle: string[] = [];
  let row = leaves.map(internalHash);
  let index = pos;
  while (row.length > 1) {
    const sibling = row[index ^ 1] ?? row[index];
    if (sibling === undefined) throw new RangeError(`merkle leaf ${pos} lies outside the tree`);
    merkle.push(displayHash(sibling));
    row = parents(row);
    index >>= 1;
  }
  return { merkle, pos };
}

function parents(row: readonly Uint8Array[]): Uint8Array[] {
  const next: Uint8Array[] = [];
  for (let i = 0; i < row.length; i += 2) {
    const left = row[i];
    const right = row[i + 1] ?? left;
    if (left !== undefined && right !== undefined) next.push(sha256x2(left, right));
  }
  return next;
}
