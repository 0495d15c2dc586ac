import { concatBytes } from "@cairn/core";
import { sha256x2 } from "@scure/btc-signer/utils.js";
import { displayHash, internalHash } from "./byte-order.ts";

/** The fields of an 80-byte block header; hashes in display order. */
export interface BlockHeader {
  readonly version: number;
  readonly previousHash: string;
  readonly merkleRoot: string;
  /** Seconds since the Unix epoch. */
  readonly time: number;
  /** Compact proof-of-work target. */
  readonly bits: number;
  readonly nonce: number;
}

/** Regtest's constant target: every second hash meets it. */
export const regtestBits = 0x207fffff;

/** Serializes `header` to its 80 bytes. */
export function encodeHeader(header: BlockHeader): Uint8Array {
  const head = Buffer.alloc(4);
  head.writeInt32LE(header.version);
  const tail = Buffer.alloc(12);
  tail.writeUInt32LE(header.time, 0);
  tail.writeUInt32LE(header.bits, 4);
  tail.writeUInt32LE(header.nonce, 8);
  return concatBytes(head, internalHash(header.previousHash), internalHash(header.merkleRoot), tail);
}

/** A block's hash, in display order. */
export function headerHash(header: BlockHeader): string {
  return displayHash(sha256x2(encodeHeader(header)));
}

/** Whether `header` carries regtest's target and its hash meets it. */
export function meetsTarget(header: BlockHeader): boolean {
  const exponent = BigInt(regtestBits >>> 24);
  const target = BigInt(regtestBits & 0x7fffff) << (8n * (exponent - 3n));
  return header.bits === regtestBits && BigInt(`0x${headerHash(header)}`) <= target;
}

/** `header` with the first nonce that meets the target. */
export function mineHeader(header: Omit<BlockHeader, "nonce">): BlockHeader {
  for (let nonce = 0; nonce <= 0xffffffff; nonce++) {
    const candidate = { ...header, nonce };
    if (meetsTarget(candidate)) return candidate;
  }
  throw new RangeError("no nonce meets the target; change the block's time or its coinbase");
}
