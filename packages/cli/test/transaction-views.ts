import { decodeAddress, encodeUnsignedTransaction, parseTransaction } from "@cairn/bitcoin";
import { signedSpendRequestJsonSchema, type TransactionDetail } from "@cairn/client";
import { parseShape, type SignedSpendRequest, spendRequestHash, toHex, txidSchema } from "@cairn/core";

/** The signed request in the body of a call to `createTransaction`. */
export function requestOf(body: unknown): SignedSpendRequest {
  const { request, signature } = parseShape(signedSpendRequestJsonSchema, toJson(body));
  return { body: request, signature };
}

/** The contract's schema has turned amounts into bigint; back to the text that travelled. */
function toJson(body: unknown): unknown {
  return JSON.parse(
    JSON.stringify(body, (_, value) => (typeof value === "bigint" ? value.toString() : value)),
  );
}

/** A transaction that pays what `request` asks for, and `change` outputs beside it. */
export function paymentFor(
  { body }: SignedSpendRequest,
  change: readonly { readonly script: Uint8Array; readonly amountSats: bigint }[] = [],
): { readonly txid: string; readonly rawTx: string } {
  const bytes = encodeUnsignedTransaction({
    version: 2,
    lockTime: 0,
    inputs: [{ txid: parseShape(txidSchema, "7".repeat(64)), vout: 1, sequence: 0xfffffffd }],
    outputs: [
      ...body.outputs.map(({ address, amountSats }) => ({
        amountSats,
        script: decodeAddress(address, body.network).script,
      })),
      ...change,
    ],
  });
  return { txid: parseTransaction(bytes).txid, rawTx: toHex(bytes) };
}

/** What an honest node says of a spend. */
export function detailOf(
  signed: SignedSpendRequest,
  payment: { readonly txid: string; readonly rawTx: string | null },
  change: Partial<TransactionDetail> = {},
): TransactionDetail {
  const { body } = signed;
  const time = new Date(body.createdAt).toISOString();
  return {
    txid: payment.txid,
    intent: "1".repeat(64),
    request: spendRequestHash(body),
    lineage: "2".repeat(64),
    wallet: body.wallet,
    state: "voting",
    reason: null,
    explanation: "Nodes are checking it and voting.",
    approvals: null,
    outputs: body.outputs.map(({ address, amountSats }) => ({ address, amountSats: amountSats.toString() })),
    amountSats: body.outputs.reduce((sum, { amountSats }) => sum + amountSats, 0n).toString(),
    feeSats: "210",
    maxFeeSats: body.maxFeeSats.toString(),
    createdAt: time,
    updatedAt: time,
    expiry: new Date(body.expiry).toISOString(),
    confirmedAt: null,
    confirmations: 0,
    blockHeight: null,
    rawTx: payment.rawTx,
    signers: [],
    votes: [],
    votingState: "Collecting",
    inputs: [],
    timingsMs: {},
    ...change,
  };
}
