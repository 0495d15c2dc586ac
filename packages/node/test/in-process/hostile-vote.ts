import { signVote, type Vote } from "@cairn/consensus";
import { encodeCanonical, type IntentHash, manifestHash, type PeerMessage } from "@cairn/core";
import { hostileMessage } from "./hostile-message.ts";
import type { HostileScene } from "./hostile-scene.ts";

/** The hostile node's vote for an intent, whatever its own code thinks of it: an approval in the first round, but for `change`. */
export function hostileVote(
  scene: HostileScene,
  intentHash: IntentHash,
  change: Partial<Vote> = {},
): PeerMessage {
  const { cluster, hostile } = scene;
  const vote = signVote(
    {
      version: 1,
      cluster: cluster.manifest.cluster,
      manifestHash: manifestHash(cluster.manifest),
      intentHash,
      round: 1,
      voter: hostile.index,
      approve: true,
      reason: null,
      ...change,
    },
    cluster.signerOf(hostile.index),
  );
  return hostileMessage("vote", encodeCanonical(vote));
}
