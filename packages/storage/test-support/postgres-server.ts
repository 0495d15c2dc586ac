import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, globSync } from "node:fs";
import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freeEndpoints } from "@cairn/core/test-support";
import { Client } from "pg";

const run = promisify(execFile);

export interface PostgresServerOptions {
  /** Lines of `postgresql.conf`. */
  readonly settings?: readonly string[];
  /** Makes the PEM files for TLS at this address. */
  readonly tls?: (host: string) => Promise<{ readonly certificate: Uint8Array; readonly key: Uint8Array }>;
}

/** A Postgres server of a test's own: loopback, a free port, a temporary folder, the role `cairn` with the password `secret`. End it with `remove`. */
export class PostgresServer {
  readonly host: string;
  readonly port: number;
  readonly #bin: string;
  readonly #folder: string;
  #process: ChildProcess | null = null;
  #log = "";

  private constructor(bin: string, folder: string, host: string, port: number) {
    this.#bin = bin;
    this.#folder = folder;
    this.host = host;
    this.port = port;
  }

  static async create(options: PostgresServerOptions = {}): Promise<PostgresServer> {
    const bin = findBinaries();
    const folder = await mkdtemp(join(tmpdir(), "cairn-postgres-"));
    const [place] = await freeEndpoints(1);
    if (place === undefined) throw new Error("no free port");
    const server = new PostgresServer(bin, folder, place.host, place.port);
    try {
      await server.#initialise(options);
      await server.start();
      await server.sql("postgres", "create role cairn login password 'secret'");
      return server;
    } catch (cause) {
      await server.remove();
      throw cause;
    }
  }

