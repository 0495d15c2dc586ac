import type { IntentHash, LineageId, NodeIndex } from "@cairn/core";
import type { Invariant } from "../invariant.ts";
import type { KnownIntent, World } from "../world.ts";

interface Held {
  amountSats: bigint;
  at: number;
  readonly intents: Set<IntentHash>;
}

/** Clocks of nodes are at most this far from each other, so windows are judged so much shorter. */
const SKEW_MS = 10_000;

/**
 * No honest node approves more than its policy allows, counted anew from what it voted for; and what is signed of all requests together
 * is not more than honest nodes could approve so.
 */
export function limitsHold(): Invariant {
  const held = new Map<NodeIndex, Map<LineageId, Held>>();
  const paid = new Map<LineageId, bigint>();
  const judged = new Set<IntentHash>();
  return {
    name: "limits-hold",
    see(world, event) {
      if (event.kind === "committed" && world.honest(event.node)) {
        for (const write of event.writes) {
          if (write.write !== "vote" || write.row.voter !== event.node || !write.row.approve) continue;
          const intent = world.intents.get(write.row.intent);
          if (intent === undefined) continue;
          const own = held.get(event.node) ?? new Map<LineageId, Held>();
          held.set(event.node, own);
          const wrong = approve(world, event.node, own, intent);
          if (wrong !== null) return wrong;
        }
      }
      return overpaid(world, judged, paid);
    },
  };
}

function approve(
  world: World,
  node: NodeIndex,
  own: Map<LineageId, Held>,
  intent: KnownIntent,
): string | null {
  const { policy } = world.plan;
  const entry = own.get(intent.lineage) ?? { amountSats: 0n, at: world.now, intents: new Set<IntentHash>() };
  if (intent.countsSats > entry.amountSats) entry.amountSats = intent.countsSats;
  // A vote in a later round reserves nothing anew.
  if (!entry.intents.has(intent.hash)) entry.at = world.now;
  entry.intents.add(intent.hash);
  own.set(intent.lineage, entry);
  const { dead } = world.disk(node);
  const live = [...own.values()].filter(({ intents }) => ![...intents].every((hash) => dead.has(hash)));
  const perTransaction = policy.perTransactionMaxSats;
  if (perTransaction !== null && intent.paysSats > perTransaction)
    return `node ${node} approved ${intent.paysSats} sat in one transaction; the limit is ${perTransaction}`;
  const sum = live.reduce((total, { amountSats }) => total + amountSats, 0n);
  const rolling = policy.rolling24hMaxSats;
  if (rolling !== null && sum > rolling)
    return `node ${node} approved ${sum} sat in 24 hours; the limit is ${rolling}`;
  const rate = policy.rateLimit;
  if (rate !== null && rate.windowMs > SKEW_MS) {
    const recent = live.filter(({ at }) => at > world.now - rate.windowMs + SKEW_MS).length;
    if (recent > rate.count)
      return `node ${node} approved ${recent} requests in ${rate.windowMs} ms; the limit is ${rate.count}`;
  }
  return null;
}

/** What was signed of all requests against what honest nodes together may approve in 24 hours. */
function overpaid(world: World, judged: Set<IntentHash>, paid: Map<LineageId, bigint>): string | null {
  for (const hash of world.signed.keys()) {
    const intent = world.intents.get(hash);
    if (intent === undefined || judged.has(hash)) continue;
    judged.add(hash);
    const before = paid.get(intent.lineage) ?? 0n;
    paid.set(intent.lineage, intent.countsSats > before ? intent.countsSats : before);
  }
  const limit = world.plan.policy.rolling24hMaxSats;
  if (limit === null) return null;
  const sum = [...paid.values()].reduce((total, amount) => total + amount, 0n);
  // Quorums of different payments need not share an honest node: each payment takes t − f honest approvals out of (n − f) limits.
  const { members, manifest } = world.plan;
  const liars = world.hostile === null ? 0 : 1;
  const honest = BigInt(members.length - liars);
  const each = BigInt(manifest.threshold - liars);
  if (sum * each <= limit * honest) return null;
  return `${sum} sat were signed in 24 hours; ${honest} honest nodes with a limit of ${limit} each can't approve so much`;
}
