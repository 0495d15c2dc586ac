import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AUDIT_ROOT,
  type AuditRow,
  auditEntryHash,
  auditEntrySchema,
  type Clock,
  clusterIdSchema,
  decodeCanonical,
  Ed25519Signer,
  encodeCanonical,
  grantIdSchema,
  isCairnError,
  type NodeStore,
  type StoreWrite,
} from "@cairn/core";
import fc from "fast-check";
import { type AuditFact, AuditLog, openMemoryStore, verifyAuditLog } from "../src/index.ts";
import { at, hash, node } from "./rows.ts";

const owner = { cluster: clusterIdSchema.parse(hash("cluster")), node: node(3) };
const signer = Ed25519Signer.generate();
const expected = { ...owner, publicKey: signer.publicKey };
let time = 0;
const clock: Clock = {
  now: () => {
    time += 1;
    return at(time);
  },
  monotonic: () => time,
  after: () => ({ cancel: () => {} }),
};

const open = (store: NodeStore): Promise<AuditLog> => AuditLog.create(owner, { store, signer, clock });
const fact = (subject: string): AuditFact => ({ kind: "vote-cast", subject, data: { approve: true } });

async function append(log: AuditLog, store: NodeStore, facts: readonly AuditFact[]): Promise<void> {
  await store.commit(log.entries(facts));
  log.committed();
}

async function logOf(length: number): Promise<readonly AuditRow[]> {
  const store = openMemoryStore();
  const log = await open(store);
  await append(
    log,
    store,
    Array.from({ length }, (_, i) => fact(String(i))),
  );
  return store.audit({ from: 0, limit: length });
}

/** The row of an entry that this node signed anew with some of it changed. */
function resigned(row: AuditRow, changes: object, key = signer): AuditRow {
  const entry = auditEntrySchema.parse({ ...decodeCanonical(auditEntrySchema, row.body), ...changes });
  return {
    ...row,
    seq: entry.seq,
    at: entry.at,
    kind: entry.kind,
    previous: entry.previous,
    body: encodeCanonical(entry),
    hash: auditEntryHash(entry),
    signature: key.sign("cairn/audit/v1", entry),
  };
}

test("entries ride in the commit of what they record, and the log goes on after a restart", async () => {
  const store = openMemoryStore();
  const log = await open(store);
  assert.equal(log.length, 0);
  assert.equal(log.headHash, AUDIT_ROOT);
  const state: StoreWrite = { write: "meta", key: "k", value: Uint8Array.of(1) };
  await store.commit([state, ...log.entries([fact("a"), fact("b")])]);
  log.committed();
  assert.equal(log.length, 2);

  const again = await open(store);
  assert.equal(again.headHash, log.headHash);
  await append(again, store, [fact("c")]);
  const rows = await store.audit({ from: 0, limit: 9 });
  assert.deepEqual(
    rows.map((row) => decodeCanonical(auditEntrySchema, row.body).subject),
    ["a", "b", "c"],
  );
  assert.deepEqual(verifyAuditLog(rows, expected), { ok: true, length: 3, head: again.headHash });
});

test("entries of a commit that failed are forgotten and their numbers used again", async () => {
  const store = openMemoryStore({ fault: (commit) => (commit === 2 ? "full" : null) });
  const log = await open(store);
  await append(log, store, [fact("a")]);
  await assert.rejects(store.commit(log.entries([fact("lost")])));
  log.discarded();
  assert.equal(log.length, 1);
  await append(log, store, [fact("b")]);
  assert.ok(verifyAuditLog(await store.audit({ from: 0, limit: 9 }), expected).ok);
});

test("entries are refused while those before them are neither committed nor discarded", async () => {
  const log = await open(openMemoryStore());
  assert.deepEqual(log.entries([]), []);
  log.entries([fact("a")]);
  assert.throws(
    () => log.entries([fact("b")]),
    (error) => isCairnError(error, "wrong-state"),
  );
});

test("a fact that does not fit leaves the log as it was", async () => {
  const store = openMemoryStore();
  const log = await open(store);
  assert.throws(
    () => log.entries([fact("a"), { ...fact("b"), kind: "" }]),
    (error) => isCairnError(error, "malformed"),
  );
  await append(log, store, [fact("c")]);
  assert.equal(log.length, 1);
});

test("facts become plain data, and a grant among them makes the entry findable", async () => {
  const store = openMemoryStore();
  const log = await open(store);
  await append(log, store, [
    {
      kind: "refused",
      subject: "",
      data: { nodes: [1, "two"], ratio: 0.5, none: null, long: "x".repeat(5_000), grant: hash("grant") },
    },
  ]);
  const [row] = await store.audit({ from: 0, limit: 1 });
  assert.ok(row);
  assert.equal(row.grant, hash("grant"));
  const { data } = decodeCanonical(auditEntrySchema, row.body);
  assert.deepEqual(data, {
    nodes: "1, two",
    ratio: "0.5",
    none: null,
    long: `${"x".repeat(4_095)}…`,
    grant: hash("grant"),
  });
});

