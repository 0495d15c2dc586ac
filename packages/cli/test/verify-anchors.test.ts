import assert from "node:assert/strict";
import { test } from "node:test";
import { dataOutputScript, parseTransaction, wire } from "@cairn/bitcoin";
import {
  AUDIT_ROOT,
  type AuditAnchor,
  checkpointAnchor,
  checkpointHash,
  checkpointSchema,
  concatBytes,
  isCairnError,
  sha256Hex,
  toHex,
} from "@cairn/core";
import { verifyAnchors } from "../src/verify-anchors.ts";

const checkpoint = checkpointSchema.parse({
  version: 1,
  cluster: "c1".repeat(32),
  manifestHash: "a1".repeat(32),
  sequence: 3,
  previous: "b1".repeat(32),
  heads: [1, 2].map((node) => ({ node, epoch: 0, length: 0, hash: AUDIT_ROOT })),
  createdAt: 1_800_000_000_000,
});
const signed = { checkpoint, signatures: [] };

/** A transaction of one input, out of nothing, whose last output has this script and amount. */
function transactionOf(script: Uint8Array, amountSats = 0n): Uint8Array {
  const output = (amount: bigint, of: Uint8Array) => concatBytes(wire.u64(amount), wire.varBytes(of));
  return concatBytes(
    wire.u32(2),
    Uint8Array.of(1),
    new Uint8Array(36).fill(9),
    Uint8Array.of(0),
    wire.u32(0xfffffffd),
    Uint8Array.of(2),
    output(1_000n, Uint8Array.of(0, 20, ...new Uint8Array(20))),
    output(amountSats, script),
    wire.u32(0),
  );
}

/** An anchor in the only transaction of a block whose header has the easiest target and meets it. */
function anchorIn(raw: Uint8Array): AuditAnchor {
  const { txid } = parseTransaction(raw);
  const root = Buffer.from(txid, "hex").reverse();
  for (let nonce = 0; ; nonce += 1) {
    const header = concatBytes(
      wire.u32(4),
      new Uint8Array(32),
      root,
      wire.u32(1_700_000_000),
      wire.u32(0x207fffff),
      wire.u32(nonce),
    );
    const blockHash = Buffer.from(sha256Hex(Buffer.from(sha256Hex(header), "hex")), "hex").reverse();
    if ((blockHash[0] ?? 0) >= 0x7f) continue;
    return {
      checkpoint: signed,
      txid,
      transaction: toHex(raw),
      inclusion: {
        blockHeight: 7,
        blockHash: toHex(blockHash),
        header: toHex(header),
        position: 0,
        siblings: [],
      },
    };
  }
}

const anchor = anchorIn(transactionOf(dataOutputScript(checkpointAnchor(checkpoint))));
const { inclusion } = anchor;
assert.ok(inclusion !== null);
const bestChain = (hash: string | undefined) => ({
  tip: async () => ({ height: 9, hash: "00".repeat(32) }),
  blockHash: async () => hash,
});

test("an anchor verifies offline, and with a chain source says how deep it is", async () => {
  const [offline] = await verifyAnchors([anchor], "regtest", null);
  assert.deepEqual(offline, {
    sequence: 3,
    checkpoint: checkpointHash(checkpoint),
    txid: anchor.txid,
    block: { height: 7, hash: inclusion.blockHash, time: 1_700_000_000 },
    confirmations: null,
  });
  const [online] = await verifyAnchors([anchor], "regtest", bestChain(inclusion.blockHash));
  assert.equal(online?.confirmations, 3);
  const [waiting] = await verifyAnchors([{ ...anchor, inclusion: null }], "regtest", bestChain(undefined));
  assert.deepEqual([waiting?.block, waiting?.confirmations], [null, 0]);
});

const another = checkpointAnchor({ ...checkpoint, sequence: 4 });
const altered: Record<string, AuditAnchor> = {
  "the transaction has another id": { ...anchor, txid: "ab".repeat(32) as typeof anchor.txid },
  "its bytes are no transaction": { ...anchor, transaction: "00" },
  "it anchors another checkpoint": anchorIn(transactionOf(dataOutputScript(another))),
  "it anchors nothing": anchorIn(transactionOf(Uint8Array.of(0, 20, ...new Uint8Array(20)), 500n)),
  "its anchor holds an amount": anchorIn(transactionOf(dataOutputScript(checkpointAnchor(checkpoint)), 1n)),
  "the block is another": { ...anchor, inclusion: { ...inclusion, blockHash: "cd".repeat(32) } },
  "the header is another": {
    ...anchor,
    inclusion: { ...inclusion, header: `05${inclusion.header.slice(2)}` },
  },
  "the proof leads elsewhere": { ...anchor, inclusion: { ...inclusion, siblings: ["cd".repeat(32)] } },
};
for (const [name, wrong] of Object.entries(altered)) {
  test(`an anchor proves nothing where ${name}`, async () => {
    await assert.rejects(verifyAnchors([wrong], "regtest", null), (error) => {
      assert.ok(isCairnError(error, "audit-broken"));
      assert.equal(error.data.fault, "anchor");
      return true;
    });
  });
}

test("a block of a test network's work is none of mainnet's, and one outside the best chain is refused online", async () => {
  await assert.rejects(verifyAnchors([anchor], "mainnet", null), /took no work of mainnet/);
  for (const hash of ["ef".repeat(32), undefined])
    await assert.rejects(verifyAnchors([anchor], "regtest", bestChain(hash)), /not in the best chain/);
});
