import type { ErrorCode, ErrorData } from "@cairn/core";
import type { SqlRow, SqlStatement } from "../sql/sql-executor.ts";
import type { SqliteConnectionOptions } from "./sqlite-connection.ts";

/** What the database thread is started with. */
export type WorkerStart = SqliteConnectionOptions;

export type WorkerRequest =
  | { readonly kind: "commit"; readonly id: number; readonly statements: readonly SqlStatement[] }
  | { readonly kind: "query"; readonly id: number; readonly statement: SqlStatement }
  | { readonly kind: "close"; readonly id: number };

/** A `CairnError` as data. */
export interface WorkerError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly data: ErrorData;
}

export type WorkerReply =
  | { readonly id: number; readonly ok: true; readonly rows: readonly SqlRow[] }
  | { readonly id: number; readonly ok: false; readonly error: WorkerError };

/** The id of the reply that says how opening went. */
export const OPENED = 0;
