import { signVote, type Vote } from "@cairn/consensus";
import { encodeCanonical, type IntentHash, manifestHash, type PeerMessage } from "@cairn/core";
import { hostileMessage } from "./hostile-message.ts";
import type { Liar } from "./liar.ts";

/** The liar's vote for an intent, whatever its own code thinks of it: an approval in the first round, but for `change`. */
export function hostileVote(
  { hostile, manifest, signer }: Liar,
  intentHash: IntentHash,
  change: Partial<Vote> = {},
): PeerMessage {
  const vote = signVote(
    {
      version: 1,
      cluster: manifest.cluster,
      manifestHash: manifestHash(manifest),
      intentHash,
      round: 1,
      voter: hostile.index,
      approve: true,
      reason: null,
      ...change,
    },
    signer,
  );
  return hostileMessage("vote", encodeCanonical(vote));
}
