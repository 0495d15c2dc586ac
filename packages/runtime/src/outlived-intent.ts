import type { Intent } from "@cairn/consensus";
import { type Manifest, spendQuorum } from "@cairn/core";

/**
 * Whether an intent made under a former manifest may not be voted for any more under the one in force: its owner may not ask for spends
 * now, anchors are not allowed any more, or more nodes or a longer wait are asked for than its own manifest does. Policy is another matter: the one in force always judges.
 */
export function isOutlived({ request, anchor }: Intent, former: Manifest, current: Manifest): boolean {
  const allowed =
    request.signature === null
      ? current.unsignedRequests
      : current.requesters.includes(request.body.requester);
  return (
    !allowed ||
    (anchor !== null && !current.checkpointAnchors) ||
    spendQuorum(current) > spendQuorum(former) ||
    current.policyDelayMs > former.policyDelayMs
  );
}
