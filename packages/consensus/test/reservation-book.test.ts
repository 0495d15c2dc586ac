import assert from "node:assert/strict";
import { test } from "node:test";
import type {
  IntentHash,
  LineageId,
  Outpoint,
  ReservationRow,
  Sats,
  Txid,
  UnixMs,
  WalletId,
} from "@cairn/core";
import fc from "fast-check";
import {
  type Claim,
  historyOf,
  isPaid,
  markDead,
  ReservationBook,
  recordCertified,
  reserve,
  settlePaid,
} from "../src/index.ts";
import { hash, NOW } from "./cluster.ts";

const coin = (name: string): Outpoint => ({ txid: hash(name) as Txid, vout: 0 });

function claim(intent: string, lineage: string, coins: string[], amount = 100n, at = 0): Claim {
  return {
    lineage: hash(lineage) as LineageId,
    wallet: hash("wallet") as WalletId,
    intent: hash(intent) as IntentHash,
    outpoints: coins.map(coin),
    amountSats: amount as Sats,
    destinations: [{ address: `to ${lineage}`, amountSats: (amount - 10n) as Sats }],
    at: (NOW + at) as UnixMs,
  };
}

/** The book with a row in place of the one before. */
function changed(book: ReservationBook, row: ReservationRow | null): ReservationBook {
  const next = new ReservationBook(book.rows());
  if (row !== null) next.set(row);
  return next;
}

function reserved(book: ReservationBook, each: Claim): ReservationBook {
  const result = reserve(book, each);
  return result.kind === "reserved" ? changed(book, result.row) : assert.fail(result.kind);
}

const dying = (book: ReservationBook, name: string, ms: number) =>
  changed(book, markDead(book, intentOf(name), at(ms)));
const paying = (book: ReservationBook, name: string, ms: number) =>
  changed(book, settlePaid(book, intentOf(name), at(ms)));
const emptyBook = new ReservationBook();

const intentOf = (name: string) => hash(name) as IntentHash;
const at = (ms: number) => (NOW + ms) as UnixMs;
const rowOf = (book: ReservationBook, lineage: string) =>
  book.get(hash(lineage) as LineageId) ?? assert.fail();

test("across lineages an outpoint has one live intent, and the conflict names it", () => {
  const book = reserved(emptyBook, claim("a", "A", ["1", "2"]));
  const result = reserve(book, claim("b", "B", ["2", "3"]));
  assert.deepEqual(result, { kind: "conflict", code: "coin-reserved", blocking: [intentOf("a")] });
  assert.equal(reserve(book, claim("b", "B", ["3"])).kind, "reserved");
});

test("two payments from one request: a disjoint second intent waits until the first is dead", () => {
  const book = reserved(emptyBook, claim("a", "A", ["1"]));
  const blocked = reserve(book, claim("b", "A", ["2"]));
  assert.deepEqual(blocked, { kind: "conflict", code: "lineage-open", blocking: [intentOf("a")] });
  const dead = dying(book, "a", 5);
  assert.equal(reserve(dead, claim("b", "A", ["2"])).kind, "reserved");
});

test("two payments from its replacement: a further intent must spend a coin of every earlier one", () => {
  const book = reserved(reserved(emptyBook, claim("a", "A", ["1", "2"])), claim("b", "A", ["2", "3"]));
  const disjointWithA = reserve(book, claim("c", "A", ["3"]));
  assert.deepEqual(disjointWithA, { kind: "conflict", code: "lineage-open", blocking: [intentOf("a")] });
  assert.equal(reserve(book, claim("c", "A", ["1", "3"])).kind, "reserved");
});

test("a lineage reserves its limits once: the maximum of its requests", () => {
  const book = reserved(reserved(emptyBook, claim("a", "A", ["1"], 300n)), claim("b", "A", ["1"], 200n, 7));
  const row = rowOf(book, "A");
  assert.equal(row.amountSats, 300n);
  assert.deepEqual(row.destinations, [{ address: "to A", amountSats: 290n }]);
  assert.equal(row.reservedAt, at(7));
  assert.equal(rowOf(reserved(book, claim("c", "A", ["1"], 400n)), "A").amountSats, 400n);
});

