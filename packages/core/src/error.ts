/**
 * Every reason for which Cairn refuses or fails, in one place. The message of an error is for people and says how to
 * mend it; programs read `code` and `data`.
 */
export const errorCodes = {
  // Shape of what came in
  malformed: { http: 400, exit: 2 },
  "not-canonical": { http: 400, exit: 2 },
  "too-large": { http: 413, exit: 2 },
  "unsupported-version": { http: 400, exit: 2 },
  "config-invalid": { http: 500, exit: 78 },
  "address-invalid": { http: 422, exit: 2 },
  "amount-invalid": { http: 422, exit: 2 },
  "descriptor-invalid": { http: 422, exit: 2 },
  "wrong-network": { http: 422, exit: 2 },
  // Who asks
  unauthenticated: { http: 401, exit: 77 },
  forbidden: { http: 403, exit: 77 },
  "rate-limited": { http: 429, exit: 75 },
  "signature-invalid": { http: 403, exit: 77 },
  "unknown-requester": { http: 403, exit: 77 },
  "unknown-approver": { http: 403, exit: 77 },
  "unsigned-request": { http: 403, exit: 77 },
  "operator-signature-missing": { http: 403, exit: 77 },
  // Replays and mismatches
  "wrong-cluster": { http: 422, exit: 2 },
  "wrong-wallet": { http: 422, exit: 2 },
  "wrong-manifest": { http: 409, exit: 75 },
  "wrong-policy": { http: 409, exit: 75 },
  "wrong-recipient": { http: 422, exit: 2 },
  replayed: { http: 409, exit: 1 },
  expired: { http: 422, exit: 1 },
  "not-yet-valid": { http: 422, exit: 75 },
  "clock-skew": { http: 422, exit: 75 },
  "idempotency-conflict": { http: 409, exit: 2 },
  // What the spend itself breaks
  "policy-denied": { http: 422, exit: 1 },
  "limit-exceeded": { http: 422, exit: 1 },
  "fee-too-high": { http: 422, exit: 1 },
  "insufficient-funds": { http: 422, exit: 1 },
  dust: { http: 422, exit: 2 },
  "psbt-invalid": { http: 422, exit: 2 },
  "coin-reserved": { http: 409, exit: 75 },
  "lineage-open": { http: 409, exit: 75 },
  "coin-spent": { http: 409, exit: 1 },
  "not-found": { http: 404, exit: 1 },
  "wrong-state": { http: 409, exit: 1 },
  // The cluster
  "quorum-missing": { http: 503, exit: 75 },
  "certificate-invalid": { http: 422, exit: 1 },
  "evidence-invalid": { http: 422, exit: 1 },
  "grant-invalid": { http: 422, exit: 1 },
  "grant-expired": { http: 422, exit: 1 },
  "not-member": { http: 403, exit: 77 },
  NodeBanned: { http: 403, exit: 77 },
  "rolled-back": { http: 409, exit: 74 },
  "double-vote": { http: 422, exit: 1 },
  "subset-invalid": { http: 422, exit: 1 },
  "not-initiator": { http: 422, exit: 1 },
  "session-conflict": { http: 409, exit: 75 },
  "peer-unreachable": { http: 503, exit: 75 },
  "peer-disagrees": { http: 502, exit: 1 },
  "handshake-failed": { http: 502, exit: 76 },
  timeout: { http: 504, exit: 75 },
  busy: { http: 503, exit: 75 },
  closed: { http: 503, exit: 75 },
  // Threshold engine
  "presignature-used": { http: 409, exit: 1 },
  "presignature-mismatch": { http: 409, exit: 1 },
  "sealed-blob-invalid": { http: 500, exit: 70 },
  "vault-locked": { http: 503, exit: 77 },
  "invalid-partial": { http: 502, exit: 70 },
  "invalid-round-message": { http: 502, exit: 70 },
  equivocation: { http: 502, exit: 70 },
  "signing-failed": { http: 502, exit: 70 },
  "keygen-failed": { http: 502, exit: 70 },
  "native-missing": { http: 500, exit: 69 },
  // Chain
  "chain-unavailable": { http: 503, exit: 75 },
  "chain-answer-invalid": { http: 502, exit: 76 },
  "chain-rejected": { http: 422, exit: 1 },
  // Storage and files
  "storage-locked": { http: 503, exit: 75 },
  "storage-corrupt": { http: 500, exit: 74 },
  "storage-full": { http: 507, exit: 74 },
  "storage-failed": { http: 500, exit: 74 },
  "schema-too-new": { http: 500, exit: 78 },
  "backup-incomplete": { http: 422, exit: 74 },
  "not-backed-up": { http: 409, exit: 75 },
  "audit-broken": { http: 500, exit: 74 },
  "file-mode": { http: 500, exit: 78 },
  "file-missing": { http: 500, exit: 78 },
  "file-exists": { http: 409, exit: 73 },
  "certificate-expired": { http: 403, exit: 78 },
  "certificate-refused": { http: 403, exit: 77 },
  internal: { http: 500, exit: 70 },
} as const satisfies Record<string, { http: number; exit: number }>;

export type ErrorCode = keyof typeof errorCodes;

/** Facts that go with an error: never secrets, never raw bytes of a peer. */
export type ErrorData = {
  readonly [key: string]: string | number | boolean | null | readonly (string | number)[];
};

/** The one error class of Cairn. */
export class CairnError extends Error {
  override readonly name = "CairnError";
  readonly code: ErrorCode;
  readonly data: ErrorData;

  /**
   * @param code from {@link errorCodes}
   * @param message for people: what is wrong and how to mend it
   * @param data facts for programs
   */
  constructor(code: ErrorCode, message: string, data: ErrorData = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.data = data;
  }
}

/** Whether `value` is a {@link CairnError}, of `code` where one is given. */
export function isCairnError(value: unknown, code?: ErrorCode): value is CairnError {
  return value instanceof CairnError && (code === undefined || value.code === code);
}
