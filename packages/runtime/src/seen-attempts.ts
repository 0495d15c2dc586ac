import type { NodeStore, SessionRow, UnixMs } from "@cairn/core";
import { type AttemptLedger, restoreLedger } from "@cairn/signing";

/** How long a subject's attempts are remembered after a restart: the longest life of a request. */
const SUBJECT_LIFE_MS = 8 * 24 * 60 * 60 * 1000;

/** Check intervals for which a presign job may be valid. */
const PRESIGN_SLOTS = 3;

/**
 * The attempts at keys and presign jobs that this node saw before it started. Those at a grant are looked up where it is to be signed.
 * @param presignSlotMs check interval of presignatures, in milliseconds
 */
export async function seenAttempts(
  store: Pick<NodeStore, "sessions">,
  now: UnixMs,
  presignSlotMs: number,
): Promise<AttemptLedger> {
  const ago = (time: number) => (now - time) as UnixMs;
  return ledgerOf([
    ...(await store.sessions({ purpose: "keygen", since: ago(SUBJECT_LIFE_MS) })),
    ...(await store.sessions({ purpose: "refresh", since: ago(SUBJECT_LIFE_MS) })),
    ...(await store.sessions({ purpose: "presign", since: ago(PRESIGN_SLOTS * presignSlotMs) })),
  ]);
}

/** The ledger of stored sessions. */
export function ledgerOf(sessions: readonly SessionRow[]): AttemptLedger {
  return restoreLedger(
    sessions.map(({ subject, attempt, startedAt }) => ({
      key: subject,
      attempt,
      expiry: startedAt + SUBJECT_LIFE_MS,
    })),
  );
}
