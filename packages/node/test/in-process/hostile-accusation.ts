import { type Accusation, type Evidence, signAccusation } from "@cairn/consensus";
import { encodeCanonical, type PeerMessage } from "@cairn/core";
import { hostileMessage } from "./hostile-message.ts";
import type { HostileScene } from "./hostile-scene.ts";

/** The hostile node's word, or by `change` what it says is another's, that the evidence proves its fault. */
export function hostileAccusation(
  { cluster, hostile }: HostileScene,
  evidence: Evidence,
  change: Partial<Accusation> = {},
): PeerMessage {
  const body: Accusation = {
    version: 1,
    cluster: cluster.manifest.cluster,
    accuser: hostile.index,
    evidence,
    ...change,
  };
  const accusation = signAccusation(body, cluster.signerOf(body.accuser));
  return hostileMessage("evidence", encodeCanonical(accusation));
}
