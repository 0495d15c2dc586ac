import assert from "node:assert/strict";
import { test } from "node:test";
import type { IntentHash, LineageId } from "@cairn/core";
import fc from "fast-check";
import { isPaid } from "../src/index.ts";
import { hash } from "./cluster.ts";
import { coin, type Outcome, runVoting, type Schedule, type Spend } from "./voting-cluster.ts";

const spendOf = (name: string, lineage: string, ...coins: string[]): Spend => ({
  intent: hash(name) as IntentHash,
  lineage: hash(lineage) as LineageId,
  outpoints: coins.map(coin),
});

const families: Record<string, readonly Spend[]> = {
  "two payments that want one coin": [spendOf("a", "A", "1"), spendOf("b", "B", "1")],
  "three payments that want each other's coins": [
    spendOf("a", "A", "1", "2"),
    spendOf("b", "B", "2", "3"),
    spendOf("c", "C", "3", "1"),
  ],
  "two intents from one request with disjoint coins": [spendOf("a", "A", "1"), spendOf("b", "A", "2")],
  "a payment and its fee bump": [spendOf("a", "A", "1"), spendOf("b", "A", "1", "2")],
};

const schedules = (spends: readonly Spend[], liar: number | null) =>
  fc.record({
    seed: fc.integer(),
    spends: fc.constant(spends),
    liar: fc.constant(liar),
    delayMs: fc.constantFrom(50, 3_000, 15_000),
    lag: fc.constantFrom(0, 0.2),
    crash: fc.constantFrom(0, 0.05),
  });

function checkEnd(schedule: Schedule, outcome: Outcome): void {
  for (const { intent } of schedule.spends) {
    if (outcome.hostage.has(intent)) continue;
    for (const node of outcome.nodes) {
      const name = node.machines.get(intent)?.name;
      assert.equal(
        name,
        outcome.confirmed.has(intent) ? "Confirmed" : "Dead",
        `${intent.slice(0, 4)} at ${node.index}`,
      );
    }
  }
  if (outcome.hostage.size > 0) return;
  for (const node of outcome.nodes) {
    for (const row of node.book.rows()) {
      assert.ok(row.freedAt !== null, "reservations are freed or paid");
      assert.ok(!isPaid(row) || row.intents.some((each) => outcome.confirmed.has(each.intent)));
    }
  }
}

for (const [name, spends] of Object.entries(families)) {
  test(`${name}: every schedule of honest nodes ends confirmed or dead, with reservations freed`, () => {
    fc.assert(
      fc.property(schedules(spends, null), (schedule) => checkEnd(schedule, runVoting(schedule))),
      { numRuns: 40 },
    );
  });

  test(`${name}: the same with a node that lies`, () => {
    fc.assert(
      fc.property(schedules(spends, 5), (schedule) => checkEnd(schedule, runVoting(schedule))),
      { numRuns: 60 },
    );
  });
}

test("with prompt messages and no faults one of two conflicting payments is made", () => {
  for (let seed = 0; seed < 30; seed += 1) {
    const spends = families["two payments that want one coin"] ?? [];
    const outcome = runVoting({ seed, spends, liar: null, delayMs: 300, lag: 0, crash: 0 });
    assert.equal(outcome.confirmed.size, 1, `seed ${seed}`);
  }
});
