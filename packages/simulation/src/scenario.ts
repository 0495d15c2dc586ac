import type { NodeIndex, Sats } from "@cairn/core";
import type { MemoryFault } from "@cairn/storage";
import { type BehaviourName, behaviourNames } from "./behaviours/index.ts";
import { approvers, type Limits, noLimits } from "./cluster-plan.ts";
import { SeededRandom } from "./seeded-random.ts";

/** What befalls every frame on its way. */
export interface Weather {
  readonly loss: number;
  readonly duplicates: number;
  /** Share of frames that are held back, so that later ones of the same pair overtake them. */
  readonly overtaken: number;
  readonly slowestMs: number;
}

interface Moment {
  /** Milliseconds from the beginning. */
  readonly at: number;
}

/** One thing that the world does to the cluster. */
export type Operation = Moment &
  (
    | { readonly op: "deposit"; readonly wallet: number; readonly index: number; readonly sats: number }
    | {
        readonly op: "pay";
        readonly id: number;
        readonly node: NodeIndex;
        readonly wallet: number;
        readonly recipient: number;
        readonly sats: number;
        readonly lifeMs: number;
        /** The payment that this one replaces, or null. */
        readonly replaces: number | null;
      }
    /** The same request again, at another node. */
    | { readonly op: "pay-again"; readonly id: number; readonly node: NodeIndex }
    /** A person's approval of payment `id`. */
    | { readonly op: "approve"; readonly id: number; readonly approver: number; readonly node: NodeIndex }
    | { readonly op: "make-key"; readonly node: NodeIndex; readonly protocol: "frost" | "cggmp24" }
    | { readonly op: "mine"; readonly blocks: number }
    | { readonly op: "reorganise"; readonly depth: number }
    | { readonly op: "evict" }
    | { readonly op: "crash"; readonly node: NodeIndex; readonly restartMs: number }
    | { readonly op: "stop"; readonly node: NodeIndex; readonly restartMs: number }
    | {
        readonly op: "disk";
        readonly node: NodeIndex;
        readonly fault: MemoryFault;
        readonly in: number;
        readonly times: number;
        readonly restartMs: number;
      }
    /** The node's database is gone; it starts from a backup of the beginning. */
    | { readonly op: "lose"; readonly node: NodeIndex; readonly restartMs: number }
    | { readonly op: "slow-disks"; readonly delayMs: number }
    | { readonly op: "partition"; readonly groups: readonly (readonly NodeIndex[])[] }
    | { readonly op: "sever"; readonly a: NodeIndex; readonly b: NodeIndex }
    | { readonly op: "mute"; readonly from: NodeIndex; readonly to: NodeIndex }
    | { readonly op: "heal-network" }
    | { readonly op: "weather"; readonly weather: Weather }
    | { readonly op: "chain-down"; readonly node: NodeIndex; readonly down: boolean }
    | { readonly op: "skew"; readonly node: NodeIndex; readonly skewMs: number }
    | { readonly op: "lie"; readonly behaviour: BehaviourName }
  );

/** A whole run: everything in it follows from the seed. */
export interface Scenario {
  readonly seed: number;
  readonly limits: Limits;
  readonly hostile: NodeIndex | null;
  /** Whether keys exist at the beginning; otherwise operations make them. */
  readonly keys: boolean;
  readonly operations: readonly Operation[];
  /** From here on nothing fails any more; only a hostile node goes on lying. */
  readonly healAt: number;
}

export const calm: Weather = { loss: 0, duplicates: 0, overtaken: 0, slowestMs: 40 };

const NODES = [1, 2, 3, 4, 5].map((index) => index as NodeIndex);
/** Coins of each wallet. Every ECDSA coin costs a presignature before anybody spends it. */
const DEPOSITS = [4, 3] as const;
const DEPOSIT_SATS = [150_000, 900_000] as const;

/** The scenario of a seed. */
export function scenarioOf(seed: number): Scenario {
  const random = new SeededRandom(`scenario/${seed}`);
  const hostile = random.chance(0.6) ? random.pick(NODES) : null;
  const limits = pickLimits(random);
  const keys = !random.chance(0.06);
  const faultsFrom = keys ? 1_000 : 0;
  const healAt = faultsFrom + random.between(20_000, 60_000);
  const within = (from = faultsFrom, to = healAt): number => random.between(from, Math.max(from, to - 1));
  const operations: Operation[] = [];
  for (const [wallet, coins] of DEPOSITS.entries()) {
    for (let coin = 0; coin < coins; coin += 1) {
      operations.push({
        at: keys ? 0 : healAt,
        op: "deposit",
        wallet,
        index: random.below(2),
        sats: random.between(...DEPOSIT_SATS),
      });
    }
  }
  if (keys) operations.push({ at: 0, op: "mine", blocks: 1 });
  else {
    const protocol = random.pick(["frost", "cggmp24"] as const);
    operations.push({ at: 0, op: "make-key", node: random.pick(NODES), protocol });
  }
  operations.push(...payments(random, within, limits));
  operations.push(...faults(random, within, hostile));
  if (keys && hostile === null) operations.push(...loss(seed, within));
  if (hostile !== null) {
    for (let lies = random.between(1, 3); lies > 0; lies -= 1) {
      const at = lies === 1 ? 0 : within();
      operations.push({ at, op: "lie", behaviour: random.pick(behaviourNames) });
    }
  }
  for (let blocks = random.between(1, 6); blocks > 0; blocks -= 1)
    operations.push({ at: within(), op: "mine", blocks: random.between(1, 2) });
  return { seed, limits, hostile, keys, operations: operations.toSorted((a, b) => a.at - b.at), healAt };
}

