import { createHash } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import type { Migration } from "./migrations.ts";
import { StorageRefusal } from "./storage-refusal.ts";

interface Applied {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
}

/**
 * Brings the schema to the last of `migrations`, in one transaction. `now` is milliseconds since the Unix epoch.
 * @throws StorageRefusal `schema-too-new` when a later release made the database, `storage-corrupt` when its history is not this one
 */
export function migrate(database: DatabaseSync, migrations: readonly Migration[], now: number): void {
  database.exec("begin immediate");
  try {
    database.exec(`create table if not exists schema_migrations (
  version integer primary key,
  name text not null,
  checksum text not null,
  applied_at integer not null
) strict`);
    const applied = database
      .prepare("select version, name, checksum from schema_migrations order by version")
      .all()
      .map(
        (row): Applied => ({
          version: Number(row.version),
          name: String(row.name),
          checksum: String(row.checksum),
        }),
      );
    refuseForeign(applied, migrations);
    const record = database.prepare(
      "insert into schema_migrations (version, name, checksum, applied_at) values (?, ?, ?, ?)",
    );
    for (const migration of migrations.slice(applied.length)) {
      database.exec(migration.sql);
      record.run(migration.version, migration.name, checksum(migration), now);
    }
    database.exec("commit");
  } catch (cause) {
    if (database.isTransaction) database.exec("rollback");
    throw cause;
  }
}

function refuseForeign(applied: readonly Applied[], migrations: readonly Migration[]): void {
  const newest = applied.at(-1)?.version ?? 0;
  const known = migrations.at(-1)?.version ?? 0;
  if (newest > known) {
    throw new StorageRefusal(
      "schema-too-new",
      `a later release of Cairn made this database (schema ${newest}, known up to ${known}): start that release or a newer one`,
      { schema: newest, known },
    );
  }
  for (const [position, row] of applied.entries()) {
    const migration = migrations[position];
    if (migration?.version === row.version && checksum(migration) === row.checksum) continue;
    throw new StorageRefusal(
      "storage-corrupt",
      `step ${row.version} (${row.name}) of this database's schema is not this release's: it was made by an altered build`,
      { version: row.version, name: row.name },
    );
  }
}

function checksum(migration: Migration): string {
  return createHash("sha256").update(migration.sql).digest("hex");
}
