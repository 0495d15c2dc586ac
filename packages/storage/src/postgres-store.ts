import { readFile } from "node:fs/promises";
import {
  CairnError,
  type Clock,
  type ClusterId,
  type NodeIndex,
  type NodeStore,
  type PostgresLocation,
} from "@cairn/core";
import { migrations } from "./postgres/migrations.ts";
import {
  defaultPostgresLimits,
  PostgresExecutor,
  type PostgresLimits,
} from "./postgres/postgres-executor.ts";
import { SqlNodeStore } from "./sql/sql-node-store.ts";

export interface PostgresStoreOptions {
  /** `tls.ca` is an absolute path here. The database must exist, and belong to the user. */
  readonly location: PostgresLocation;
  /** Asked for at each connection that the server wants one for; null is none. */
  readonly password: () => Promise<string | null>;
  /** Whose state it holds: a database that was made for another node is refused. */
  readonly cluster: ClusterId;
  readonly node: NodeIndex;
  readonly limits?: Partial<PostgresLimits>;
}

/**
 * A {@link NodeStore} in a Postgres database of its own, for one process at a time. A commit resolves once the server has flushed it;
 * while the server restarts, commits and reads wait. Beside what the port says, `busy` refuses a commit that the server undid several
 * times over (deadlocks, statements past their time), and a read that got no connection.
 *
 * @throws CairnError as of {@link PostgresExecutor.open}; `file-missing` without the file of `sslrootcert`
 */
export async function openPostgresStore(
  options: PostgresStoreOptions,
  modules: { readonly clock: Clock },
): Promise<NodeStore> {
  return SqlNodeStore.create(await openPostgres(options, modules));
}

/** The database itself, for what reads and writes it whole. */
export async function openPostgres(
  { location, password, cluster, node, limits }: PostgresStoreOptions,
  modules: { readonly clock: Clock },
): Promise<PostgresExecutor> {
  const authorities = location.tls?.ca == null ? null : await readAuthorities(location.tls.ca);
  return PostgresExecutor.open(
    {
      location,
      authorities,
      password,
      owner: { cluster, node },
      migrations,
      limits: { ...defaultPostgresLimits, ...limits },
    },
    modules,
  );
}

async function readAuthorities(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new CairnError(
      "file-missing",
      `${file} cannot be read; sslrootcert in storage.url names the certificate of the Postgres server's authority`,
      { file },
      { cause },
    );
  }
}
