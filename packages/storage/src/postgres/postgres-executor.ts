import { setTimeout as sleep } from "node:timers/promises";
import { CairnError, type Clock, type PostgresLocation } from "@cairn/core";
import { type Client, type ClientConfig, Pool } from "pg";
import type { Migration } from "../sql/schema-history.ts";
import type { SqlExecutor, SqlRow, SqlStatement } from "../sql/sql-executor.ts";
import { StorageRefusal } from "../sql/storage-refusal.ts";
import { type PostgresFailure, postgresFailure } from "./postgres-error.ts";
import { type Backend, endClient, openWriterSession } from "./postgres-session.ts";
import { postgresTypes, StatementBook } from "./postgres-values.ts";
import { type DatabaseOwner, prepareDatabase } from "./prepare-database.ts";

/** Times in milliseconds. */
export interface PostgresLimits {
  /** Longest wait for a lock, and longest life of a read; twice as long without an answer, and the connection is given up. */
  readonly statementMs: number;
  /** How long opening waits for a server that is not there, and for a lock that another process has. */
  readonly openMs: number;
  /** How long commits and reads wait for a server that went away before the store fails. */
  readonly reconnectMs: number;
  /** How long a read waits for one of the connections. */
  readonly queueMs: number;
  /** Connections for reading, beside the one that writes. */
  readonly readers: number;
}

export const defaultPostgresLimits: PostgresLimits = {
  statementMs: 10_000,
  openMs: 5_000,
  reconnectMs: 60_000,
  queueMs: 10_000,
  readers: 4,
};

export interface PostgresExecutorOptions {
  readonly location: PostgresLocation;
  /** PEM of the authorities that the server's certificate must come from; null takes the system's. */
  readonly authorities: string | null;
  /** Asked for at each connection that the server wants a password for. */
  readonly password: () => Promise<string | null>;
  readonly owner: DatabaseOwner;
  readonly migrations: readonly Migration[];
  readonly limits: PostgresLimits;
}

/** Most commits, and about most bytes, that share a transaction: bounds how long the first one waits for the others. */
const MAX_GROUP = 256;
const MAX_GROUP_BYTES = 16 * 1024 * 1024;
/** Tries of a transaction that the server undid for no fault of its own. */
const MAX_TRIES = 6;
const RETRY_MS = 20;
const RECONNECT_MS = 200;

interface Waiting {
  readonly statements: readonly SqlStatement[];
  readonly resolve: (rows: readonly SqlRow[]) => void;
  readonly reject: (error: CairnError) => void;
}

type Rows = readonly (readonly SqlRow[])[];

/**
 * One node's Postgres database.
 *
 * Everything is written by one session, which holds the lock ({@link openWriterSession}); commits that are asked for while an earlier one
 * is under way share the next transaction. Each transaction first counts itself in the row `owner`, in this store's generation. That is
 *
 * - the fence: opening begins a generation, so a store that lost its lock to another process finds no row to count in, whatever
 *   stands between it and the server;
 * - the answer to an ambiguous commit: once a new session has the lock, the count says whether the last transaction is kept.
 */
export class PostgresExecutor implements SqlExecutor {
  readonly #options: PostgresExecutorOptions;
  readonly #clock: Clock;
  readonly #book = new StatementBook();
  readonly #readers: Pool;
  readonly #waiting: Waiting[] = [];
  #client: Client | null;
  #backend: Backend;
  readonly #generation: number;
  /** Transactions of this generation that are known to be kept. */
  #commits = 0;
  #working: Promise<void> | null = null;
  /** Settles with the newest commit that was asked for. */
  #newest: Promise<unknown> = Promise.resolve();
  #failure: StorageRefusal | null = null;
  #ended: CairnError | null = null;
  #closing: Promise<void> | null = null;

