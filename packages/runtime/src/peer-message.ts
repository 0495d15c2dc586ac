import type { PeerMessage } from "@cairn/core";

/** A message that belongs to no session. */
export function peerMessage(kind: PeerMessage["kind"], payload: Uint8Array): PeerMessage {
  return { kind, session: null, round: 0, payload, trace: null };
}
