import type { IntentHash, NodeIndex } from "@cairn/core";
import type { Invariant } from "../invariant.ts";

/** What was acknowledged, to a client, to a peer or to the node itself, is there after every restart. */
export function nothingForgotten(): Invariant {
  const acknowledged: { readonly node: NodeIndex; readonly intent: IntentHash }[] = [];
  const refused = new Set<string>();
  return {
    name: "nothing-forgotten",
    see(world, event) {
      if (event.kind === "acknowledged" && world.honest(event.node)) {
        acknowledged.push({ node: event.node, intent: event.row.intent });
        if (!world.disk(event.node).states.has(event.row.intent))
          return `node ${event.node} acknowledged ${event.row.intent} before it was on its disk`;
      }
      if (event.kind !== "committed" || !world.honest(event.node)) return null;
      for (const write of event.writes) {
        if (write.write === "audit" && write.row.kind === "message-refused") refused.add(String(event.node));
        if (write.write !== "outbox-done" || !world.honest(write.to)) continue;
        const [kind, intent] = write.id.split("/");
        if (kind !== "intent" || intent === undefined || refused.has(String(write.to))) continue;
        if (!world.lost.has(write.to) && !world.disk(write.to).states.has(intent as IntentHash))
          return `node ${write.to} said to node ${event.node} that it holds ${intent}, and does not`;
      }
      return null;
    },
    restarted(world, { node, intents, approvals, certified, burned, bans }) {
      // What a node that lost its database comes to know again is judged at the end.
      if (!world.honest(node) || world.lost.has(node)) return null;
      const disk = world.disk(node);
      for (const intent of disk.states.keys()) {
        if (!intents.has(intent)) return `node ${node} forgot intent ${intent}`;
      }
      for (const [intent, rounds] of disk.approvals) {
        for (const round of rounds) {
          if (!approvals.has(`${intent}/${round}`)) return `node ${node} forgot its approval of ${intent}`;
        }
      }
      for (const intent of disk.certified) {
        if (!certified.has(intent)) return `node ${node} forgot the certificate of ${intent}`;
      }
      for (const presignature of disk.burned.keys()) {
        if (!burned.has(presignature)) return `node ${node} forgot that it burned ${presignature}`;
      }
      for (const ban of disk.bans) if (!bans.has(ban)) return `node ${node} forgot the ban ${ban}`;
      return null;
    },
    end(_, { rows }) {
      for (const { node, intent } of acknowledged) {
        for (const [other, own] of rows) {
          if (!own.some((row) => row.intent === intent))
            return `node ${node} acknowledged ${intent}, and node ${other} never learned of it`;
        }
      }
      return null;
    },
  };
}