  private constructor(
    options: PostgresExecutorOptions,
    clock: Clock,
    opened: { readonly client: Client; readonly backend: Backend; readonly generation: number },
  ) {
    this.#options = options;
    this.#clock = clock;
    this.#client = opened.client;
    this.#backend = opened.backend;
    this.#generation = opened.generation;
    this.#readers = new Pool({
      ...connectionOptions(options, "-c default_transaction_read_only=on"),
      max: options.limits.readers,
      connectionTimeoutMillis: options.limits.queueMs,
      allowExitOnIdle: true,
    });
    // A connection that breaks while nobody uses it is replaced at the next read.
    this.#readers.on("error", () => {});
    this.#watch(opened.client);
  }

  /**
   * Connects, takes the lock, and makes or migrates the schema.
   * @throws CairnError `storage-locked`, `storage-corrupt`, `storage-full`, `storage-failed` while no server answers, `schema-too-new`,
   *   `config-invalid` for another node's database, a wrong password or certificate, or a server that forgets commits
   */
  static async open(
    options: PostgresExecutorOptions,
    modules: { readonly clock: Clock },
  ): Promise<PostgresExecutor> {
    const { location, limits, owner, migrations } = options;
    const { clock } = modules;
    const until = clock.monotonic() + limits.openMs;
    for (;;) {
      let client: Client | null = null;
      try {
        const session = await openWriterSession(writerOptions(options), limits.openMs, null);
        client = session.client;
        const generation = await prepareDatabase(
          // A migration takes as long as it takes.
          { ...connectionOptions(options, "-c statement_timeout=0"), query_timeout: 0 },
          migrations,
          owner,
          clock.now(),
        );
        return new PostgresExecutor(options, clock, { ...session, generation });
      } catch (cause) {
        if (client !== null) await endClient(client);
        const { kind, error } = postgresFailure(cause, location);
        const again = (kind === "lost" || kind === "again") && clock.monotonic() < until;
        if (!again) throw cairnError(error);
        await sleep(RECONNECT_MS);
      }
    }
  }

  commit(statements: readonly SqlStatement[]): Promise<readonly SqlRow[]> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    if (statements.length === 0) return Promise.resolve([]);
    const done = this.#enqueue(statements);
    this.#newest = done.catch(() => {});
    return done;
  }

  async query(statement: SqlStatement): Promise<readonly SqlRow[]> {
    if (this.#ended !== null) throw this.#ended;
    // A read sees what was committed before it was asked for, also where nobody waited for that commit.
    await this.#newest;
    const until = this.#clock.monotonic() + this.#options.limits.reconnectMs;
    for (let tries = 1; ; tries += 1) {
      if (this.#ended !== null) throw this.#ended;
      try {
        const { rows } = await this.#readers.query(this.#book.prepare(statement));
        return rows;
      } catch (cause) {
        // pg-pool has no other mark for it.
        if (cause instanceof Error && cause.message === "timeout exceeded when trying to connect") {
          throw new CairnError("busy", "all connections to the node's database are in use: try again", {
            readers: this.#options.limits.readers,
          });
        }
        const { kind, error } = postgresFailure(cause, this.#options.location);
        const again =
          (kind === "lost" && this.#clock.monotonic() < until) || (kind === "again" && tries < MAX_TRIES);
        if (!again) {
          if (kind === "lost" || kind === "fatal") this.#fail(error);
          throw cairnError(error);
        }
        await sleep(kind === "lost" ? RECONNECT_MS : RETRY_MS * 2 ** tries);
      }
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#ended ??= new CairnError("closed", "the store is closed", {});
    await this.#working;
    const client = this.#client;
    this.#client = null;
    // Idle connections do not keep the process alive; their end does.
    const held = setInterval(() => {}, 60_000);
    try {
      if (client !== null) await endClient(client);
      await this.#readers.end();
    } finally {
      clearInterval(held);
    }
  }

  #enqueue(statements: readonly SqlStatement[]): Promise<readonly SqlRow[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ statements, resolve, reject });
      this.#working ??= this.#work();
    });
  }

  async #work(): Promise<void> {
    // An idle store does not keep the process alive; a commit under way does.
    this.#client?.ref();
    while (this.#waiting.length > 0) await this.#apply(this.#nextGroup());
    this.#client?.unref();
    this.#working = null;
  }

  #nextGroup(): readonly Waiting[] {
    let bytes = 0;
    const first = this.#waiting.findIndex(({ statements }, position) => {
      bytes += size(statements);
      return position > 0 && (position >= MAX_GROUP || bytes > MAX_GROUP_BYTES);
    });
    return this.#waiting.splice(0, first === -1 ? this.#waiting.length : first);
  }

  async #apply(group: readonly Waiting[]): Promise<void> {
    let rows: Rows;
    try {
      rows = await this.#transact(group.map(({ statements }) => statements));
    } catch (cause) {
      if (!(cause instanceof Failed)) throw cause;
      const { kind, error } = cause;
      if (kind === "fatal") {
        this.#fail(error);
        for (const { reject } of [...group, ...this.#waiting.splice(0)]) reject(cairnError(error));
      } else if (kind === "refused" && group.length > 1) {
        // One that is refused must not take its neighbours with it.
        for (const one of group) await this.#apply([one]);
      } else {
        for (const { reject } of group) reject(cairnError(error));
      }
      return;
    }
    group.forEach(({ resolve }, position) => {
      resolve(rows[position] ?? []);
    });
  }

  /**
   * Runs `commits` as one transaction, over as many connections as it takes.
   * @returns the rows of each one's last statement
   * @throws Failed `refused` or `again` when nothing of it is kept, `fatal` when that cannot be said
   */
  async #transact(commits: readonly (readonly SqlStatement[])[]): Promise<Rows> {
    const { location, limits } = this.#options;
    const until = this.#clock.monotonic() + limits.reconnectMs;
    const number = this.#commits + 1;
    /** Set from the moment at which COMMIT was sent, until it is known what came of it. */
    let sent: Rows | null = null;
    for (let tries = 1; ; ) {
      if (this.#failure !== null) throw new Failed({ kind: "fatal", error: this.#failure });
      try {
        const client = this.#client ?? (await this.#reconnect(until));
        if (sent !== null && this.#commits === number) return sent;
        sent = null;
        const rows = await this.#run(client, number, commits);
        sent = rows;
        await client.query("commit");
        this.#commits = number;
        return rows;
      } catch (cause) {
        const { kind, error } = cause instanceof Failed ? cause : postgresFailure(cause, location);
        if (kind === "lost") {
          this.#drop();
          if (this.#clock.monotonic() > until) throw new Failed({ kind: "fatal", error });
          await sleep(RECONNECT_MS);
          continue;
        }
        // The server has answered: whatever was sent is undone.
        sent = null;
        if (kind !== "again" || tries >= MAX_TRIES) throw new Failed({ kind, error });
        await sleep(RETRY_MS * 2 ** tries);
        tries += 1;
      }
    }
  }

  /** All of a transaction but its end. Everything is sent at once: a distant server costs one round trip, and one for the commit. */
  async #run(client: Client, number: number, commits: readonly (readonly SqlStatement[])[]): Promise<Rows> {
    const count = this.#book.prepare({
      sql: "update owner set commits = ? where generation = ? returning commits",
      parameters: [number, this.#generation],
    });
    const began = [client.query("begin"), client.query(count)];
    const statements = commits.flat();
    const answers = Promise.allSettled(
      statements.map((statement) => client.query(this.#book.prepare(statement))),
    );
    try {
      const [, counted] = await Promise.all(began);
      if (counted?.rows.length !== 1) throw new Failed(overtaken(this.#options.location));
      const outcomes = await answers;
      let position = 0;
      return commits.map((own) => {
        let rows: readonly SqlRow[] = [];
        // In order: what failed first may be why later ones did.
        for (const { expect } of own) {
          const outcome = outcomes[position];
          position += 1;
          if (outcome?.status === "rejected") throw outcome.reason;
          rows = outcome?.value.rows ?? [];
          if (expect !== undefined && rows.length !== expect.rows) {
            const error = new StorageRefusal(expect.code, expect.message, expect.data);
            throw new Failed({ kind: "refused", error });
          }
        }
        return rows;
      });
    } catch (cause) {
      await answers;
      await client.query("rollback");
      throw cause;
    }
  }

  /** {@link #openSession}; whatever else went wrong with it is no answer to what became of a commit. */
  async #reconnect(until: number): Promise<Client> {
    try {
      return await this.#openSession(until);
    } catch (cause) {
      const { kind, error } =
        cause instanceof Failed ? cause : postgresFailure(cause, this.#options.location);
      throw new Failed({ kind: kind === "fatal" ? kind : "lost", error });
    }
  }

  /** A new session with the lock, in which `#commits` is what the database says. */
  async #openSession(until: number): Promise<Client> {
    const left = Math.max(0, until - this.#clock.monotonic());
    const { client, backend } = await openWriterSession(writerOptions(this.#options), left, this.#backend);
    try {
      // A write, so that its own commit answers for all before it, also at a standby that commits wait for.
      const { rows } = await client.query(
        "update owner set commits = commits where generation = $1 returning commits",
        [this.#generation],
      );
      const [found] = rows;
      const known = this.#commits;
      if (found === undefined || found.commits < known || found.commits > known + 1) {
        throw new Failed(overtaken(this.#options.location));
      }
      this.#commits = found.commits;
    } catch (cause) {
      await endClient(client);
      throw cause;
    }
    this.#client = client;
    this.#backend = backend;
    this.#watch(client);
    return client;
  }

  /** Takes up the lock again as soon as the connection breaks, rather than at the next commit. */
  #watch(client: Client): void {
    client.on("end", () => {
      if (this.#client !== client) return;
      this.#client = null;
      if (this.#ended === null) this.#enqueue([]).catch(() => {});
    });
  }

  #drop(): void {
    const client = this.#client;
    this.#client = null;
    if (client !== null) void endClient(client);
  }

  #fail(error: StorageRefusal): void {
    this.#failure ??= error;
    this.#ended ??= new CairnError(
      "storage-failed",
      "the node's database stopped after an earlier failure: mend its cause and start the node again",
      { ...error.data, earlier: error.code },
      { cause: error },
    );
    this.#drop();
  }
}

/** A failure whose meaning is known. */
class Failed extends Error {
  readonly kind: PostgresFailure["kind"];
  readonly error: StorageRefusal;

  constructor({ kind, error }: PostgresFailure) {
    super(error.message);
    this.kind = kind;
    this.error = error;
  }
}

function cairnError({ code, message, data, cause }: StorageRefusal): CairnError {
  return new CairnError(code, message, data, cause === undefined ? {} : { cause });
}

function overtaken({ database }: PostgresLocation): PostgresFailure {
  return {
    kind: "fatal",
    error: new StorageRefusal(
      "storage-failed",
      "another process has taken over this node's database: find out which, and run one alone",
      { database },
    ),
  };
}

function size(statements: readonly SqlStatement[]): number {
  return statements
    .flatMap(({ parameters }) => parameters)
    .reduce<number>((sum, value) => sum + (value instanceof Uint8Array ? value.byteLength : 0), 0);
}

function writerOptions(options: PostgresExecutorOptions): ClientConfig {
  // A COMMIT that waits for a standby and runs into a time limit of the server is reported as done. Locks have a limit of their own.
  return { ...connectionOptions(options, "-c statement_timeout=0"), pipeline: true };
}

/** Everything is set here: what is left out would come from `PG…` variables. */
function connectionOptions(
  { location, authorities, password, limits }: PostgresExecutorOptions,
  session: string,
): ClientConfig {
  const { host, port, user, database, tls } = location;
  const settings = [
    "-c synchronous_commit=on -c search_path=public -c client_encoding=UTF8 -c bytea_output=hex",
    `-c statement_timeout=${limits.statementMs} -c lock_timeout=${limits.statementMs}`,
    // So that the server misses a machine that vanished, and gives the lock free.
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
    session,
  ];
  return {
    host,
    port,
    user,
    database,
    password: async () => (await password()) ?? "",
    ssl:
      tls === null ? false : { minVersion: "TLSv1.2", ...(authorities === null ? {} : { ca: authorities }) },
    sslnegotiation: "postgres",
    options: settings.join(" "),
    application_name: "cairn",
    keepAlive: true,
    connectionTimeoutMillis: limits.statementMs,
    query_timeout: 2 * limits.statementMs,
    types: postgresTypes,
  };
}
