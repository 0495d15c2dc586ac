import type { ErrorCode } from "@cairn/core";

/**
 * Codes that make a node reject an intent: static faults, which every honest node finds for ever, and final decisions of policy.
 * Everything else (conflict, lag, a source that is down, another manifest) defers.
 */
const rejecting: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "malformed",
  "not-canonical",
  "too-large",
  "wrong-cluster",
  "wrong-network",
  "wrong-wallet",
  "wrong-recipient",
  "unsigned-request",
  "unknown-requester",
  "signature-invalid",
  "address-invalid",
  "amount-invalid",
  "descriptor-invalid",
  "psbt-invalid",
  "dust",
  "fee-too-high",
  "policy-denied",
  "limit-exceeded",
  "replayed",
  "expired",
]);

/** Whether a node that meets `code` while it checks an intent rejects it or waits for the next round. */
export function verdictKind(code: ErrorCode): "reject" | "defer" {
  return rejecting.has(code) ? "reject" : "defer";
}
