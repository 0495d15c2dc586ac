import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { isCairnError, type NodeStore, systemClock } from "@cairn/core";
import { openPostgres } from "../src/postgres-store.ts";
import { openSqlite } from "../src/sqlite-store.ts";
import {
  completeImport,
  exportLines,
  fillDatabase,
  holdingsOf,
  importRows,
  markMoved,
  readRows,
  type SqlExecutor,
} from "../src/transfer.ts";
import { PostgresServer } from "../test-support/index.ts";
import { createPostgresPlace } from "./postgres-place.ts";
import {
  at,
  auditRow,
  bytes,
  node,
  presignatureOf,
  presignatureRow,
  sessionOf,
  transactionRow,
  voteRow,
} from "./rows.ts";
import { createSqlitePlace, owner } from "./sqlite-place.ts";

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.create();
});
after(() => server.remove());

const modules = { clock: systemClock };

/** A database that both a node and a move can open. */
interface MovablePlace {
  open(): Promise<NodeStore>;
  openWhole(): Promise<SqlExecutor>;
  remove(): Promise<void>;
}

async function sqlite(): Promise<MovablePlace> {
  const { path, open, remove } = await createSqlitePlace();
  return { open, remove, openWhole: () => openSqlite({ path, ...owner }, modules) };
}

async function postgres(): Promise<MovablePlace> {
  const { open, options, remove } = await createPostgresPlace(server);
  return { open: () => open(), remove, openWhole: () => openPostgres(options, modules) };
}

const PAIRS = [
  { name: "from sqlite to Postgres", from: sqlite, to: postgres },
  { name: "from Postgres to sqlite", from: postgres, to: sqlite },
];

async function withPair(
  { from, to }: (typeof PAIRS)[number],
  run: (source: MovablePlace, target: MovablePlace) => Promise<void>,
): Promise<void> {
  const source = await from();
  const target = await to();
  try {
    await run(source, target);
  } finally {
    await source.remove();
    await target.remove();
  }
}

/** More rows than a page, of the kinds that the port alone could not write again. */
async function populate(place: MovablePlace): Promise<void> {
  const store = await place.open();
  const rows = Array.from({ length: 150 }, (_, i) => i);
  await store.commit(rows.map((i) => ({ write: "audit", row: auditRow(i) }) as const));
  await store.commit(
    rows.map(
      (i) =>
        ({
          write: "transaction",
          row: transactionRow(`t ${i}`, { metadata: '{"label": "Zürich \\u0000"}' }),
        }) as const,
    ),
  );
  await store.commit([{ write: "vote", row: voteRow("t 1", 2) }]);
  await store.commit([
    { write: "vote", row: voteRow("t 1", 3, { approve: false, reason: "dust" }) },
    { write: "meta", key: "empty", value: new Uint8Array() },
    { write: "meta", key: "large", value: new Uint8Array(3_000_000).fill(7) },
  ]);
  for (const name of ["a", "b", "c"])
    await store.commit([{ write: "presignature", row: presignatureRow(name) }]);
  await store.burn(presignatureOf("a"), sessionOf("s"), at(1));
  await store.commit([{ write: "presignature-state", id: presignatureOf("b"), state: "discarded" }]);
  for (const id of ["1", "2"]) await post(store, id);
  await store.close();
}

const post = (store: NodeStore, id: string): Promise<void> =>
  store.commit([
    { write: "outbox", row: { to: node(2), id, kind: "vote", message: bytes(id), createdAt: at(1) } },
  ]);

async function fill(target: MovablePlace, rows: Parameters<typeof fillDatabase>[1]): Promise<void> {
  const whole = await target.openWhole();
  try {
    await fillDatabase(whole, rows);
    await completeImport(whole);
  } finally {
    await whole.close();
  }
}

for (const pair of PAIRS) {
  test(`a node that moves ${pair.name}, directly or by an export, loses nothing and goes on there`, async () => {
    await withPair(pair, async (source, target) => {
      await populate(source);
      const lines: string[] = [];
      const whole = await source.openWhole();
      const before = await holdingsOf(whole);
      for await (const line of exportLines(whole, owner)) lines.push(line);
      await fill(target, readRows(whole));
      await markMoved(whole, "elsewhere");
      await whole.close();
      await assert.rejects(source.open(), (error) => isCairnError(error, "wrong-state"));

      const check = await target.openWhole();
      assert.deepEqual(await holdingsOf(check), before);
      assert.equal(before.counts.audit_log, 150);
      await check.close();
      const store = await target.open();
      await assert.rejects(store.burn(presignatureOf("a"), sessionOf("again"), at(2)), (error) =>
        isCairnError(error, "presignature-used"),
      );
      assert.equal(await store.burn(presignatureOf("c"), sessionOf("s"), at(2)), 2);
      await store.commit([{ write: "audit", row: auditRow(150) }]);
      await post(store, "3");
      assert.deepEqual(
        (await store.outbox({ limit: 9 })).map(({ id }) => id),
        ["1", "2", "3"],
      );
      await store.close();

      await withPair(pair, async (_, second) => {
        await fill(second, importRows(each(lines), owner));
        const found = await second.openWhole();
        assert.deepEqual(await holdingsOf(found), before);
        await found.close();
      });
    });
  });
}

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

for (const pair of PAIRS) {
  test(`a target that is not empty is refused, and one that was not filled to the end starts no node (${pair.name})`, async () => {
    await withPair(pair, async (source, target) => {
      await populate(source);
      const whole = await source.openWhole();
      const half = async function* () {
        let left = 20;
        for await (const row of readRows(whole)) {
          if (left === 0) throw new Error("the disk was pulled out");
          left -= 1;
          yield row;
        }
      };
      await assert.rejects(fill(target, half()), /pulled out/);
      await assert.rejects(
        target.open(),
        (error) => isCairnError(error, "wrong-state") && /did not end/.test(error.message),
      );
      await assert.rejects(
        fill(target, readRows(whole)),
        (error) => isCairnError(error, "wrong-state") && /not empty/.test(error.message),
      );
      await whole.close();
    });
  });
}

test("an export that is cut off, altered, of another node or of another release is refused", async () => {
  const source = await sqlite();
  try {
    await populate(source);
    const whole = await source.openWhole();
    const lines: string[] = [];
    for await (const line of exportLines(whole, owner)) lines.push(line);
    await whole.close();
    const refuse = async (
      changed: readonly string[],
      code: Parameters<typeof isCairnError>[1],
      who = owner,
    ) => {
      const reading = async () => {
        for await (const _ of importRows(each(changed), who));
      };
      await assert.rejects(reading(), (error) => isCairnError(error, code), code);
    };
    await refuse(lines.slice(0, -1), "malformed");
    await refuse([], "malformed");
    await refuse(lines.toSpliced(5, 1), "malformed");
    await refuse(lines.toSpliced(5, 0, lines[5] ?? ""), "malformed");
    await refuse(lines.with(3, (lines[3] ?? "").slice(0, -9)), "malformed");
    await refuse(
      lines.map((line) => line.replace("vote-cast", "vote-lost")),
      "malformed",
    );
    await refuse(lines, "config-invalid", { ...owner, node: node(2) });
    await refuse(
      lines.with(0, (lines[0] ?? "").replace(/"schema":\d+/, '"schema":1')),
      "unsupported-version",
    );
  } finally {
    await source.remove();
  }
});
