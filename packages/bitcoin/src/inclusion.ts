import type { Txid } from "@cairn/core";
import { bytesToHex, concatBytes, hexToBytes } from "@noble/hashes/utils.js";
import { bitcoinError } from "./bitcoin-error.ts";
import { parseBlockHeader } from "./block-header.ts";
import { hash } from "./hash.ts";

/** Where in which block a transaction stands, with what proves it. */
export interface Inclusion {
  readonly blockHeight: number;
  readonly blockHash: string;
  /** The block's 80-byte header, hex. */
  readonly header: string;
  /** The transaction's place among the block's. */
  readonly position: number;
  /** Hashes that lead from the transaction to the header's merkle root, lowest first, in the order in which people read them. */
  readonly siblings: readonly string[];
}

/**
 * Checks that the header hashes to the block's hash, and that the siblings lead from the transaction to its merkle root. Whether the
 * block took any work, and is in the best chain, is for others to say: `meetsTarget` and a chain source.
 *
 * A txid must be the hash of a transaction that the caller has whole: by its bytes alone an inner node of a tree could pass for one of 64 bytes.
 * @throws CairnError `block-header-malformed`, `inclusion-wrong`
 */
export function checkInclusion(txid: Txid, inclusion: Inclusion): void {
  const { blockHash, position, siblings } = inclusion;
  const header = parseBlockHeader(hexToBytes(inclusion.header));
  if (header.hash !== blockHash)
    throw wrong("The header is another block's than the one that is named.", txid);
  let node = internal(txid);
  let index = position;
  for (const sibling of siblings) {
    const other = internal(sibling);
    node = hash.sha256d(index % 2 === 0 ? concatBytes(node, other) : concatBytes(other, node));
    index = Math.floor(index / 2);
  }
  if (index !== 0 || bytesToHex(node.toReversed()) !== header.merkleRoot)
    throw wrong("The merkle proof does not lead from the transaction to the block.", txid);
}

function internal(displayed: string): Uint8Array {
  return hexToBytes(displayed).reverse();
}

function wrong(message: string, txid: Txid): Error {
  return bitcoinError("inclusion-wrong", message, { txid });
}
