import type { GrantId, NodeStore, SessionRow, UnixMs } from "@cairn/core";
import { type AttemptLedger, restoreLedger } from "@cairn/signing";

/** How long a subject's attempts are remembered after a restart: the longest life of a request. */
const SUBJECT_LIFE_MS = 8 * 24 * 60 * 60 * 1000;

/** Check intervals for which a presign job may be valid. */
const PRESIGN_SLOTS = 3;

/**
 * The attempts that this node saw before it started, at all that may still be attempted: keys, presign jobs, and the grants named.
 * @param presignSlotMs check interval of presignatures, in milliseconds
 */
export async function seenAttempts(
  store: Pick<NodeStore, "sessions">,
  grants: readonly GrantId[],
  now: UnixMs,
  presignSlotMs: number,
): Promise<AttemptLedger> {
  const ago = (time: number) => (now - time) as UnixMs;
  const found: SessionRow[] = [
    ...(await store.sessions({ purpose: "keygen", since: ago(SUBJECT_LIFE_MS) })),
    ...(await store.sessions({ purpose: "refresh", since: ago(SUBJECT_LIFE_MS) })),
    ...(await store.sessions({ purpose: "presign", since: ago(PRESIGN_SLOTS * presignSlotMs) })),
  ];
  for (const subject of grants) found.push(...(await store.sessions({ subject })));
  return restoreLedger(
    found.map(({ subject, attempt, startedAt }) => ({
      key: subject,
      attempt,
      expiry: startedAt + SUBJECT_LIFE_MS,
    })),
  );
}
