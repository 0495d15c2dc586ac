import { parseTransaction } from "@cairn/bitcoin";
import type { IntentHash } from "@cairn/core";
import type { Invariant } from "../invariant.ts";
import type { World } from "../world.ts";

/** No honest node signs, and no signature is seen, before t nodes have approved durably and the signer holds the proof. */
export function certificateBeforeSignature(): Invariant {
  const uncertified = (world: World, intent: IntentHash, what: string): string | null => {
    const found = world.approvals(intent);
    const needed = world.plan.manifest.threshold;
    return found >= needed ? null : `${what} of ${intent} with ${found} approvals of ${needed}`;
  };
  return {
    name: "certificate-before-signature",
    see(world, event) {
      switch (event.kind) {
        case "engine-started": {
          const { node, spec } = event;
          if (!world.honest(node) || !spec.kind.endsWith("-sign")) return null;
          if (world.disk(node).keygens.has(spec.executionId)) return null;
          const intent = world.signedBy(node, spec.executionId);
          if (intent === null) return `node ${node} signs in an execution that it did not record`;
          if (!world.disk(node).certified.has(intent))
            return `node ${node} signs ${intent} without holding a certificate`;
          return uncertified(world, intent, `node ${node} makes a signature`);
        }
        case "partial-issued": {
          const { node, input } = event;
          if (!world.honest(node) || !world.disk(node).burned.has(input.receipt.presignatureId)) return null;
          const intent = world.burnedFor(node, input.receipt.presignatureId);
          if (intent === null) return `node ${node} issues a partial from a presignature burned for no spend`;
          if (!world.disk(node).certified.has(intent))
            return `node ${node} issues a partial for ${intent} without holding a certificate`;
          return uncertified(world, intent, `node ${node} issues a partial`);
        }
        case "signatures": {
          const intent = world.signedBy(event.node, event.spec.executionId);
          return intent === null ? null : uncertified(world, intent, "a signature");
        }
        case "broadcast": {
          const { txid } = parseTransaction(event.raw);
          const intent = world.intentOf(txid);
          if (intent !== null) return uncertified(world, intent, "a broadcast transaction");
          return world.honest(event.node) ? `node ${event.node} broadcast ${txid}, which is no intent` : null;
        }
        default:
          return null;
      }
    },
  };
}
