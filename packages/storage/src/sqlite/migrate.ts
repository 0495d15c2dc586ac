import type { DatabaseSync } from "node:sqlite";
import {
  type AppliedMigration,
  type Migration,
  migrationChecksum,
  missingMigrations,
} from "../sql/schema-history.ts";

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
        (row): AppliedMigration => ({
          version: Number(row.version),
          name: String(row.name),
          checksum: String(row.checksum),
        }),
      );
    const record = database.prepare(
      "insert into schema_migrations (version, name, checksum, applied_at) values (?, ?, ?, ?)",
    );
    for (const migration of missingMigrations(applied, migrations)) {
      database.exec(migration.sql);
      record.run(migration.version, migration.name, migrationChecksum(migration), now);
    }
    database.exec("commit");
  } catch (cause) {
    if (database.isTransaction) database.exec("rollback");
    throw cause;
  }
}