  /** Starts it, and resolves once it takes connections. */
  async start(): Promise<void> {
    const [command, ...words] = this.#asUser([
      join(this.#bin, "postgres"),
      "-D",
      join(this.#folder, "data"),
      "-k",
      "",
    ]);
    const child = spawn(command ?? "", words, { stdio: ["ignore", "ignore", "pipe"], cwd: this.#folder });
    this.#process = child;
    child.stderr.on("data", (chunk) => {
      this.#log = (this.#log + String(chunk)).slice(-65_536);
    });
    for (;;) {
      if (child.exitCode !== null) throw new Error(`the Postgres server did not start: ${this.#log}`);
      const client = this.#client("postgres");
      try {
        await client.connect();
        await client.end();
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  /** Ends it: `fast` breaks connections and flushes, `kill` is SIGKILL for the server and all of its children. */
  async stop(how: "fast" | "kill"): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    if (how === "fast") child.kill("SIGINT");
    else signal(await family(child), "SIGKILL");
    await exit;
  }

  /** Stops or continues the server and its children, so that it takes connections and answers nothing. */
  async signal(name: "SIGSTOP" | "SIGCONT"): Promise<void> {
    if (this.#process !== null) signal(await family(this.#process), name);
  }

  async createDatabase(name: string): Promise<void> {
    await this.sql("postgres", `create database ${name} owner cairn`);
  }

  /** Runs statements as the superuser. */
  async sql(database: string, text: string): Promise<readonly Record<string, unknown>[]> {
    const client = this.#client(database);
    await client.connect();
    try {
      return (await client.query(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** A connection of the superuser. */
  async connect(database: string): Promise<Client> {
    const client = this.#client(database);
    client.on("error", () => {});
    await client.connect();
    return client;
  }

  /**
   * Puts `meta` of a database where there are a few megabytes of room: on a file system of its own where this process may mount one (`real`),
   * else behind a trigger that fails as a full disk does.
   */
  async smallTablespace(
    database: string,
  ): Promise<{ readonly real: boolean; free(): Promise<void>; remove(): Promise<void> }> {
    const folder = join(this.#folder, `disk-${database}`);
    await mkdir(folder);
    const owner = await serverUser();
    const rights = owner === null ? "" : `,uid=${owner.uid},gid=${owner.gid},mode=700`;
    const ballast = join(folder, "ballast");
    try {
      await run("mount", ["-t", "tmpfs", "-o", `size=12m${rights}`, "tmpfs", folder]);
    } catch {
      await this.sql(
        database,
        `create sequence room; create function fill() returns trigger language plpgsql as $$
begin if length(new.value) > 1000000 or nextval('room') > 60 then raise exception 'full' using errcode = 'disk_full'; end if; return new; end $$;
create trigger fill before insert on meta for each row execute function fill();
grant all on sequence room to cairn`,
      );
      const free = async (): Promise<void> => {
        await this.sql(database, "drop trigger fill on meta");
      };
      return { real: false, free, remove: async () => {} };
    }
    await writeFile(ballast, Buffer.alloc(6 * 1024 * 1024));
    const space = join(folder, "space");
    await mkdir(space);
    if (owner !== null) await chown(space, owner.uid, owner.gid);
    await this.sql("postgres", `create tablespace ${database}_small location '${space}'`);
    await this.sql(database, `alter table meta set tablespace ${database}_small`);
    return {
      real: true,
      free: () => rm(ballast),
      remove: async () => {
        await this.sql(database, "alter table meta set tablespace pg_default");
        await this.sql("postgres", `drop tablespace ${database}_small`);
        await run("umount", [folder]);
      },
    };
  }

  async remove(): Promise<void> {
    await this.stop("kill");
    await rm(this.#folder, { recursive: true, force: true });
  }

  #client(database: string): Client {
    return new Client({ host: this.host, port: this.port, user: "postgres", password: "root", database });
  }

  async #initialise({ settings = [], tls }: PostgresServerOptions): Promise<void> {
    const data = join(this.#folder, "data");
    const password = join(this.#folder, "password");
    await chmod(this.#folder, 0o755);
    await writeFile(password, "root");
    const owner = await serverUser();
    if (owner !== null) await chown(this.#folder, owner.uid, owner.gid);
    const [command = "", ...words] = this.#asUser([
      join(this.#bin, "initdb"),
      ...["-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256"],
      ...[`--pwfile=${password}`, "--no-sync", "--no-instructions"],
    ]);
    await run(command, words, { cwd: this.#folder });
    const lines = [
      `listen_addresses = '${this.host}'`,
      `port = ${this.port}`,
      "shared_buffers = 16MB",
      "max_connections = 60",
      "log_min_messages = fatal",
      ...settings,
    ];
    if (tls !== undefined) {
      const { certificate, key } = await tls(this.host);
      for (const [name, pem] of [
        ["server.crt", certificate],
        ["server.key", key],
      ] as const) {
        await writeFile(join(data, name), pem, { mode: 0o600 });
        if (owner !== null) await chown(join(data, name), owner.uid, owner.gid);
      }
      lines.push("ssl = on");
    }
    await writeFile(join(data, "postgresql.auto.conf"), `${lines.join("\n")}\n`);
  }

  /** The server refuses to run as root. */
  #asUser(words: readonly string[]): readonly string[] {
    return process.getuid?.() === 0
      ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=QUIT", ...words]
      : words;
  }
}

/** A process and its children. */
async function family({ pid = 0 }: ChildProcess): Promise<readonly number[]> {
  const children =
    process.platform === "linux"
      ? await readFile(`/proc/${pid}/task/${pid}/children`, "utf8")
      : (await run("pgrep", ["-P", String(pid)])).stdout;
  return [pid, ...children.split(/\s+/).filter(Boolean).map(Number)];
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch {
      // It has just ended.
    }
  }
}

function findBinaries(): string {
  const found = globSync("/usr/lib/postgresql/*/bin/postgres").sort().at(-1);
  if (found !== undefined) return join(found, "..");
  for (const folder of (process.env.PATH ?? "").split(":")) {
    if (existsSync(join(folder, "postgres")) && existsSync(join(folder, "initdb"))) return folder;
  }
  throw new Error("there is no Postgres server on this machine: run make services");
}

async function serverUser(): Promise<{ readonly uid: number; readonly gid: number } | null> {
  if (process.getuid?.() !== 0) return null;
  const { stdout } = await run("getent", ["passwd", "postgres"]);
  const [, , uid, gid] = stdout.split(":");
  return { uid: Number(uid), gid: Number(gid) };
}
