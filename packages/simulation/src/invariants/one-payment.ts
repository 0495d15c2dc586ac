import type { IntentHash } from "@cairn/core";
import type { Invariant } from "../invariant.ts";
import type { World } from "../world.ts";

/** Of a request, and of all that it replaces, at most one transaction can ever confirm; and what is dead is never signed. */
export function onePayment(): Invariant {
  const judged = new Set<IntentHash>();
  return {
    name: "one-payment",
    see(world) {
      for (const intent of world.signed.keys()) {
        if (judged.has(intent)) continue;
        const wrong = second(world, intent, judged);
        judged.add(intent);
        if (wrong !== null) return wrong;
      }
      return null;
    },
    end(world) {
      for (const node of world.plan.members) {
        if (!world.honest(node)) continue;
        for (const intent of world.disk(node).dead) {
          if (world.signed.has(intent)) return `node ${node} holds ${intent} for dead, and it was signed`;
        }
      }
      return null;
    },
  };
}

/** A signed transaction beside another that could confirm as well. */
function second(world: World, intent: IntentHash, judged: ReadonlySet<IntentHash>): string | null {
  const one = world.intents.get(intent);
  if (one === undefined) return null;
  for (const other of judged) {
    const two = world.intents.get(other);
    if (two === undefined || two.txid === one.txid) continue;
    const share = two.outpoints.some((outpoint) => one.outpoints.includes(outpoint));
    if (two.lineage === one.lineage && !share)
      return `request ${one.request} can be paid twice: ${one.txid} and ${two.txid} share no coin`;
    if (two.lineage !== one.lineage && share)
      return `${one.txid} and ${two.txid} of different requests spend one coin`;
  }
  return null;
}
