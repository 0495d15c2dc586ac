import type { Clock, ClusterId, NodeIndex, NodeStore } from "@cairn/core";
import type { SqlExecutor } from "./sql/sql-executor.ts";
import { SqlNodeStore } from "./sql/sql-node-store.ts";
import { migrations } from "./sqlite/migrations.ts";
import { WorkerExecutor } from "./sqlite/worker-executor.ts";

export interface SqliteStoreOptions {
  /** The database file. Its folder must be the owner's alone (0700), and is made where it is missing. */
  readonly path: string;
  /** Whose state it holds: a database that was made for another node is refused. */
  readonly cluster: ClusterId;
  readonly node: NodeIndex;
}

/**
 * A {@link NodeStore} in one sqlite file: write-ahead log, flushed at every commit, for one process at a time.
 *
 * ```ts
 * const store = await openSqliteStore({ path: "data/node.db", cluster, node }, { clock: systemClock });
 * ```
 *
 * A failed disk ends the store: whatever was being committed may or may not be kept, and shows at the next start.
 * @throws CairnError `storage-locked` while another process has it, `storage-corrupt`, `storage-full`, `storage-failed`,
 *   `schema-too-new`, `file-mode`, `config-invalid` when it is another node's
 */
export async function openSqliteStore(
  options: SqliteStoreOptions,
  modules: { readonly clock: Clock },
): Promise<NodeStore> {
  return SqlNodeStore.create(await openSqlite(options, modules));
}

/** The database itself, for what reads and writes it whole. */
export async function openSqlite(
  { path, cluster, node }: SqliteStoreOptions,
  modules: { readonly clock: Clock },
): Promise<SqlExecutor> {
  return WorkerExecutor.open({ path, cluster, node, migrations, now: modules.clock.now() });
}