test("reserving again changes nothing, and a dead intent is never reserved again", () => {
  const book = reserved(emptyBook, claim("a", "A", ["1"]));
  const again = reserve(book, claim("a", "A", ["1"], 900n));
  assert.equal(again.kind === "reserved" && again.row, rowOf(book, "A"));
  const dead = dying(book, "a", 5);
  assert.deepEqual(reserve(dead, claim("a", "A", ["1"])), { kind: "refused", code: "wrong-state" });
});

test("death frees coins and limits; payment frees coins and keeps the limits for their window", () => {
  const book = reserved(reserved(emptyBook, claim("a", "A", ["1"])), claim("b", "A", ["1", "2"]));
  const one = dying(book, "a", 5);
  assert.equal(rowOf(one, "A").freedAt, null);
  const both = dying(one, "b", 6);
  assert.equal(rowOf(both, "A").freedAt, at(6));
  assert.deepEqual(
    historyOf(both.rows(), () => false),
    [],
  );
  assert.deepEqual(both.holders([coin("1"), coin("2")], hash("B") as LineageId), []);
  const paid = paying(book, "b", 9);
  assert.ok(isPaid(rowOf(paid, "A")));
  assert.deepEqual(
    historyOf(paid.rows(), () => false).map((each) => [each.paid, each.firm, each.amountSats]),
    [[true, true, 100n]],
  );
  assert.deepEqual(reserve(paid, claim("c", "A", ["1"])), { kind: "refused", code: "replayed" });
});

test("an uncertified lineage may give way, a certified one is firm", () => {
  const book = reserved(emptyBook, claim("a", "A", ["1"]));
  assert.equal(historyOf(book.rows(), () => false)[0]?.firm, false);
  assert.equal(historyOf(book.rows(), (intent) => intent === intentOf("a"))[0]?.firm, true);
});

test("what the others certified counts here too, even against a conflict", () => {
  const book = reserved(emptyBook, claim("a", "A", ["1"]));
  const forced = recordCertified(book, claim("b", "B", ["1"]));
  assert.ok(forced);
  const both = changed(book, forced);
  assert.equal(historyOf(both.rows(), () => true).length, 2);
  assert.equal(recordCertified(both, claim("b", "B", ["1"])), null);
});

test("over random schedules with restarts no coin and no lineage is ever live twice", () => {
  const step = fc.record({
    action: fc.constantFrom("reserve", "reserve", "reserve", "die", "pay", "restart"),
    intent: fc.integer({ min: 0, max: 11 }),
    coins: fc.uniqueArray(fc.constantFrom("1", "2", "3", "4"), { minLength: 1, maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let book = new ReservationBook();
      for (const [now, { action, intent, coins }] of steps.entries()) {
        const name = `${intent}`;
        const lineage = `L${intent % 4}`;
        if (action === "reserve") {
          const result = reserve(book, claim(name, lineage, coins, 100n, now));
          if (result.kind === "reserved") book.set(result.row);
        } else if (action === "restart") book = new ReservationBook(structuredClone([...book.rows()]));
        else {
          const end = action === "die" ? markDead : settlePaid;
          const row = end(book, intentOf(name), at(now));
          if (row !== null) book.set(row);
        }
        checkBook(book);
      }
    }),
    { numRuns: 300 },
  );
});

function checkBook(book: ReservationBook): void {
  const holders = new Map<string, LineageId>();
  for (const row of book.rows()) {
    if (row.freedAt !== null) continue;
    const live = row.intents.filter((entry) => !entry.dead);
    assert.ok(live.length > 0, "a row without live intents is freed");
    for (const entry of live) {
      for (const { txid } of entry.outpoints) {
        assert.ok((holders.get(txid) ?? row.lineage) === row.lineage, "a coin has one live lineage");
        holders.set(txid, row.lineage);
        assert.ok(book.holders([{ txid, vout: 0 }], strangers).includes(entry.intent), "the index knows it");
      }
      for (const other of live) {
        const shared = entry.outpoints.some((one) => other.outpoints.some((two) => one.txid === two.txid));
        assert.ok(shared, "live intents of a lineage share a coin, so that one of them is paid at most");
      }
    }
  }
  for (const name of ["1", "2", "3", "4"]) {
    if (!holders.has(hash(name))) assert.deepEqual(book.holders([coin(name)], strangers), []);
  }
}

const strangers = hash("strangers") as LineageId;
