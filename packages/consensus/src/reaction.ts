import type { ErrorCode } from "@cairn/core";
import type { ViolationType } from "./evidence.ts";

/**
 * What a node does about a fault.
 * `retry`: may pass by itself, nobody is blamed. `reject`: refused for good, nobody is blamed. `penalise`: refused, and the
 * sender's standing (rate, health) falls. `exclude`: left out, of the next attempt or for a ban's term, by this node alone.
 * `ban`: banned by every node that checks the evidence.
 */
export type ReactionAction = "retry" | "reject" | "penalise" | "exclude" | "ban";

export interface Reaction {
  readonly action: ReactionAction;
  /** The running session of both, if any, ends. */
  readonly abortSession: boolean;
  /** How long `exclude` lasts: one attempt, a ban's term, or until the node has resynced. Null for the others. */
  readonly lasts: "attempt" | "term" | "resync" | null;
  /** Operators are told. */
  readonly alert: boolean;
}

const retry: Reaction = { action: "retry", abortSession: false, lasts: null, alert: false };
const reject: Reaction = { action: "reject", abortSession: false, lasts: null, alert: false };
const penalise: Reaction = { action: "penalise", abortSession: false, lasts: null, alert: false };
const rejectLoudly: Reaction = { ...reject, alert: true };
const retryLoudly: Reaction = { ...retry, alert: true };
const exclude = (lasts: "attempt" | "term" | "resync", alert: boolean): Reaction => ({
  action: "exclude",
  abortSession: true,
  lasts,
  alert,
});
const ban: Reaction = { action: "ban", abortSession: true, lasts: null, alert: true };

/** Errors, as a message of a peer's or a client's meets them. */
const onError: Readonly<Record<ErrorCode, Reaction>> = {
  malformed: penalise,
  "not-canonical": penalise,
  "too-large": penalise,
  "unsupported-version": reject,
  "config-invalid": reject,
  "address-invalid": reject,
  "amount-invalid": reject,
  "descriptor-invalid": reject,
  "wrong-network": reject,
  unauthenticated: reject,
  forbidden: reject,
  "rate-limited": penalise,
  "signature-invalid": penalise,
  "unknown-requester": reject,
  "unknown-approver": reject,
  "unsigned-request": reject,
  "operator-signature-missing": rejectLoudly,
  "wrong-cluster": penalise,
  "wrong-wallet": reject,
  "wrong-manifest": retry,
  "wrong-policy": retry,
  "wrong-recipient": penalise,
  replayed: reject,
  expired: reject,
  "not-yet-valid": retry,
  "clock-skew": retry,
  "idempotency-conflict": reject,
  "policy-denied": reject,
  "limit-exceeded": reject,
  "fee-too-high": reject,
  "insufficient-funds": reject,
  dust: reject,
  "psbt-invalid": reject,
  "coin-reserved": retry,
  "lineage-open": retry,
  "coin-spent": retry,
  "not-found": retry,
  "wrong-state": reject,
  "quorum-missing": retryLoudly,
  "certificate-invalid": penalise,
  "evidence-invalid": penalise,
  "grant-invalid": penalise,
  "grant-expired": reject,
  "not-member": penalise,
  NodeBanned: reject,
  "rolled-back": exclude("resync", true),
  "double-vote": rejectLoudly,
  "subset-invalid": penalise,
  "not-initiator": penalise,
  "session-conflict": retry,
  "peer-unreachable": retry,
  "peer-disagrees": exclude("attempt", true),
  "handshake-failed": retry,
  timeout: exclude("attempt", false),
  busy: retry,
  closed: retry,
  "presignature-used": reject,
  "presignature-mismatch": reject,
  "sealed-blob-invalid": rejectLoudly,
  "vault-locked": retryLoudly,
  "invalid-partial": exclude("attempt", true),
  "invalid-round-message": exclude("attempt", true),
  equivocation: exclude("attempt", true),
  "signing-failed": retry,
  "keygen-failed": rejectLoudly,
  "native-missing": rejectLoudly,
  "chain-unavailable": retry,
  "chain-answer-invalid": retryLoudly,
  "chain-rejected": rejectLoudly,
  "storage-locked": retry,
  "storage-corrupt": rejectLoudly,
  "storage-full": retryLoudly,
  "storage-failed": retryLoudly,
  "schema-too-new": rejectLoudly,
  "backup-incomplete": rejectLoudly,
  "not-backed-up": reject,
  "audit-broken": rejectLoudly,
  "file-mode": reject,
  "file-missing": reject,
  "file-exists": reject,
  "certificate-expired": retryLoudly,
  "certificate-refused": penalise,
  internal: rejectLoudly,
};

/** Violations whose evidence was proven (architecture §6). */
const onProven: Readonly<Record<ViolationType, Reaction>> = {
  DoubleVote: { ...ban, abortSession: false },
  MinorityVote: { ...ban, abortSession: false },
  Equivocation: ban,
  InvalidPartial: ban,
  FalseAccusation: { ...ban, abortSession: false },
  InvalidSignature: exclude("term", true),
  InvalidRoundMessage: exclude("attempt", true),
  Rollback: exclude("resync", true),
  Timeout: exclude("attempt", false),
};

/** The same where nobody else can check: never a ban. */
const onUnproven: Readonly<Record<ViolationType, Reaction>> = {
  ...onProven,
  DoubleVote: rejectLoudly,
  MinorityVote: rejectLoudly,
  Equivocation: exclude("attempt", true),
  InvalidPartial: exclude("attempt", true),
  FalseAccusation: rejectLoudly,
};

/** A fault: an error code, or a violation with whether its evidence is proven. */
export type Fault =
  | { readonly kind: "error"; readonly code: ErrorCode }
  | { readonly kind: "violation"; readonly type: ViolationType; readonly proven: boolean };

/** What to do about a fault: the one place where that is decided. */
export function reactionTo(fault: Fault): Reaction {
  if (fault.kind === "error") return onError[fault.code];
  return fault.proven ? onProven[fault.type] : onUnproven[fault.type];
}
