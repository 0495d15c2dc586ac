import { createHash } from "node:crypto";
import { StorageRefusal } from "./storage-refusal.ts";

/** One step of a schema. What is released never changes: its checksum is kept in every database. */
export interface Migration {
  /** From 1, without gaps. */
  readonly version: number;
  readonly name: string;
  readonly sql: string;
}

/** A step that a database has been through. */
export interface AppliedMigration {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
}

/**
 * The steps that a database still lacks.
 * @param applied in rising order
 * @throws StorageRefusal `schema-too-new` when a later release made the database, `storage-corrupt` when its history is not this one
 */
export function missingMigrations(
  applied: readonly AppliedMigration[],
  migrations: readonly Migration[],
): readonly Migration[] {
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
    if (migration?.version === row.version && migrationChecksum(migration) === row.checksum) continue;
    throw new StorageRefusal(
      "storage-corrupt",
      `step ${row.version} (${row.name}) of this database's schema is not this release's: it was made by an altered build`,
      { version: row.version, name: row.name },
    );
  }
  return migrations.slice(applied.length);
}

/** SHA-256 of a step's statements, hex. */
export function migrationChecksum(migration: Migration): string {
  return createHash("sha256").update(migration.sql).digest("hex");
}