test("a log whose head another key signed, or that is another node's, is not continued", async () => {
  const store = openMemoryStore();
  await append(await open(store), store, [fact("a")]);
  for (const create of [
    AuditLog.create(owner, { store, signer: Ed25519Signer.generate(), clock }),
    AuditLog.create({ ...owner, node: node(4) }, { store, signer, clock }),
  ]) {
    await assert.rejects(create, (error) => isCairnError(error, "audit-broken"));
  }
});

test("an unaltered log verifies whole and in pages", async () => {
  const rows = await logOf(9);
  const whole = verifyAuditLog(rows, expected);
  assert.ok(whole.ok && whole.length === 9);
  assert.deepEqual(verifyAuditLog([], expected), { ok: true, length: 0, head: AUDIT_ROOT });
  const first = verifyAuditLog(rows.slice(0, 4), expected);
  assert.ok(first.ok);
  const after = { seq: first.length - 1, hash: first.head };
  assert.deepEqual(verifyAuditLog(rows.slice(4), { ...expected, after }), whole);
});

test("any altered byte of a body and any altered column is found at its entry", async () => {
  const rows = await logOf(5);
  fc.assert(
    fc.property(fc.nat({ max: 4 }), fc.nat(), fc.integer({ min: 1, max: 255 }), (seq, position, flip) => {
      const altered = rows.map((row) => {
        if (row.seq !== seq) return row;
        const body = Uint8Array.from(row.body);
        const index = position % body.length;
        body[index] = (body[index] ?? 0) ^ flip;
        return { ...row, body };
      });
      assert.deepEqual(verifyAuditLog(altered, expected), { ok: false, seq, reason: "altered" });
    }),
  );
  const [, , row] = rows;
  assert.ok(row);
  const other = hash("other");
  for (const changed of [
    { ...row, at: at(row.at + 1) },
    { ...row, kind: "refused" },
    { ...row, previous: other },
    { ...row, hash: other },
    { ...row, grant: grantIdSchema.parse(other) },
    { ...row, signature: resigned(row, {}, Ed25519Signer.generate()).signature },
    resigned(row, { subject: "another" }, Ed25519Signer.generate()),
  ]) {
    assert.deepEqual(verifyAuditLog(rows.with(2, changed), expected), {
      ok: false,
      seq: 2,
      reason: "altered",
    });
  }
});

test("missing, reordered, repeated, foreign and forked entries are told apart at the first bad one", async () => {
  const rows = await logOf(6);
  const [zero, one, two, three, four, five] = rows;
  assert.ok(zero && one && two && three && four && five);
  const verdict = (given: readonly AuditRow[]): unknown => {
    const found = verifyAuditLog(given, expected);
    return found.ok ? "ok" : [found.seq, found.reason];
  };
  assert.deepEqual(verdict([zero, one, three, four, five]), [2, "missing"]);
  assert.deepEqual(verdict([one, two]), [0, "missing"]);
  assert.deepEqual(verdict([zero, two, one, three]), [1, "reordered"]);
  assert.deepEqual(verdict([zero, one, one, two]), [1, "repeated"]);
  assert.deepEqual(verdict([zero, one, resigned(two, { node: 4 })]), [2, "foreign"]);
  assert.deepEqual(verdict([zero, one, resigned(two, { cluster: hash("other") })]), [2, "foreign"]);
  // The node itself, with its own key, writes another history from entry 3 on, or shows both.
  const rewritten = resigned(two, { subject: "rewritten" });
  assert.deepEqual(verdict([zero, one, rewritten, three]), [3, "forked"]);
  assert.deepEqual(verdict([zero, one, two, rewritten]), [2, "forked"]);
});

test("a log that was cut or rewritten whole does not pass an entry that is known from elsewhere", async () => {
  const rows = await logOf(6);
  const [, , , , four] = rows;
  assert.ok(four);
  const known = { seq: 4, hash: four.hash };
  assert.ok(verifyAuditLog(rows, { ...expected, known }).ok);
  assert.deepEqual(verifyAuditLog(rows.slice(0, 4), { ...expected, known }), {
    ok: false,
    seq: 4,
    reason: "missing",
  });
  const rewritten = await logOf(6);
  assert.ok(verifyAuditLog(rewritten, expected).ok);
  assert.deepEqual(verifyAuditLog(rewritten, { ...expected, known }), {
    ok: false,
    seq: 4,
    reason: "forked",
  });
});
