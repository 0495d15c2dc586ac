import assert from "node:assert/strict";
import { test } from "node:test";
import { type HashHex, type NodeIndex, spendQuorum, type UnixMs } from "@cairn/core";
import fc from "fast-check";
import {
  type BanLedger,
  type BanOrder,
  ban,
  bansInForce,
  emptyLedger,
  isBanned,
  ledgerOf,
  lift,
} from "../src/index.ts";
import { clusterOf, HOUR, hash, NOW } from "./cluster.ts";

const cluster = clusterOf();
const { manifest } = cluster;
const DAY = 24 * HOUR;
const after = (ms: number) => (NOW + ms) as UnixMs;

function order(node: number, violation: string, ms: number, scope: BanOrder["scope"] = "cluster"): BanOrder {
  return { node: node as NodeIndex, violation: hash(violation) as HashHex, scope, at: after(ms) };
}

function banned(ledger: BanLedger, ...args: Parameters<typeof order>): BanLedger {
  const result = ban(ledger, order(...args), manifest);
  if (result.kind !== "banned") return assert.fail(result.kind);
  return result.ledger;
}

const inForce = (ledger: BanLedger, node: number, ms: number) =>
  isBanned(ledger, node as NodeIndex, after(ms));

test("bans last 24 h, then 7 days, then for good, and end by themselves", () => {
  const first = banned(emptyLedger, 5, "1", 0);
  assert.ok(inForce(first, 5, DAY - 1));
  assert.ok(!inForce(first, 5, DAY));
  const second = banned(first, 5, "2", 2 * DAY);
  assert.ok(inForce(second, 5, 9 * DAY - 1));
  assert.ok(!inForce(second, 5, 9 * DAY));
  const third = banned(second, 5, "3", 10 * DAY);
  assert.ok(inForce(third, 5, 10_000 * DAY));
  assert.equal(bansInForce(third, after(11 * DAY))[0]?.until, null);
  assert.deepEqual(ledgerOf(third.rows), third);
});

test("evidence that comes again, or that comes to light during the ban, does not lengthen it", () => {
  const first = banned(emptyLedger, 5, "1", 0);
  assert.equal(ban(first, order(5, "1", 2 * DAY), manifest).kind, "known");
  const joined = banned(first, 5, "2", 10);
  assert.ok(!inForce(joined, 5, DAY));
  assert.equal(ban(joined, order(5, "2", 2 * DAY), manifest).kind, "known");
  assert.ok(!inForce(banned(joined, 5, "3", 2 * DAY), 5, 9 * DAY));
});

test("ban as a weapon: a ban never leaves fewer than a quorum usable", () => {
  const first = banned(emptyLedger, 5, "1", 0);
  assert.deepEqual(ban(first, order(4, "2", 10), manifest), { kind: "floor", usable: 3, needed: 4 });
  assert.equal(ban(first, order(4, "2", DAY), manifest).kind, "banned");
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          node: fc.integer({ min: 1, max: 5 }),
          id: fc.integer({ min: 0, max: 20 }),
          wait: fc.integer({ min: 0, max: 2 * DAY }),
          scope: fc.constantFrom("local" as const, "cluster" as const),
        }),
        { maxLength: 40 },
      ),
      (orders) => {
        let ledger = emptyLedger;
        let now = 0;
        for (const { node, id, wait, scope } of orders) {
          now += wait;
          const result = ban(ledger, order(node, `${id}`, now, scope), manifest);
          if (result.kind === "banned") ledger = result.ledger;
          const usable = manifest.members.filter((member) => !inForce(ledger, member.index, now)).length;
          assert.ok(usable >= spendQuorum(manifest));
        }
      },
    ),
  );
});

test("what only this node saw does not count towards the cluster's terms", () => {
  const local = banned(emptyLedger, 5, "1", 0, "local");
  assert.ok(inForce(local, 5, 10));
  assert.ok(!inForce(banned(local, 5, "2", 2 * DAY), 5, 3 * DAY));
});

test("a lift ends the named bans alone, and they no longer lengthen the next", () => {
  const first = banned(emptyLedger, 5, "1", 0);
  const lifted = lift(first, { node: 5 as NodeIndex, violations: [hash("1") as HashHex], at: after(10) });
  assert.equal(lifted.rows.length, 1);
  assert.ok(!inForce(lifted.ledger, 5, 11));
  const again = banned(lifted.ledger, 5, "2", 20);
  assert.ok(!inForce(again, 5, 20 + DAY));
  const other = lift(again, { node: 5 as NodeIndex, violations: [hash("1") as HashHex], at: after(30) });
  assert.deepEqual(other.rows, []);
  assert.ok(inForce(other.ledger, 5, 31));
});
