import { type Accusation, type Evidence, signAccusation } from "@cairn/consensus";
import { encodeCanonical, type PeerMessage } from "@cairn/core";
import { hostileMessage } from "./hostile-message.ts";
import type { Liar } from "./liar.ts";

/** The liar's word, or by `change` what it says is another's, that the evidence proves its fault. */
export function hostileAccusation(
  { hostile, manifest, signer }: Liar,
  evidence: Evidence,
  change: Partial<Accusation> = {},
): PeerMessage {
  const body: Accusation = {
    version: 1,
    cluster: manifest.cluster,
    accuser: hostile.index,
    evidence,
    ...change,
  };
  return hostileMessage("evidence", encodeCanonical(signAccusation(body, signer)));
}
