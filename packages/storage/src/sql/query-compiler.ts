import {
  type CompiledQuery,
  DummyDriver,
  Kysely,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
} from "kysely";
import type { SqlStatement, SqlValue } from "./sql-executor.ts";
import type { Tables } from "./tables.ts";

/** Builds queries and never runs them: that is the executor's work, which may be in another thread. */
export const queries = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  },
});

/** A built query as text and parameters. */
export function compile(
  query: { compile(provider: typeof queries): CompiledQuery },
  expect?: SqlStatement["expect"],
): SqlStatement {
  const compiled = query.compile(queries);
  const parameters = compiled.parameters.map(sqlValue);
  return expect === undefined ? { sql: compiled.sql, parameters } : { sql: compiled.sql, parameters, expect };
}

const texts = new Map<string, string>();

/** A statement that differs from call to call in its parameters alone, so that its text is built once. */
export function fixedText(
  text: string,
  build: () => Parameters<typeof compile>[0],
  parameters: readonly unknown[],
): SqlStatement {
  const known = texts.get(text) ?? compile(build()).sql;
  texts.set(text, known);
  return { sql: known, parameters: parameters.map(sqlValue) };
}

/** Inserts `row`, or replaces all columns but `fixed` of the one with the same `key`. */
export function upsert<Table extends keyof Tables & string>(
  table: Table,
  key: readonly (keyof Tables[Table] & string)[],
  row: Tables[Table],
  fixed: readonly (keyof Tables[Table] & string)[] = [],
): SqlStatement {
  const columns = Object.keys(row);
  const values = Object.values(row);
  const build = () => {
    const changing = columns.filter((name) => !fixed.some((kept) => kept === name));
    return sql`insert into ${sql.table(table)} (${sql.join(columns.map((name) => sql.ref(name)))})
values (${sql.join(values)})
on conflict (${sql.join(key.map((name) => sql.ref(name)))})
do update set ${sql.join(changing.map((name) => sql`${sql.ref(name)} = excluded.${sql.ref(name)}`))}`;
  };
  return fixedText(`upsert ${table} ${key} ${fixed} ${columns}`, build, values);
}

function sqlValue(value: unknown): SqlValue {
  if (
    value === null ||
    typeof value === "string" ||
    typeof value === "number" ||
    typeof value === "bigint" ||
    value instanceof Uint8Array
  ) {
    return value;
  }
  throw new TypeError(`no column holds a ${typeof value}`);
}
