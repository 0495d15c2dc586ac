import { type NodeStore, systemClock } from "@cairn/core";
import { openPostgresStore, type PostgresStoreOptions } from "../src/postgres-store.ts";
import type { PostgresServer } from "../test-support/index.ts";
import { owner } from "./sqlite-place.ts";

let databases = 0;

export function postgresOptions(
  { host, port }: { readonly host: string; readonly port: number },
  database: string,
): PostgresStoreOptions {
  return {
    location: { host, port, user: "cairn", database, tls: null },
    password: async () => "secret",
    ...owner,
  };
}

/** A database of its own on `server`. */
export async function createPostgresPlace(server: PostgresServer) {
  databases += 1;
  const database = `node_${databases}`;
  await server.createDatabase(database);
  const options = postgresOptions(server, database);
  return {
    database,
    options,
    open: (changes: Partial<PostgresStoreOptions> = {}): Promise<NodeStore> =>
      openPostgresStore({ ...options, ...changes }, { clock: systemClock }),
    remove: async () => {
      await server.sql("postgres", `drop database if exists ${database} with (force)`);
    },
  };
}
