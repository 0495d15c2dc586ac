import { type Clock, type Manifest, memberOf, type NodeIndex } from "@cairn/core";
import type { AttemptSettings, ProposalFacts, SessionSubject } from "@cairn/signing";

/**
 * What a proposal of `from` about `subject` is judged against at this node, by whichever desk it concerns.
 * @throws CairnError `not-member`
 */
export function proposalFacts(
  options: {
    readonly me: NodeIndex;
    readonly manifest: Manifest;
    readonly protocolVersions: readonly number[];
    readonly attempts: AttemptSettings;
  },
  clock: Clock,
  from: NodeIndex,
  subject: SessionSubject,
): ProposalFacts {
  const { manifest, me, protocolVersions, attempts } = options;
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
