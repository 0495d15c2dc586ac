import { type HashHex, verifySigned } from "@cairn/core";
import type { Ack } from "./ack.ts";
import { makesShares } from "./proposal.ts";
import type { SessionSetup } from "./session-state.ts";
import type { Start } from "./start.ts";

/** Why an Ack, which its signer signed, does not fit the session; or null. */
export function ackFault(setup: SessionSetup, proposalHash: HashHex, ack: Ack): string | null {
  if (ack.cluster !== setup.cluster || ack.session !== setup.proposal.sessionId) {
    return "the Ack is of another cluster or session";
  }
  if (ack.proposalHash !== proposalHash) return "the Ack is for another proposal";
  if ((ack.sealing !== null) !== makesShares(setup.proposal.purpose)) {
    return "a sealing key belongs to Acks of key generation and refresh, and only to them";
  }
  return null;
}

/**
 * Why a Start, which the initiator signed, must not begin the session; or null. All Acks must be on the one proposal that this node
 * acknowledged, one of each signer in ascending order, this node's own word among them unaltered.
 */
export function startFault(setup: SessionSetup, proposalHash: HashHex, start: Start): string | null {
  const { proposal, identities, me } = setup;
  if (start.proposalHash !== proposalHash)
    return "the Start is for another proposal than this node acknowledged";
  if (start.acks.map((ack) => ack.body.node).join() !== proposal.signers.join()) {
    return "the Start does not carry one Ack of each signer in ascending order";
  }
  for (const ack of start.acks) {
    const fault = ackFault(setup, proposalHash, ack.body);
    if (fault !== null) return fault;
    const key = identities.get(ack.body.node);
    if (key === undefined || !verifySigned("cairn/ack/v1", ack, key)) {
      return `the Ack of node ${ack.body.node} in the Start is not signed by it`;
    }
    if (ack.body.node === me && (ack.body.nonce !== setup.nonce || ack.body.sealing !== setup.sealing)) {
      return "the Start carries another Ack than this node gave";
    }
  }
  return null;
}
