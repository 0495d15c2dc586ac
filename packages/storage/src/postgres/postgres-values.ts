import type { CustomTypesConfig } from "pg";
import type { SqlStatement, SqlValue } from "../sql/sql-executor.ts";

/** Object identifiers of built-in types (`pg_type.dat`). */
const type = { bool: 16, bytea: 17, int8: 20, int2: 21, int4: 23 } as const;

/** Columns come back as sqlite gives them: whole numbers, 0 or 1 for truth, bytes, and text for everything else, JSON included. */
export const postgresTypes: CustomTypesConfig = {
  getTypeParser: (oid: number) => {
    switch (oid) {
      case type.bool:
        return (text: string) => (text === "t" ? 1 : 0);
      case type.bytea:
        // `\x` and hex, see bytea_output; a copy, since small buffers share their memory with others.
        return (text: string) => Uint8Array.from(Buffer.from(text.slice(2), "hex"));
      case type.int8:
      case type.int2:
      case type.int4:
        return wholeNumber;
      default:
        return (text: string) => text;
    }
  },
};

/** One beyond 2⁵³ stays text, which no row's shape accepts. */
function wholeNumber(text: string): number | string {
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : text;
}

/** What the driver is handed. */
export interface PreparedStatement {
  readonly name?: string;
  readonly text: string;
  readonly values: (string | Uint8Array | null)[];
}

const MAX_PREPARED = 512;

/** Gives statements the placeholders of Postgres, and names under which a connection prepares each but once. */
export class StatementBook {
  readonly #known = new Map<string, { readonly name?: string; readonly text: string }>();

  prepare({ sql, parameters }: SqlStatement): PreparedStatement {
    let known = this.#known.get(sql);
    if (known === undefined) {
      const text = numbered(sql);
      if (this.#known.size >= MAX_PREPARED) known = { text };
      else {
        known = { name: `cairn_${this.#known.size}`, text };
        this.#known.set(sql, known);
      }
    }
    return { ...known, values: parameters.map(parameter) };
  }
}

/** `?` outside of quotes as `$1`, `$2`, … */
function numbered(sql: string): string {
  let count = 0;
  return sql.replace(/'(?:[^']|'')*'|"(?:[^"]|"")*"|\?/g, (found) => {
    if (found !== "?") return found;
    count += 1;
    return `$${count}`;
  });
}

function parameter(value: SqlValue): string | Uint8Array | null {
  return value === null || value instanceof Uint8Array ? value : String(value);
}
