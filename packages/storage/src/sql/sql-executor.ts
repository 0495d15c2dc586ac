import type { ErrorCode, ErrorData } from "@cairn/core";

/** What a column can hold. Integers travel as numbers or bigints and come back as numbers below 2⁵³. */
export type SqlValue = string | number | bigint | Uint8Array | null;

/** One compiled statement. */
export interface SqlStatement {
  readonly sql: string;
  readonly parameters: readonly SqlValue[];
  /** How many rows it must return, or the whole commit is undone and fails with this error. */
  readonly expect?: {
    readonly rows: number;
    readonly code: ErrorCode;
    readonly message: string;
    readonly data: ErrorData;
  };
}

/** A row as the database gives it, before it is checked. */
export type SqlRow = Readonly<Record<string, unknown>>;

/** A database that one node has for itself. */
export interface SqlExecutor {
  /**
   * Runs `statements` in order as one transaction, durable when it resolves. Several may share one flush to disk; each
   * still happens wholly or not at all, in the order of the calls.
   * @returns the rows of the last statement
   */
  commit(statements: readonly SqlStatement[]): Promise<readonly SqlRow[]>;
  /** Reads what is durable. */
  query(statement: SqlStatement): Promise<readonly SqlRow[]>;
  /** Waits for what was asked before, then gives the database free. */
  close(): Promise<void>;
}
