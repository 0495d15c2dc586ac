import assert from "node:assert/strict";
import { test } from "node:test";
import { allInvariants } from "../src/checker.ts";
import type { Invariant } from "../src/invariant.ts";
import type { Operation } from "../src/scenario.ts";
import { SeededRandom } from "../src/seeded-random.ts";
import { simulate } from "../src/simulate-seed.ts";
import { node, payment, quietScenario } from "./quiet-scenario.ts";

const SEEDS = 4;
const NODES = 5;

/** Two requests that reach two nodes at once and need one coin each, of which there is one at first, each asked again and again at any node. */
function rivals(seed: number): readonly Operation[] {
  const random = new SeededRandom(`asked again/${seed}`);
  const somewhere = () => node(random.between(1, NODES));
  const asked = [1, 2].flatMap((id): Operation[] => [
    payment(2_000 + random.below(40), id, { node: node(id), sats: 900_000 + id, lifeMs: 120_000 }),
    ...[15_000, 25_000, 35_000, 50_000].map(
      (later): Operation => ({ at: later + random.below(5_000), op: "pay-again", id, node: somewhere() }),
    ),
  ]);
  const faults: Operation[] = [
    { at: random.between(2_000, 30_000), op: "crash", node: somewhere(), restartMs: 2_000 },
    {
      at: random.between(2_000, 30_000),
      op: "sever",
      a: node(random.between(1, 2)),
      b: node(random.between(3, NODES)),
    },
  ];
  return [
    ...asked,
    ...(seed % 3 === 0 ? [] : faults),
    { at: 12_000, op: "deposit", wallet: 0, index: 2, sats: 1_000_000 } as const,
    { at: 13_000, op: "mine", blocks: 1 } as const,
  ].toSorted((a, b) => a.at - b.at);
}

test(`requests that wanted one coin and are asked again are each paid once at most, under ${SEEDS} schedules`, async () => {
  let triedAgain = 0;
  for (let seed = 0; seed < SEEDS; seed += 1) {
    const requests = new Map<string, Set<string>>();
    const watcher: Invariant = {
      name: "tried-again",
      see: (world) => {
        for (const [intent, { request }] of world.intents)
          requests.set(request, (requests.get(request) ?? new Set()).add(intent));
        return null;
      },
    };
    const outcome = await simulate(quietScenario(rivals(seed), { seed, healAt: 60_000 }), {
      invariants: [...allInvariants(), watcher],
    });
    assert.equal(outcome.complaint, null, `seed ${seed}: ${outcome.complaint?.message}`);
    triedAgain += [...requests.values()].filter((intents) => intents.size > 1).length;
  }
  assert.ok(triedAgain > 0, "some request was tried with another coin");
});
