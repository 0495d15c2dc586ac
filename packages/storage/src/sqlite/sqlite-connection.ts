import { statSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { Migration } from "../sql/schema-history.ts";
import type { SqlRow, SqlStatement } from "../sql/sql-executor.ts";
import { StorageRefusal } from "../sql/storage-refusal.ts";
import { migrate } from "./migrate.ts";
import { ensurePrivateFile } from "./private-file.ts";
import { sqliteFailure } from "./sqlite-error.ts";

export interface SqliteConnectionOptions {
  readonly path: string;
  /** Whose database it is: another node's is refused. */
  readonly cluster: string;
  readonly node: number;
  readonly migrations: readonly Migration[];
  /** For the record of migrations, milliseconds since the Unix epoch. */
  readonly now: number;
}

/** What came of one commit or query. */
export type Outcome =
  | { readonly ok: true; readonly rows: readonly SqlRow[] }
  | { readonly ok: false; readonly error: StorageRefusal };

const MAX_PREPARED = 512;

/**
 * One node's sqlite database, synchronous: it waits for the disk, so it belongs into a thread of its own.
 *
 * - `journal_mode = WAL` with `synchronous = FULL`: each commit is flushed before it returns
 *   (https://www.sqlite.org/pragma.html#pragma_synchronous). With NORMAL, a power cut could take back burns.
 * - `locking_mode = EXCLUSIVE`, taken at once: the lock is on the database file itself and dies with the process; there is no
 *   lock file that a person could delete. It also keeps the index of the log in memory, without a `-shm` file.
 */
export class SqliteConnection {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #prepared = new Map<string, StatementSync>();
  #failed: StorageRefusal | null = null;

  private constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#path = path;
  }

  /**
   * Opens and checks the database, and makes or migrates its schema.
   * @throws StorageRefusal `file-mode`, `storage-locked`, `storage-corrupt`, `storage-full`, `storage-failed`, `schema-too-new`,
   *   `config-invalid` when the database is another node's
   */
  static open(options: SqliteConnectionOptions): SqliteConnection {
    const { path } = options;
    ensurePrivateFile(path);
    let database: DatabaseSync | null = null;
    try {
      database = new DatabaseSync(path, { enableForeignKeyConstraints: true });
      configure(database);
      checkIntegrity(database, path);
      migrate(database, options.migrations, options.now);
      bind(database, options);
      return new SqliteConnection(database, path);
    } catch (cause) {
      database?.close();
      throw sqliteFailure(cause, path)?.error ?? cause;
    }
  }

  /**
   * Runs each of `commits` wholly or not at all, in order, and flushes once for all of them: none is reported before the
   * flush, and one that is refused leaves the others as they are.
   */
  commit(commits: readonly (readonly SqlStatement[])[]): readonly Outcome[] {
    if (this.#failed !== null) return commits.map(() => this.#refusal());
    try {
      this.#database.exec("begin immediate");
      const outcomes = commits.map((statements) => this.#nested(statements));
      this.#database.exec("commit");
      return outcomes;
    } catch (cause) {
      const error = this.#fail(cause);
      if (this.#database.isTransaction) this.#database.exec("rollback");
      if (this.#failed !== null || commits.length === 1) {
        return commits.map((): Outcome => ({ ok: false, error }));
      }
      // One that is too big for the disk must not take its neighbours with it.
      return commits.flatMap((statements) => this.commit([statements]));
    }
  }

  query(statement: SqlStatement): Outcome {
    if (this.#failed !== null) return this.#refusal();
    try {
      return { ok: true, rows: this.#run(statement) };
    } catch (cause) {
      return { ok: false, error: this.#fail(cause) };
    }
  }

  close(): void {
    this.#database.close();
  }

  #nested(statements: readonly SqlStatement[]): Outcome {
    this.#database.exec("savepoint one");
    try {
      let rows: readonly SqlRow[] = [];
      for (const statement of statements) rows = this.#run(statement);
      this.#database.exec("release one");
      return { ok: true, rows };
    } catch (cause) {
      const refused = cause instanceof StorageRefusal ? cause : refusal(cause, this.#path);
      // Anything but a refusal ends the whole group: sqlite may have rolled all of it back already.
      if (refused === null || !this.#database.isTransaction) throw cause;
      this.#database.exec("rollback to one; release one");
      return { ok: false, error: refused };
    }
  }

  #run({ sql, parameters, expect }: SqlStatement): readonly SqlRow[] {
    const rows: readonly SqlRow[] = this.#prepare(sql).all(...parameters);
    if (expect !== undefined && rows.length !== expect.rows) {
      throw new StorageRefusal(expect.code, expect.message, expect.data);
    }
    return rows;
  }

  #prepare(sql: string): StatementSync {
    const prepared = this.#prepared.get(sql);
    if (prepared !== undefined) return prepared;
    if (this.#prepared.size >= MAX_PREPARED) this.#prepared.clear();
    const statement = this.#database.prepare(sql);
    this.#prepared.set(sql, statement);
    return statement;
  }

  /** The error for `cause`, and the end of the store where the disk can no longer be trusted. */
  #fail(cause: unknown): StorageRefusal {
    const failure = sqliteFailure(cause, this.#path);
    if (failure === null) throw cause;
    if (failure.fatal) this.#failed = failure.error;
    return failure.error;
  }

  #refusal(): Outcome {
    return {
      ok: false,
      error: new StorageRefusal(
        "storage-failed",
        "the node's database stopped after an earlier failure: mend its cause and start the node again",
        { path: this.#path, earlier: this.#failed?.code ?? null },
        { cause: this.#failed },
      ),
    };
  }
}

function configure(database: DatabaseSync): void {
  // The order matters: exclusive before the first access to the log, or sqlite would share its index through a file.
  database.exec("pragma locking_mode = exclusive");
  database.exec("begin exclusive; commit");
  database.exec("pragma journal_mode = wal");
  database.exec("pragma synchronous = full");
  // Where a plain flush stops at the drive's cache (macOS), ask for the whole way.
  database.exec("pragma fullfsync = on; pragma checkpoint_fullfsync = on");
  database.exec("pragma secure_delete = on");
  database.exec("pragma trusted_schema = off");
  database.exec("pragma cell_size_check = on");
  database.exec(`pragma journal_size_limit = ${64 * 1024 * 1024}`);
}

function checkIntegrity(database: DatabaseSync, path: string): void {
  const found = database
    .prepare("pragma quick_check(5)")
    .all()
    .map((row) => String(row.quick_check));
  if (found.length === 1 && found[0] === "ok") return;
  throw new StorageRefusal(
    "storage-corrupt",
    "the node's database is damaged: keep the file for inspection and restore the node from a backup",
    { path, bytes: statSync(path).size, findings: found },
  );
}

function bind(database: DatabaseSync, { path, cluster, node }: SqliteConnectionOptions): void {
  database.exec(`create table if not exists owner (
  one integer primary key check (one = 1),
  cluster text not null,
  node integer not null
) strict`);
  database
    .prepare("insert into owner (one, cluster, node) values (1, ?, ?) on conflict do nothing")
    .run(cluster, node);
  const found = database.prepare("select cluster, node from owner").get();
  const owner = { cluster: String(found?.cluster), node: Number(found?.node) };
  if (owner.cluster === cluster && owner.node === node) return;
  throw new StorageRefusal(
    "config-invalid",
    `the database at ${path} belongs to node ${owner.node} of cluster ${owner.cluster}: point this node to its own`,
    { path, cluster: owner.cluster, node: owner.node },
  );
}

/** The error of one commit that its neighbours need not suffer for, or null. */
function refusal(cause: unknown, path: string): StorageRefusal | null {
  const failure = sqliteFailure(cause, path);
  return failure?.error.code === "wrong-state" || failure?.error.code === "malformed" ? failure.error : null;
}
