import type { TransactionRow, TransactionState } from "@cairn/core";

const states: Record<TransactionState, string | null> = {
  pending: "It waits for voting to open at the nodes.",
  voting: "Nodes are checking it and voting.",
  approved: "A quorum approved it; signing waits for its time and its signers.",
  signing: "Signers are making the signatures together.",
  signed: "It is signed and about to be published.",
  broadcasting: "It is published and waits for a block.",
  confirmed: null,
  rejected: "So many nodes rejected it that no quorum can approve it any more.",
  expired: "The request's time ran out before it was settled.",
  failed: "It can no longer be paid: nodes gave it up, or another transaction took its coins.",
  replaced: "Another request of its lineage was paid in its place.",
  "aborted-byzantine": "Proven misbehaviour left no quorum of voters.",
  "aborted-timeout": "No quorum voted in time.",
};

const reasons: Readonly<Record<string, string>> = {
  // Of policy
  "per-transaction": "It pays more than policy allows in one transaction.",
  "rolling-24h": "Payments of the last 24 hours leave no room under the limit.",
  "per-destination-24h": "The recipient's limit for 24 hours leaves no room.",
  whitelist: "A recipient is not on the list of allowed addresses.",
  "fee-ceiling": "The fee is above what policy allows.",
  "fee-rate-ceiling": "The fee rate is above what policy allows.",
  "rate-limit": "Too many payments were asked for in a short time.",
  approvals: "Policy asks for approvals by people, and some are missing.",
  delay: "It waits for the time that policy holds payments back.",
  "policy-denied": "Policy does not allow it.",
  "limit-exceeded": "It goes beyond a limit of policy.",
  // Of coins and chain
  "coin-reserved": "Another spend holds its coins; it is tried again in the next round.",
  "lineage-open": "An earlier spend of the same lineage may still be paid.",
  displaced:
    "Another spend that wanted the same coins or limits went first. The same signed request, handed in again before it expires, is tried with other coins; so is a new one in its place (`cairn send --replaces REQUEST`). At most one of them is ever paid.",
  voided: "So many nodes gave it up that it can't be signed any more.",
  conflicted: "Another payment, six blocks deep, spent one of its coins.",
  "coin-spent": "Another transaction spends one of its coins.",
  "chain-unavailable": "The node's chain source can't be reached.",
  "chain-answer-invalid": "The node's chain source gives answers that contradict themselves.",
  "chain-rejected": "The chain source refuses the transaction; it is published again at the next look.",
  "psbt-invalid": "Its transaction breaks the rules for spends.",
  "fee-too-high": "It pays a higher fee than the request allows.",
  "not-found": "The node's chain source does not know one of its coins yet.",
  // Of request and cluster
  expired: "The request has expired.",
  "signature-invalid": "The owner's signature does not verify.",
  "unknown-requester": "The key that signed the request may not ask for spends.",
  "unsigned-request": "The request has no signature, and the manifest asks for one.",
  "wrong-manifest":
    "Operators have changed the manifest since it was asked for, and it could not be asked for so any more. Ask again.",
  "quorum-missing": "Too few nodes are up.",
  "peer-unreachable": "A signer can't be reached.",
  timeout: "A signer did not answer in time; the next attempt follows.",
};

/**
 * In words: why a transaction ended or what it waits for; null when it is done.
 * @param approvals those that policy asks for
 */
export function explainState(
  row: Pick<TransactionRow, "state" | "reason" | "certificate">,
  approvals: { readonly needed: number; readonly given: readonly string[] } | null = null,
): string | null {
  if (row.state === "pending" && approvals !== null && approvals.given.length < approvals.needed) {
    return `It waits for approvals by people: ${approvals.given.length} of ${approvals.needed} are there.`;
  }
  const state = states[row.state];
  const reason =
    row.reason === null || row.reason === row.state
      ? null
      : (reasons[row.reason] ??
        reasons[row.reason.replace(/^policy-/, "")] ??
        `The nodes give ${row.reason} as the reason.`);
  const undead =
    row.state === "expired" && row.certificate !== null
      ? "It may still confirm, since nodes may have released signatures; its coins stay reserved until that is ruled out."
      : null;
  const sentences = [state, reason, undead].filter((sentence) => sentence !== null);
  return sentences.length === 0 ? null : sentences.join(" ");
}