/** In some runs one node loses its database: where none is hostile, since more than one at a time need not be borne. */
function loss(seed: number, within: Within): Operation[] {
  const random = new SeededRandom(`loss/${seed}`);
  if (!random.chance(0.3)) return [];
  const restartMs = random.pick([200, 3_000, 15_000]);
  return [{ at: within(), op: "lose", node: random.pick(NODES), restartMs }];
}

function pickLimits(random: SeededRandom): Limits {
  const kind = random.below(4);
  if (kind === 1) return { ...noLimits, rolling24hMaxSats: 600_000n as Limits["rolling24hMaxSats"] };
  if (kind === 2) return { ...noLimits, rateLimit: { count: 2, windowMs: 30_000 } };
  if (kind === 3) {
    const keys = approvers.map(({ publicKey }) => publicKey);
    return { ...noLimits, approvals: { m: 2, keys, aboveSats: 60_000n as Sats } };
  }
  return noLimits;
}

type Within = (from?: number, to?: number) => number;

function payments(random: SeededRandom, within: Within, limits: Limits): Operation[] {
  const operations: Operation[] = [];
  const count = random.between(2, 6);
  for (let id = 0; id < count; id += 1) {
    const at = within();
    const wallet = random.below(2);
    // Limits are met exactly now and then: what counts is the payment and its fee allowance of 20,000 sat.
    const sats =
      limits.rolling24hMaxSats !== null && random.chance(0.3) ? 180_000 : random.between(20_000, 300_000);
    const lifeMs = random.between(15_000, 90_000);
    const recipient = random.below(3);
    operations.push({
      at,
      op: "pay",
      id,
      node: random.pick(NODES),
      wallet,
      recipient,
      sats,
      lifeMs,
      replaces: null,
    });
    if (random.chance(0.3))
      operations.push({ at: at + random.below(3_000), op: "pay-again", id, node: random.pick(NODES) });
    if (random.chance(0.25)) {
      operations.push({
        at: at + random.between(500, 15_000),
        op: "pay",
        id: 100 + id,
        node: random.pick(NODES),
        wallet,
        recipient,
        sats,
        lifeMs: lifeMs + 10_000,
        replaces: id,
      });
    }
  }
  return limits.approvals === null ? operations : [...operations, ...approvalsOf(operations, random)];
}

/** Approvals of payments by none, one, some or all, in any order, some of them twice or at two nodes. */
function approvalsOf(payments: readonly Operation[], random: SeededRandom): Operation[] {
  return payments.flatMap((payment) => {
    if (payment.op !== "pay") return [];
    return Array.from({ length: random.below(6) }, (): Operation => {
      const at = payment.at + random.below(10_000);
      return { at, op: "approve", id: payment.id, approver: random.below(3), node: random.pick(NODES) };
    });
  });
}

function faults(random: SeededRandom, within: Within, hostile: NodeIndex | null): Operation[] {
  const operations: Operation[] = [];
  if (random.chance(0.5)) {
    operations.push({
      at: within(),
      op: "weather",
      weather: {
        loss: random.pick([0, 0.02, 0.1, 0.3]),
        duplicates: random.pick([0, 0.05, 0.2]),
        overtaken: random.pick([0, 0.05, 0.2]),
        slowestMs: random.pick([20, 200, 1_500]),
      },
    });
  }
  if (random.chance(0.3))
    operations.push({ at: within(), op: "slow-disks", delayMs: random.pick([5, 50, 400]) });
  const honest = NODES.filter((node) => node !== hostile);
  for (let count = random.below(7); count > 0; count -= 1) {
    const at = within();
    const node = random.pick(honest);
    const until = at + random.between(500, 20_000);
    const restartMs = random.pick([1, 200, 3_000, 15_000]);
    switch (random.below(9)) {
      case 0:
        operations.push({ at, op: "crash", node, restartMs });
        break;
      case 1:
        operations.push({ at, op: "stop", node, restartMs });
        break;
      case 2:
      case 3:
        operations.push({
          at,
          op: "disk",
          node,
          fault: random.pick(["lost", "unacknowledged"] as const),
          in: random.between(1, 12),
          times: 1,
          restartMs,
        });
        break;
      case 4:
        operations.push({
          at,
          op: "disk",
          node,
          fault: "full",
          in: random.between(1, 8),
          times: random.between(1, 6),
          restartMs,
        });
        break;
      case 5: {
        const order = random.shuffle(NODES);
        const cut = random.between(1, 4);
        operations.push({ at, op: "partition", groups: [order.slice(0, cut), order.slice(cut)] });
        operations.push({ at: until, op: "heal-network" });
        break;
      }
      case 6: {
        const [a = node, b = node] = random.shuffle(NODES);
        const op = random.chance(0.5)
          ? ({ op: "sever", a, b } as const)
          : ({ op: "mute", from: a, to: b } as const);
        operations.push({ at, ...op }, { at: until, op: "heal-network" });
        break;
      }
      case 7:
        operations.push(
          { at, op: "chain-down", node, down: true },
          { at: until, op: "chain-down", node, down: false },
        );
        break;
      case 8:
        operations.push({ at, op: "skew", node, skewMs: random.between(-4_000, 4_000) });
        break;
    }
  }
  if (random.chance(0.3)) operations.push({ at: within(), op: "reorganise", depth: random.between(1, 6) });
  if (random.chance(0.2)) operations.push({ at: within(), op: "evict" });
  return operations;
}
