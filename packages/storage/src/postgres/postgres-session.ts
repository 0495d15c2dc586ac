import { setTimeout as sleep } from "node:timers/promises";
import { Client, type ClientConfig } from "pg";
import { StorageRefusal } from "../sql/storage-refusal.ts";

declare module "pg" {
  interface Client {
    /** Of its socket; the driver has them, its types don't. */
    ref(): void;
    unref(): void;
  }
}

/** Of the advisory lock that the one writer of a database holds: "cairn" in ASCII. Such locks are a database's own. */
const WRITER_LOCK = 0x636169726e;
const LOCK_LOOK_MS = 50;
const OLDEST_VERSION = 130_000;

/** What tells one server process from all others, past ones included. */
export interface Backend {
  readonly pid: number;
  readonly startedAt: string;
}

export interface WriterSession {
  readonly client: Client;
  readonly backend: Backend;
}

/**
 * Connects as the one writer of a database: the session that writes is the session that holds the advisory lock, so that a
 * connection that dies takes both the lock and the right to write with it, in one step. A transaction of `previous`, this store's
 * last session, has ended when this resolves: the server gives the lock free after it.
 * @throws StorageRefusal `storage-locked` while another session has the lock for `lockMs`; `config-invalid` when the server does not keep what
 *   it acknowledges; whatever the driver throws
 */
export async function openWriterSession(
  config: ClientConfig,
  lockMs: number,
  previous: Backend | null,
): Promise<WriterSession> {
  const client = new Client(config);
  // Each waiting query hears of it too; without a listener the process would end.
  client.on("error", () => {});
  try {
    await client.connect();
    const backend = await inspect(client);
    if (previous !== null) {
      // A connection that only this side has lost may live on for minutes.
      await client.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and backend_start = $2::timestamptz",
        [previous.pid, previous.startedAt],
      );
    }
    const until = performance.now() + lockMs;
    while (!(await tryLock(client))) {
      if (performance.now() > until) {
        throw new StorageRefusal(
          "storage-locked",
          "another process has this node's database open: stop it (pg_stat_activity names it), or give this node a database of its own",
          { database: String(config.database) },
        );
      }
      await sleep(LOCK_LOOK_MS);
    }
    return { client, backend };
  } catch (cause) {
    await endClient(client);
    throw cause;
  }
}

/** Ends a connection that may be dead already. */
export async function endClient(client: Client): Promise<void> {
  try {
    await client.end();
  } catch {
    // It was dead.
  }
}

async function tryLock(client: Client): Promise<boolean> {
  const { rows } = await client.query("select pg_try_advisory_lock($1) as got", [WRITER_LOCK]);
  return rows[0].got === 1;
}

/** @throws StorageRefusal when an acknowledged commit could be lost on this server */
async function inspect(client: Client): Promise<Backend> {
  const { rows } = await client.query(`select
  current_setting('synchronous_commit') as synchronous_commit,
  current_setting('fsync') as fsync,
  current_setting('full_page_writes') as full_page_writes,
  current_setting('server_encoding') as encoding,
  current_setting('server_version_num') as version,
  pg_is_in_recovery() as standby,
  pg_backend_pid() as pid,
  (select backend_start::text from pg_stat_activity where pid = pg_backend_pid()) as started`);
  const [found] = rows;
  const refuse = (setting: string, value: string, wanted: string): never => {
    throw new StorageRefusal(
      "config-invalid",
      `the Postgres server runs with ${setting} = ${value}, which the node's database must not: it needs ${wanted}`,
      { setting, value },
    );
  };
  if (Number(found.version) < OLDEST_VERSION) refuse("server_version_num", found.version, "13 or later");
  for (const setting of ["synchronous_commit", "fsync", "full_page_writes"]) {
    if (found[setting] !== "on") refuse(setting, found[setting], "on, or a commit could be lost");
  }
  if (found.encoding !== "UTF8") refuse("server_encoding", found.encoding, "UTF8");
  if (found.standby === 1) refuse("pg_is_in_recovery()", "true", "the primary server");
  return { pid: Number(found.pid), startedAt: String(found.started) };
}
