import type { TransactionDetail, TransactionView } from "@cairn/client";
import { btcText, satsText } from "../amount.ts";
import type { Output } from "../output.ts";

/** A transaction's outcome, where it has one that no longer changes by itself. */
export type Outcome = "confirmed" | "ended" | "open";

export function outcomeOf({ state }: TransactionView): Outcome {
  switch (state) {
    case "confirmed":
      return "confirmed";
    case "rejected":
    case "expired":
    case "failed":
    case "replaced":
    case "aborted-byzantine":
    case "aborted-timeout":
      return "ended";
    default:
      return "open";
  }
}

/** How the approvals that policy asks for stand: which are there, and which may still come. */
export function approvalsText({ needed, given, missing }: NonNullable<TransactionView["approvals"]>): string {
  const names = (keys: readonly string[]) => keys.map((key) => key.slice(0, 16)).join(", ");
  const there = `${given.length} of ${needed}${given.length === 0 ? "" : `: ${names(given)}`}`;
  return given.length >= needed || missing.length === 0 ? there : `${there}; not yet: ${names(missing)}`;
}

/** Prints a transaction for people. */
export function printTransaction(output: Output, transaction: TransactionView | TransactionDetail): void {
  output.facts([
    ["transaction", transaction.txid],
    ["state", transaction.state],
    ...(transaction.explanation === null ? [] : [["", transaction.explanation] as const]),
    ...transaction.outputs.map(
      ({ address, amountSats }) =>
        ["pays", `${btcText(BigInt(amountSats))} (${satsText(BigInt(amountSats))}) to ${address}`] as const,
    ),
    [
      "fee",
      `${satsText(BigInt(transaction.feeSats))} of at most ${satsText(BigInt(transaction.maxFeeSats))}`,
    ],
    ["request", transaction.request],
    ...(transaction.approvals === null ? [] : [["approvals", approvalsText(transaction.approvals)] as const]),
    ["created", transaction.createdAt],
    ["expires", transaction.expiry],
    ["confirmations", String(transaction.confirmations)],
    ...(transaction.blockHeight === null ? [] : [["block", String(transaction.blockHeight)] as const]),
  ]);
  if (!("votes" in transaction)) return;
  output.facts([
    ["voting", transaction.votingState],
    ["signers", transaction.signers.length === 0 ? "none yet" : transaction.signers.join(", ")],
  ]);
  if (transaction.votes.length === 0) return;
  output.line("");
  output.table(
    ["node", "round", "vote", "reason", "received"],
    transaction.votes.map((vote) => [
      String(vote.node),
      String(vote.round),
      vote.approve ? "yes" : "no",
      vote.reason ?? "",
      vote.receivedAt,
    ]),
  );
}
