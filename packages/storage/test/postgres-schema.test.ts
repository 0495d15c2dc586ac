import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { transactionStates } from "@cairn/core";
import { migrations as sqliteMigrations } from "../src/sqlite/migrations.ts";
import { PostgresServer } from "../test-support/index.ts";
import { createPostgresPlace } from "./postgres-place.ts";

/** Of Postgres alone: what its tables are for beside the port, and the record of who owns the database. */
const extra = new Set([
  "votes.id",
  "votes.round_id",
  "voting_rounds.id",
  ...["one", "cluster", "node", "generation", "commits"].map((name) => `owner.${name}`),
  ...["version", "name", "checksum", "applied_at"].map((name) => `schema_migrations.${name}`),
]);

test("Postgres has every table and column of sqlite, null where that may be null, and knows every state", async () => {
  const sqlite = new DatabaseSync(":memory:");
  for (const { sql } of sqliteMigrations) sqlite.exec(sql);
  const wanted = sqlite
    .prepare(
      `select m.name || '.' || c.name || case when c."notnull" or c.pk then '' else ' null' end as name
       from sqlite_schema m, pragma_table_xinfo(m.name) c where m.type = 'table' and m.name not like 'sqlite_%'`,
    )
    .all()
    .map((row) => String(row.name));
  const server = await PostgresServer.create();
  try {
    const place = await createPostgresPlace(server);
    await (await place.open()).close();
    const columns = await server.sql(
      place.database,
      `select table_name || '.' || column_name as column, is_nullable from information_schema.columns where table_schema = 'public'`,
    );
    const found = columns
      .filter(({ column }) => !extra.has(String(column)))
      .map((row) => `${row.column}${row.is_nullable === "YES" ? " null" : ""}`);
    assert.deepEqual(found.sort(), wanted.sort());
    const states = await server.sql(
      place.database,
      "select unnest(enum_range(null::transaction_state))::text as s",
    );
    assert.deepEqual(
      states.map(({ s }) => s),
      [...transactionStates],
    );
  } finally {
    await server.remove();
  }
});
