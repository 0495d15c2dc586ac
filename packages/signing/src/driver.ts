import type { NodeIndex, UnixMs } from "@cairn/core";
import {
  type AttemptLedger,
  judgeProposal,
  type ProposalFacts,
  type ProposalVerdict,
} from "./attempt-ledger.ts";
import {
  type AttemptDecision,
  type AttemptPlan,
  type AttemptSettings,
  decideAttempt,
} from "./attempt-plan.ts";
import type { SignedProposal } from "./proposal.ts";
import type { SessionSubject } from "./session-subject.ts";

/**
 * Who opens and paces sessions (architecture §1). It never says what may be signed: each node checks that for itself, whoever drives.
 */
export interface Driver {
  /** What this node does now for a subject: propose, wait, or give up. */
  decide(
    plan: AttemptPlan,
    subject: SessionSubject,
    facts: {
      readonly me: NodeIndex;
      readonly now: UnixMs;
      readonly up: ReadonlySet<NodeIndex>;
      readonly settings: AttemptSettings;
    },
  ): AttemptDecision;
  /** Whether this node may take part in what somebody proposes. */
  judge(ledger: AttemptLedger, signed: SignedProposal, facts: ProposalFacts): ProposalVerdict;
}

/** Peer to peer: the initiator of each attempt follows from the subject (architecture §5.5). */
export const initiatorDriver: Driver = { decide: decideAttempt, judge: judgeProposal };
