import { requiredApprovals } from "@cairn/policy";
import type { Invariant } from "../invariant.ts";
import type { KnownIntent, World } from "../world.ts";

/** No honest node votes for a payment before the approvals that policy asks for are on its disk, and nothing is signed before they exist. */
export function approvalsBeforeVote(): Invariant {
  const judged = new Set<string>();
  return {
    name: "approvals-before-vote",
    see(world, event) {
      if (event.kind === "committed" && world.honest(event.node)) {
        const { node } = event;
        for (const write of event.writes) {
          if (write.write !== "vote" || write.row.voter !== node || !write.row.approve) continue;
          const wrong = unapproved(world, world.intents.get(write.row.intent), [node]);
          if (wrong !== null) return `node ${node} votes for ${wrong}`;
        }
      }
      for (const hash of world.signed.keys()) {
        if (judged.has(hash)) continue;
        judged.add(hash);
        const honest = world.plan.members.filter((node) => world.honest(node));
        const wrong = unapproved(world, world.intents.get(hash), honest);
        if (wrong !== null) return `somebody signed ${wrong}`;
      }
      return null;
    },
  };
}

/** What is missing on the disks of `nodes` together, or null. */
function unapproved(
  world: World,
  intent: KnownIntent | undefined,
  nodes: World["plan"]["members"],
): string | null {
  if (intent === undefined) return null;
  const required = requiredApprovals(world.plan.policy, { outputs: intent.destinations });
  if (required === null) return null;
  const given = required.keys.filter((key) =>
    nodes.some((node) => world.disk(node).consents.get(intent.request)?.has(key) === true),
  );
  if (given.length >= required.m) return null;
  return `${intent.hash}, which ${given.length} of ${required.m} people approved`;
}
