import type { CairnError, NodeIndex, Signer } from "@cairn/core";
import {
  encodeSessionMessage,
  type NackCode,
  nackCodes,
  type Proposal,
  proposalHash,
  signMessage,
  subjectKey,
} from "@cairn/signing";
import type { Batch } from "./loop.ts";

/** Longest message that a Nack carries. */
const MAX_MESSAGE = 512;

/** Refuses a proposal with a signed reason, and records that it was refused. */
export function sendNack(
  batch: Batch,
  refusal: {
    readonly me: NodeIndex;
    readonly to: NodeIndex;
    readonly proposal: Proposal;
    readonly code: NackCode;
    readonly message: string;
  },
  signer: Signer,
): void {
  const { me, to, proposal, code, message } = refusal;
  const nack = signMessage(
    {
      kind: "nack",
      domain: "cairn/nack/v1",
      body: {
        version: 1,
        cluster: proposal.cluster,
        session: proposal.sessionId,
        node: me,
        proposalHash: proposalHash(proposal),
        code,
        message: message.slice(0, MAX_MESSAGE),
      },
    },
    signer,
  );
  batch.audit("proposal-refused", proposal.sessionId, { from: to, code, subject: subjectKey(proposal) });
  batch.send([to], {
    kind: "nack",
    session: proposal.sessionId,
    round: 0,
    payload: encodeSessionMessage(nack),
    trace: null,
  });
}

/** The Nack's code for an error of this node. */
export function nackCodeOf(error: CairnError): NackCode {
  return nackCodes.find((code) => code === error.code) ?? "wrong-state";
}
