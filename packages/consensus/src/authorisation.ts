import type { UnixMs } from "@cairn/core";
import type { Certificate } from "./certificate.ts";
import { type Grant, type GrantFacts, verifyGrant } from "./grant.ts";

/** What this node holds in favour of a grant. */
export interface GrantEvidence extends GrantFacts {
  readonly certificate: Certificate | null;
}

/** Who may cause a signature (architecture §1): asked by every node before it opens or joins a signing session. */
export interface Authorisation {
  /** @throws CairnError with what the grant lacks; see {@link verifyGrant} */
  check(grant: Grant, evidence: GrantEvidence, now: UnixMs): void;
}

/** A certificate of a quorum of nodes. A manifest that demands a policy engine is not satisfied by it. */
export const quorumAuthorisation: Authorisation = {
  check(grant, { certificate, ...facts }, now) {
    verifyGrant(grant, facts, { certificate, engines: [] }, now);
  },
};
