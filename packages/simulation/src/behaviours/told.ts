import { signVote, type Vote } from "@cairn/consensus";
import {
  encodeCanonical,
  type IntentHash,
  type MessageKind,
  manifestHash,
  type PeerMessage,
  type SessionId,
} from "@cairn/core";
import type { Stage } from "./behaviour.ts";

/** A message of a kind, outside of rounds. */
export function messageOf(
  kind: MessageKind,
  payload: Uint8Array,
  session: SessionId | null = null,
): PeerMessage {
  return { kind, session, round: 0, payload, trace: null };
}

/** A vote that the hostile node really signed. */
export function voteOf(stage: Stage, intent: IntentHash, change: Partial<Vote> = {}): PeerMessage {
  const { manifest } = stage.plan;
  const vote = signVote(
    {
      version: 1,
      cluster: manifest.cluster,
      manifestHash: manifestHash(manifest),
      intentHash: intent,
      round: 1,
      voter: stage.hostile.index,
      approve: true,
      reason: null,
      ...change,
    },
    stage.signer,
  );
  return messageOf("vote", encodeCanonical(vote));
}

/** Another byte at `at` from the end. */
export function bent(bytes: Uint8Array, at = 1): Uint8Array {
  const copy = new Uint8Array(bytes);
  const place = Math.max(0, copy.length - at);
  if (copy.length > 0) copy[place] = (copy[place] ?? 0) ^ 1;
  return copy;
}
