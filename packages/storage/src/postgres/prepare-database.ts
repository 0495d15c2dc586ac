import { Client, type ClientConfig } from "pg";
import {
  type AppliedMigration,
  type Migration,
  migrationChecksum,
  missingMigrations,
} from "../sql/schema-history.ts";
import { StorageRefusal } from "../sql/storage-refusal.ts";
import { endClient } from "./postgres-session.ts";

export interface DatabaseOwner {
  readonly cluster: string;
  readonly node: number;
}

/**
 * Brings the schema to the last of `migrations` and binds the database to its node, in one transaction of a connection of
 * its own, while the caller holds the writer's lock.
 * @param now for the record of migrations, milliseconds since the Unix epoch
 * @returns the generation that this opening is: no earlier one can commit any more
 * @throws StorageRefusal `schema-too-new`, `storage-corrupt` as of {@link missingMigrations}, `config-invalid` when the database is another
 *   node's; whatever the driver throws
 */
export async function prepareDatabase(
  config: ClientConfig,
  migrations: readonly Migration[],
  owner: DatabaseOwner,
  now: number,
): Promise<number> {
  const client = new Client(config);
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query("begin");
    await client.query(`create table if not exists owner (
  one boolean primary key default true check (one),
  cluster text not null,
  node bigint not null,
  generation bigint not null,
  commits bigint not null
) with (fillfactor = 10)`);
    await client.query(
      "insert into owner (cluster, node, generation, commits) values ($1, $2, 0, 0) on conflict do nothing",
      [owner.cluster, owner.node],
    );
    const bound = await client.query(
      "update owner set generation = generation + 1, commits = 0 returning cluster, node, generation",
    );
    const [found] = bound.rows;
    if (found.cluster !== owner.cluster || found.node !== owner.node) {
      throw new StorageRefusal(
        "config-invalid",
        `the database ${client.database} belongs to node ${found.node} of cluster ${found.cluster}: point this node to its own`,
        { database: client.database ?? "", cluster: found.cluster, node: found.node },
      );
    }
    await migrate(client, migrations, now);
    // Rows that were moved in brought their own numbers.
    await client.query(
      "select setval('outbox_seq_seq', greatest((select max(seq) from outbox), (select last_value from outbox_seq_seq)))",
    );
    await client.query("commit");
    return found.generation;
  } finally {
    await endClient(client);
  }
}

async function migrate(client: Client, migrations: readonly Migration[], now: number): Promise<void> {
  await client.query(`create table if not exists schema_migrations (
  version bigint primary key,
  name text not null,
  checksum text not null,
  applied_at bigint not null
)`);
  const applied = await client.query<AppliedMigration>(
    "select version, name, checksum from schema_migrations order by version",
  );
  for (const migration of missingMigrations(applied.rows, migrations)) {
    await client.query(migration.sql);
    await client.query(
      "insert into schema_migrations (version, name, checksum, applied_at) values ($1, $2, $3, $4)",
      [migration.version, migration.name, migrationChecksum(migration), now],
    );
  }
}
