import type { NodeStore } from "@cairn/core";
import { systemClock } from "@cairn/core";
import { openPostgresStore } from "../src/postgres-store.ts";
import { postgresOptions } from "./postgres-place.ts";
import { openAt } from "./sqlite-place.ts";

/** Where a process under test finds its database, as one word: a file of sqlite, or a Postgres database. */
export type StoreSpec = string;

export function postgresSpec(
  place: { readonly host: string; readonly port: number },
  database: string,
): StoreSpec {
  return `postgres ${place.host} ${place.port} ${database}`;
}

export function openSpec(spec: StoreSpec): Promise<NodeStore> {
  const [, host = "", port, database = ""] = /^postgres (\S+) (\d+) (\S+)$/.exec(spec) ?? [];
  if (port === undefined) return openAt(spec);
  return openPostgresStore(postgresOptions({ host, port: Number(port) }, database), { clock: systemClock });
}
