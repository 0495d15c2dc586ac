import { type Clock, memberOf, type NodeIndex } from "@cairn/core";
import type { ProposalFacts, SessionSubject } from "@cairn/signing";
import type { AttemptDeskOptions } from "./attempt-desk.ts";

/**
 * What a proposal of `from` about `subject` is judged against at this node, by whichever desk it concerns.
 * @throws CairnError `not-member`
 */
export function proposalFacts(
  options: Pick<AttemptDeskOptions, "me" | "book" | "protocolVersions" | "attempts">,
  clock: Clock,
  from: NodeIndex,
  subject: SessionSubject,
): ProposalFacts {
  const { me, protocolVersions, attempts } = options;
  const { manifest } = options.book;
  return {
    cluster: manifest.cluster,
    me,
    now: clock.now(),
    from,
    fromKey: memberOf(manifest, from).identity,
    subject,
    protocolVersions,
    slotMs: attempts.slotMs,
  };
}
