import type { MessageKind, PeerMessage, SessionId } from "@cairn/core";

/** What a hostile node hands to its courier. */
export function hostileMessage(
  kind: MessageKind,
  payload: Uint8Array,
  session: SessionId | null = null,
): PeerMessage {
  return { kind, session, round: 0, payload, trace: null };
}
