import { type DomainTag, type NodeIndex, type Signed, verifySigned } from "@cairn/core";
import type { SessionMessage } from "./session-message.ts";
import type { SessionEffect, SessionSetup } from "./session-state.ts";

/**
 * Whether `signed` is of this session and really `from`'s own word.
 * @returns null, or the effects of refusing it
 */
export function authenticityFault(
  setup: SessionSetup,
  from: NodeIndex,
  kind: SessionMessage["kind"],
  domain: DomainTag,
  signed: Signed<{ readonly cluster: string; readonly session: string }>,
  author: NodeIndex,
): readonly SessionEffect[] | null {
  if (signed.body.cluster !== setup.cluster) {
    return [refusal(from, kind, "wrong-cluster", "the message is of another cluster")];
  }
  if (signed.body.session !== setup.proposal.sessionId) {
    return [refusal(from, kind, "session-conflict", "the message is of another session")];
  }
  const key = setup.identities.get(author);
  if (author !== from || key === undefined) {
    return [refusal(from, kind, "not-member", "the message names another author than its sender")];
  }
  if (!verifySigned(domain, signed, key)) {
    return [
      { effect: "violation", violation: "InvalidSignature", node: from, kind },
      refusal(from, kind, "signature-invalid", "the message's inner signature does not verify"),
    ];
  }
  return null;
}

/** A message dropped, with the reason. */
export function refusal(
  from: NodeIndex,
  kind: SessionMessage["kind"],
  code: Extract<SessionEffect, { readonly effect: "refused" }>["code"],
  message: string,
): SessionEffect {
  return { effect: "refused", from, kind, code, message };
}
