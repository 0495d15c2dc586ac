/** Kept until the peer acknowledges them. */
const posted = [
  "intent",
  "approval",
  "vote",
  "void",
  "certificate",
  "final",
  "evidence",
  "keygen-request",
  "keygen-approval",
  "public-package",
  "wallet-signature",
  "presign-ready",
  "change",
  "change-vote",
  "change-commit",
  "checkpoint",
  "verified-backup",
] as const;

/** Sent at most once. */
const sent = [
  "deferral",
  "proposal",
  "ack",
  "nack",
  "start",
  "abort",
  "round",
  "partial",
  "finalize",
  "receipt",
  "fence-challenge",
  "fence-answer",
  "checkpoint-proposal",
  "checkpoint-signature",
  "sync-request",
  "sync-answer",
] as const;

/** Kinds of peer messages. Those in {@link postedKinds} are kept until acknowledged; the rest are sent at most once. */
export const messageKinds = [...posted, ...sent] as const;
export type MessageKind = (typeof messageKinds)[number];

export const postedKinds: ReadonlySet<MessageKind> = new Set<MessageKind>(posted);
