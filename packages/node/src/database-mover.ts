import { open } from "node:fs/promises";
import { resolve } from "node:path";
import {
  CairnError,
  type Clock,
  decodeCanonical,
  type Ed25519PublicKey,
  memberOf,
  nodeIndexSchema,
  parseStorageUrl,
  signedManifestSchema,
} from "@cairn/core";
import { openSqlite } from "@cairn/storage";
import {
  completeImport,
  exportLines,
  fillDatabase,
  type Holdings,
  holdingsOf,
  importRows,
  markMoved,
  readRows,
  type SqlExecutor,
  verifyAuditOf,
} from "@cairn/storage/transfer";
import type { LoadedConfig } from "./load-config.ts";
import { postgresOptions, type StoreOwner, sqlitePath } from "./open-store.ts";
import { readGuardedFile } from "./read-guarded-file.ts";

/** What a database holds, judged. */
export interface DatabaseFacts extends Holdings {
  /** `storage.url` of it. */
  readonly database: string;
  readonly auditLength: number;
  readonly auditHead: string;
}

/** Moves the database of a node that does not run: its lock is taken for as long as a move lasts. */
export class DatabaseMover {
  readonly #loaded: LoadedConfig;
  readonly #owner: StoreOwner;
  readonly #publicKey: Ed25519PublicKey;
  readonly #clock: Clock;

  private constructor(
    loaded: LoadedConfig,
    owner: StoreOwner,
    publicKey: Ed25519PublicKey,
    modules: { readonly clock: Clock },
  ) {
    this.#loaded = loaded;
    this.#owner = owner;
    this.#publicKey = publicKey;
    this.#clock = modules.clock;
  }

  /** @throws CairnError `file-missing`, `file-mode`, `config-invalid` for the manifest, which says whose database it is */
  static async create(loaded: LoadedConfig, modules: { readonly clock: Clock }): Promise<DatabaseMover> {
    const file = resolve(loaded.folder, loaded.config.files.manifest);
    const bytes = await readGuardedFile(file, "put it there, or name another place in cairn.toml");
    const { manifest } = decodeCanonical(signedManifestSchema, bytes);
    const node = nodeIndexSchema.parse(loaded.config.node.index);
    const { identity } = memberOf(manifest, node);
    return new DatabaseMover(loaded, { cluster: manifest.cluster, node }, identity, modules);
  }

  /** What the configured database holds. @throws CairnError `storage-locked` while the node runs, and as the stores do */
  status(): Promise<DatabaseFacts> {
    const { url } = this.#loaded.config.storage;
    return this.#with(url, this.#loaded, (database) => this.#judge(database, url));
  }

  /**
   * Copies the configured database into the empty one at `to`, verifies it there, and keeps nodes from starting on the old one.
   * @param passwordFile of the target; null takes `storage.password_file`
   * @throws CairnError `wrong-state` when the target is not empty; `audit-broken`; as the stores do
   */
  migrate(to: string, passwordFile: string | null): Promise<DatabaseFacts> {
    const { config } = this.#loaded;
    const there: LoadedConfig = {
      ...this.#loaded,
      config: {
        ...config,
        storage: {
          url: to,
          password_file: passwordFile === null ? config.storage.password_file : resolve(passwordFile),
        },
      },
    };
    return this.#with(config.storage.url, this.#loaded, (source) =>
      this.#with(to, there, async (target) => {
        await this.#judge(source, config.storage.url);
        await fillDatabase(target, readRows(source));
        const facts = await this.#judge(target, to);
        await markMoved(source, to);
        await completeImport(target);
        return facts;
      }),
    );
  }

  /** Writes the configured database into a new file, mode 0600, and keeps nodes from starting on it from then on. */
  exportTo(file: string): Promise<DatabaseFacts> {
    const { url } = this.#loaded.config.storage;
    return this.#with(url, this.#loaded, async (database) => {
      const facts = await this.#judge(database, url);
      await writeLines(file, exportLines(database, this.#owner));
      await markMoved(database, file);
      return facts;
    });
  }

  /** Reads an export into the configured database, which must be empty. */
  importFrom(file: string): Promise<DatabaseFacts> {
    const { url } = this.#loaded.config.storage;
    return this.#with(url, this.#loaded, async (database) => {
      await fillDatabase(database, importRows(readLines(file), this.#owner));
      const facts = await this.#judge(database, url);
      await completeImport(database);
      return facts;
    });
  }

  async #with<T>(url: string, loaded: LoadedConfig, run: (database: SqlExecutor) => Promise<T>): Promise<T> {
    const location = parseStorageUrl(url);
    const modules = { clock: this.#clock };
    let database: SqlExecutor;
    if (location.kind === "sqlite") {
      database = await openSqlite({ path: sqlitePath(loaded, location), ...this.#owner }, modules);
    } else {
      const { openPostgres } = await import("@cairn/storage/postgres");
      database = await openPostgres(postgresOptions(loaded, location, this.#owner), modules);
    }
    try {
      return await run(database);
    } finally {
      await database.close();
    }
  }

  /** @throws CairnError `audit-broken` */
  async #judge(database: SqlExecutor, url: string): Promise<DatabaseFacts> {
    const verdict = await verifyAuditOf(database, { ...this.#owner, publicKey: this.#publicKey });
    if (!verdict.ok) {
      throw new CairnError(
        "audit-broken",
        `entry ${verdict.seq} of the audit log is ${verdict.reason}: keep the database, and find out why before the node moves`,
        { seq: verdict.seq, reason: verdict.reason },
      );
    }
    return {
      database: url,
      auditLength: verdict.length,
      auditHead: verdict.head,
      ...(await holdingsOf(database)),
    };
  }
}

async function writeLines(file: string, lines: AsyncIterable<string>): Promise<void> {
  const handle = await open(file, "wx", 0o600).catch((cause: unknown) => {
    throw new CairnError(
      "file-exists",
      `${file} cannot be made, or is there already: choose another place`,
      { file },
      { cause },
    );
  });
  try {
    for await (const line of lines) await handle.writeFile(`${line}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function* readLines(file: string): AsyncGenerator<string> {
  const handle = await open(file).catch((cause: unknown) => {
    throw new CairnError("file-missing", `${file} cannot be read`, { file }, { cause });
  });
  try {
    yield* handle.readLines();
  } finally {
    await handle.close();
  }
}
