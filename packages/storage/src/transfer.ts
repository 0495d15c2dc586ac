import { createHash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { CairnError, type ClusterId, type Ed25519PublicKey, type NodeIndex } from "@cairn/core";
import { z } from "zod";
import { auditRow } from "./sql/row-schemas.ts";
import type { SqlExecutor, SqlRow, SqlStatement, SqlValue } from "./sql/sql-executor.ts";
import { IMPORTING, MOVED } from "./sql/store-marks.ts";
import { migrations } from "./sqlite/migrations.ts";
import { type AuditVerdict, verifyAuditLog } from "./verify-audit-log.ts";

/** One row of one table, of any database: the columns that the port's tables have, and no others. */
export interface TableRow {
  readonly table: string;
  readonly row: Readonly<Record<string, SqlValue>>;
}

/** What a database holds: rows by table, and a digest of all of them that their order does not change. */
export interface Holdings {
  readonly counts: Readonly<Record<string, number>>;
  readonly digest: string;
}

const PAGE = 64;
const BATCH_ROWS = 256;
const BATCH_BYTES = 4 * 1024 * 1024;
const VERSION = 1;

interface Table {
  readonly name: string;
  readonly columns: readonly string[];
  readonly key: readonly string[];
}

/** The port's tables, in an order in which rows may refer to earlier ones: as sqlite's schema has them. Postgres has the same, and more. */
function portTables(): readonly Table[] {
  const database = new DatabaseSync(":memory:");
  try {
    for (const { sql } of migrations) database.exec(sql);
    const names = database.prepare(
      "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%' order by rowid",
    );
    return names.all().map(({ name }) => {
      const columns = database.prepare("select name, pk from pragma_table_info(?)").all(String(name));
      return {
        name: String(name),
        columns: columns.map((column) => String(column.name)),
        key: columns
          .filter(({ pk }) => Number(pk) > 0)
          .sort((a, b) => Number(a.pk) - Number(b.pk))
          .map((column) => String(column.name)),
      };
    });
  } finally {
    database.close();
  }
}

/** Counts rows and digests them as they pass. */
class Tally {
  readonly #counts = new Map<string, number>();
  #digest = 0n;

  constructor(tables: readonly Table[]) {
    for (const { name } of tables) this.#counts.set(name, 0);
  }

  add(row: TableRow): void {
    this.#counts.set(row.table, (this.#counts.get(row.table) ?? 0) + 1);
    // Rows differ by their keys, so that no two cancel each other out.
    this.#digest ^= BigInt(`0x${createHash("sha256").update(encodeRow(row)).digest("hex")}`);
  }

  get holdings(): Holdings {
    return {
      counts: Object.fromEntries(this.#counts),
      digest: this.#digest.toString(16).padStart(64, "0"),
    };
  }
}

/** All rows, page by page, without the marks of moves. */
export async function* readRows(database: SqlExecutor): AsyncGenerator<TableRow> {
  for (const table of portTables()) {
    for await (const page of readPages(database, table)) {
      for (const row of page) {
        if (table.name === "meta" && (row.key === MOVED || row.key === IMPORTING)) continue;
        yield { table: table.name, row };
      }
    }
  }
}

async function* readPages(
  database: SqlExecutor,
  { name, columns, key }: Table,
): AsyncGenerator<readonly TableRow["row"][]> {
  const list = (names: readonly string[]) => names.map((column) => `"${column}"`).join(", ");
  let after: readonly SqlValue[] | null = null;
  for (;;) {
    const where: string = after === null ? "" : ` where (${list(key)}) > (${key.map(() => "?").join(", ")})`;
    const found: readonly SqlRow[] = await database.query({
      sql: `select ${list(columns)} from "${name}"${where} order by ${list(key)} limit ${PAGE}`,
      parameters: after ?? [],
    });
    const rows = found.map((row) =>
      Object.fromEntries(columns.map((column) => [column, valueSchema.parse(row[column])])),
    );
    const last = rows.at(-1);
    if (last !== undefined) yield rows;
    if (last === undefined || rows.length < PAGE) return;
    after = key.map((column) => last[column] ?? null);
  }
}

/** Judges the audit log of a database, which may be longer than memory. `expected` is of its node. */
export async function verifyAuditOf(
  database: SqlExecutor,
  expected: {
    readonly cluster: ClusterId;
    readonly node: NodeIndex;
    readonly publicKey: Ed25519PublicKey;
  },
): Promise<AuditVerdict> {
  let verdict = verifyAuditLog([], expected);
  const table = portTables().find(({ name }) => name === "audit_log");
  if (table === undefined) return verdict;
  for await (const page of readPages(database, table)) {
    if (!verdict.ok) break;
    const after = { seq: verdict.length - 1, hash: verdict.head };
    verdict = verifyAuditLog(
      page.map((row) => auditRow.parse(row)),
      { ...expected, after },
    );
  }
  return verdict;
}

export async function holdingsOf(database: SqlExecutor): Promise<Holdings> {
  const tally = new Tally(portTables());
  for await (const row of readRows(database)) tally.add(row);
  return tally.holdings;
}

/**
 * Writes `rows` into an empty database and reads them back. No node starts on it until {@link completeImport}.
 * @returns what it holds, which is what `rows` were
 * @throws CairnError `wrong-state` when it is not empty, `storage-corrupt` when it does not hold what was written
 */
export async function fillDatabase(target: SqlExecutor, rows: AsyncIterable<TableRow>): Promise<Holdings> {
  const tables = portTables();
  for (const { name } of tables) {
    const found = await target.query({ sql: `select 1 from "${name}" limit 1`, parameters: [] });
    if (found.length === 0) continue;
    throw new CairnError(
      "wrong-state",
      `the target database is not empty (table ${name}): give an empty one, and remove what an import that failed has left`,
      { table: name },
    );
  }
  await target.commit([insert("meta", { key: IMPORTING, value: new Uint8Array() })]);
  const written = new Tally(tables);
  let batch: SqlStatement[] = [];
  let bytes = 0;
  for await (const row of rows) {
    written.add(row);
    batch.push(insert(row.table, row.row));
    bytes += Object.values(row.row).reduce<number>((sum, value) => sum + weight(value), 0);
    if (batch.length < BATCH_ROWS && bytes < BATCH_BYTES) continue;
    await target.commit(batch);
    batch = [];
    bytes = 0;
  }
  await target.commit(batch);
  const holdings = await holdingsOf(target);
  if (holdings.digest !== written.holdings.digest) {
    throw new CairnError(
      "storage-corrupt",
      "the target database does not hold what was written into it: remove it, look for what is wrong with it, and try again",
      { written: written.holdings.digest, found: holdings.digest },
    );
  }
  return holdings;
}

/** Lets a node start on what {@link fillDatabase} has filled. */
export async function completeImport(target: SqlExecutor): Promise<void> {
  await target.commit([{ sql: "delete from meta where key = ?", parameters: [IMPORTING] }]);
}

/** Keeps nodes from starting on a database that lives on elsewhere: it would repeat votes, and use presignatures twice. */
export async function markMoved(source: SqlExecutor, to: string): Promise<void> {
  await source.commit([
    { sql: "delete from meta where key = ?", parameters: [MOVED] },
    insert("meta", { key: MOVED, value: new TextEncoder().encode(to) }),
  ]);
}

/** The lines of an export: a header, the rows, and an end that says how many and which they were. */
export async function* exportLines(
  source: SqlExecutor,
  owner: { readonly cluster: ClusterId; readonly node: NodeIndex },
): AsyncGenerator<string> {
  const tally = new Tally(portTables());
  yield JSON.stringify({ cairn: "node-export", version: VERSION, schema: migrations.length, ...owner });
  for await (const row of readRows(source)) {
    tally.add(row);
    yield encodeRow(row);
  }
  yield JSON.stringify({ end: true, ...tally.holdings });
}

const headerSchema = z.strictObject({
  cairn: z.literal("node-export"),
  version: z.number(),
  schema: z.number(),
  cluster: z.string(),
  node: z.number(),
});
const endSchema = z.strictObject({
  end: z.literal(true),
  counts: z.record(z.string(), z.number()),
  digest: z.string(),
});
const valueSchema = z.union([z.string(), z.number(), z.null(), z.instanceof(Uint8Array)]);
const fieldSchema = z.union([
  z.string(),
  z.number(),
  z.null(),
  z
    .strictObject({ base64: z.base64() })
    .transform(({ base64 }) => Uint8Array.from(Buffer.from(base64, "base64"))),
]);
const rowSchema = z.strictObject({ table: z.string(), row: z.record(z.string(), fieldSchema) });

/**
 * The rows of an export's lines.
 * @throws CairnError `config-invalid` when it is another node's, `unsupported-version` when another release made it, `malformed` when it is damaged or
 *   cut off: then after rows were given, which must not be used
 */
export async function* importRows(
  lines: AsyncIterable<string>,
  owner: { readonly cluster: ClusterId; readonly node: NodeIndex },
): AsyncGenerator<TableRow> {
  const tables = portTables();
  const columns = new Map(tables.map((table) => [table.name, table.columns.join()]));
  const tally = new Tally(tables);
  let header: z.output<typeof headerSchema> | null = null;
  let ended = false;
  for await (const line of lines) {
    if (header === null) {
      header = readLine(headerSchema, line);
      if (header.version !== VERSION || header.schema !== migrations.length) {
        throw new CairnError(
          "unsupported-version",
          "another release of Cairn made this export: import it with that one, and upgrade then",
          { version: header.version, schema: header.schema, known: migrations.length },
        );
      }
      if (header.cluster !== owner.cluster || header.node !== owner.node) {
        throw new CairnError(
          "config-invalid",
          `the export is of node ${header.node} of cluster ${header.cluster}: import this node's own`,
          { cluster: header.cluster, node: header.node },
        );
      }
    } else if (line.startsWith('{"end"')) {
      const { counts, digest } = readLine(endSchema, line);
      ended =
        digest === tally.holdings.digest && JSON.stringify(counts) === JSON.stringify(tally.holdings.counts);
    } else {
      const row = readLine(rowSchema, line);
      if (ended || columns.get(row.table) !== Object.keys(row.row).join()) throw damaged();
      tally.add(row);
      yield row;
    }
  }
  if (!ended) throw damaged();
}

function readLine<Schema extends z.ZodType>(schema: Schema, line: string): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(line));
  } catch {
    throw damaged();
  }
}

function damaged(): CairnError {
  return new CairnError("malformed", "the export is damaged or cut off: make it anew", {});
}

function encodeRow({ table, row }: TableRow): string {
  const fields = Object.entries(row).map(([column, value]) => [
    column,
    value instanceof Uint8Array ? { base64: Buffer.from(value).toString("base64") } : value,
  ]);
  return JSON.stringify({ table, row: Object.fromEntries(fields) });
}

function insert(table: string, row: Readonly<Record<string, SqlValue>>): SqlStatement {
  const columns = Object.keys(row);
  return {
    sql: `insert into "${table}" (${columns.map((column) => `"${column}"`).join(", ")}) values (${columns.map(() => "?").join(", ")})`,
    parameters: Object.values(row),
  };
}

function weight(value: SqlValue): number {
  return typeof value === "string" || value instanceof Uint8Array ? value.length : 8;
}

export type { SqlExecutor } from "./sql/sql-executor.ts";
