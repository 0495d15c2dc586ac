import { type NodeIndex, nodeIndexSchema } from "@cairn/core";
import { noLimits } from "../src/cluster-plan.ts";
import type { Operation, Scenario } from "../src/scenario.ts";

export const node = (index: number): NodeIndex => nodeIndexSchema.parse(index);

/** A request at node 1, of wallet 0 (FROST) or 1 (ECDSA). */
export function payment(
  at: number,
  id: number,
  change: Partial<Extract<Operation, { op: "pay" }>> = {},
): Operation {
  return {
    at,
    op: "pay",
    id,
    node: node(1),
    wallet: 0,
    recipient: 0,
    sats: 100_000,
    lifeMs: 40_000,
    replaces: null,
    ...change,
  };
}

/** Two coins in each wallet, nobody hostile, and these operations. */
export function quietScenario(operations: readonly Operation[], change: Partial<Scenario> = {}): Scenario {
  const coins = [0, 1].flatMap((wallet) =>
    [0, 1].map((index): Operation => ({ at: 0, op: "deposit", wallet, index, sats: 500_000 })),
  );
  return {
    seed: 1,
    limits: noLimits,
    hostile: null,
    keys: true,
    operations: [...coins, { at: 0, op: "mine", blocks: 1 }, ...operations],
    healAt: 8_000,
    ...change,
  };
}
