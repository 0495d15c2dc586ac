import { concatBytes, fromHex } from "@cairn/core";
import { CompactSize, RawTx } from "@scure/btc-signer";
import { sha256x2 } from "@scure/btc-signer/utils.js";
import { type BlockHeader, encodeHeader, headerHash, mineHeader, regtestBits } from "./block-header.ts";
import { internalHash } from "./byte-order.ts";
import { merkleRoot } from "./merkle.ts";
import { decodeTransaction, type Transaction } from "./transaction.ts";

/** A block as it stands for itself, without a place in a chain. */
export interface Block {
  readonly header: BlockHeader;
  /** Hash of the header in display order. */
  readonly hash: string;
  readonly transactions: readonly Transaction[];
}

/** How the output that commits to the witnesses starts (BIP-141). */
export const commitmentTag = fromHex("6a24aa21a9ed");
const witnessReserved = new Uint8Array(32);
const blockVersion = 0x20000000;

const genesisCoinbase =
  "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054" +
  "696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420" +
  "666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61" +
  "deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000";

/** Regtest's first block; its coinbase can never be spent. */
export function genesisBlock(): Block {
  const transactions = [decodeTransaction(fromHex(genesisCoinbase))];
  const header: BlockHeader = {
    version: 1,
    previousHash: "00".repeat(32),
    merkleRoot: transactionRoot(transactions),
    time: 1296688602,
    bits: regtestBits,
    nonce: 2,
  };
  return { header, hash: headerHash(header), transactions };
}

/** What a new block is made of. */
export interface BlockTemplate {
  readonly previousHash: string;
  readonly height: number;
  /** Seconds since the Unix epoch. */
  readonly time: number;
  /** Who gets subsidy and fees. */
  readonly scriptPubKey: Uint8Array;
  readonly rewardSats: bigint;
  /** Tells apart blocks that are otherwise alike. */
  readonly extraNonce: number;
  /** Without the coinbase, parents before children. */
  readonly transactions: readonly Transaction[];
}

/** Builds the coinbase, commits to all witnesses (BIP-141) and finds a nonce. */
export function mineBlock(template: BlockTemplate): Block {
  const coinbase = buildCoinbase(template);
  const transactions = [coinbase, ...template.transactions];
  const header = mineHeader({
    version: blockVersion,
    previousHash: template.previousHash,
    merkleRoot: transactionRoot(transactions),
    time: template.time,
    bits: regtestBits,
  });
  return { header, hash: headerHash(header), transactions };
}

/** Merkle root over the transaction ids. */
export function transactionRoot(transactions: readonly Transaction[]): string {
  return merkleRoot(transactions.map((transaction) => transaction.txid));
}

/** The output script that commits to the witnesses of `transactions`, of which the first is the coinbase (BIP-141). */
export function witnessCommitment(transactions: readonly Transaction[], reserved: Uint8Array): Uint8Array {
  const leaves = transactions.map((transaction, index) =>
    index === 0 ? "00".repeat(32) : transaction.wtxid,
  );
  return concatBytes(commitmentTag, sha256x2(internalHash(merkleRoot(leaves)), reserved));
}

/** The wire form of a block. */
export function encodeBlock(block: Block): Uint8Array {
  return concatBytes(
    encodeHeader(block.header),
    CompactSize.encode(BigInt(block.transactions.length)),
    ...block.transactions.map((transaction) => transaction.raw),
  );
}

/** Bytes and weight of a block's wire form. */
export function blockSize(block: Block): { size: number; weight: number } {
  const overhead = 80 + CompactSize.encode(BigInt(block.transactions.length)).length;
  let size = overhead;
  let weight = overhead * 4;
  for (const transaction of block.transactions) {
    size += transaction.raw.length;
    weight += transaction.weight;
  }
  return { size, weight };
}

/** The start of a coinbase's input script: its height as a minimal script number (BIP-34). */
export function heightPush(height: number): Uint8Array {
  if (height === 0) return new Uint8Array([0x00]);
  if (height <= 16) return new Uint8Array([0x50 + height]);
  const bytes: number[] = [];
  for (let rest = height; rest > 0; rest >>>= 8) bytes.push(rest & 0xff);
  if ((bytes.at(-1) ?? 0) >= 0x80) bytes.push(0);
  return new Uint8Array([bytes.length, ...bytes]);
}

function buildCoinbase(template: BlockTemplate): Transaction {
  const extra = Buffer.alloc(9);
  extra[0] = 8;
  extra.writeBigUInt64LE(BigInt(template.extraNonce), 1);
  const draft = {
    version: 2,
    segwitFlag: true,
    inputs: [
      {
        txid: new Uint8Array(32),
        index: 0xffffffff,
        finalScriptSig: concatBytes(heightPush(template.height), extra),
        sequence: 0xffffffff,
      },
    ],
    witnesses: [[witnessReserved]],
    lockTime: 0,
  };
  const reward = { amount: template.rewardSats, script: template.scriptPubKey };
  const encode = (commitment: Uint8Array) =>
    decodeTransaction(RawTx.encode({ ...draft, outputs: [reward, { amount: 0n, script: commitment }] }));
  // The commitment counts the coinbase's own hash as zero, so a coinbase without it serves to compute it.
  const blank = encode(commitmentTag);
  return encode(witnessCommitment([blank, ...template.transactions], witnessReserved));
}
