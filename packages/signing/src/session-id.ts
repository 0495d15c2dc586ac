import { bodyHash, type ExecutionId, type NodeIndex, type Nonce, type SessionId } from "@cairn/core";
import type { Proposal } from "./proposal.ts";

/** Names an attempt: routes and dedupes its messages. Two proposals of one attempt with the same signers share it. */
export function sessionIdOf(
  attempt: Pick<
    Proposal,
    "cluster" | "purpose" | "subject" | "stage" | "attempt" | "signers" | "protocolVersion"
  >,
): SessionId {
  const { cluster, purpose, subject, stage, signers, protocolVersion } = attempt;
  return bodyHash<SessionId>("cairn/session/v1", {
    cluster,
    purpose,
    subject,
    stage,
    attempt: attempt.attempt,
    signers,
    protocolVersion,
  });
}

/**
 * Names one execution of a multi-party protocol. Every signer adds a fresh nonce, so that none of them alone, nor an initiator who
 * repeats himself, can bring an execution about twice.
 * @param acks of all signers, ascending
 */
export function executionIdOf(
  session: SessionId,
  acks: readonly { readonly node: NodeIndex; readonly nonce: Nonce }[],
): ExecutionId {
  return bodyHash<ExecutionId>("cairn/execution/v1", {
    session,
    nonces: acks.map(({ node, nonce }) => ({ node, nonce })),
  });
}
