import type { ErrorCode, PostgresLocation } from "@cairn/core";
import { DatabaseError } from "pg";
import { StorageRefusal } from "../sql/storage-refusal.ts";

/** What a failure of Postgres means for the node. */
export interface PostgresFailure {
  /**
   * - `refused`: this transaction alone, which is undone.
   * - `again`: it is undone too, and may pass at the next try; `error` is for when it does not.
   * - `lost`: the connection is gone. What was being committed may or may not be kept, until somebody looks.
   * - `fatal`: the store must stop.
   */
  readonly kind: "refused" | "again" | "lost" | "fatal";
  readonly error: StorageRefusal;
}

/** Names a failure of the server, of the way to it, or of this side's settings. */
export function postgresFailure(cause: unknown, { host, port, database }: PostgresLocation): PostgresFailure {
  if (cause instanceof StorageRefusal) return { kind: "fatal", error: cause };
  const sqlState = cause instanceof DatabaseError ? (cause.code ?? "") : null;
  const failure = (kind: PostgresFailure["kind"], code: ErrorCode, message: string): PostgresFailure => ({
    kind,
    error: new StorageRefusal(code, message, { host, port, database, result: sqlState ?? "" }, { cause }),
  });
  const misfit = (message: string) => failure("fatal", "config-invalid", message);
  if (sqlState === null) {
    const { code, message } = describe(cause);
    if (/^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(code) || /\bSSL\b/.test(message)) {
      return misfit(
        `the Postgres server does not prove by TLS that it is ${host} (${code || message}): check storage.url, sslrootcert and the server's certificate`,
      );
    }
    if (message.startsWith("SASL")) {
      return misfit(
        "the Postgres server wants a password, or does not know this one: see storage.password_file",
      );
    }
    return failure(
      "lost",
      "storage-failed",
      `the Postgres server at ${host} does not answer (${code || message}): start it, then the node`,
    );
  }
  switch (sqlState) {
    case "53100": // disk_full
      return failure(
        "refused",
        "storage-full",
        "the Postgres server's disk is full: free space for the node's database",
      );
    case "40001": // serialization_failure
    case "40P01": // deadlock_detected
    case "55P03": // lock_not_available
    case "57014": // query_canceled, by statement_timeout
      return failure(
        "again",
        "busy",
        "the Postgres server did not get to the change in time: see what else uses the node's database",
      );
    case "53300": // too_many_connections
    case "57P01": // admin_shutdown
    case "57P02": // crash_shutdown
    case "57P03": // cannot_connect_now
    case "57P05": // idle_session_timeout
    case "25P03": // idle_in_transaction_session_timeout
      return failure(
        "lost",
        "storage-failed",
        "the Postgres server is stopping, starting, or out of connections",
      );
    case "42501": // insufficient_privilege
      return misfit(
        "the user of storage.url may not make tables in its database: make that user the database's owner",
      );
    case "42P07": // duplicate_table
    case "42710": // duplicate_object
      return misfit("the database holds tables of something else: give the node a database of its own");
    case "3D000": // invalid_catalog_name
      return misfit(
        `there is no database ${database}: make it with createdb, owned by the user of storage.url`,
      );
    default:
  }
  switch (sqlState.slice(0, 2)) {
    case "08": // connection exceptions
      return failure("lost", "storage-failed", "the connection to the Postgres server broke");
    case "22": // data exceptions
      return failure("refused", "malformed", "no column can hold a value of this write");
    case "23": // integrity constraints
    case "P0": // raised by a trigger
      return failure("refused", "wrong-state", "the change contradicts what the node's database holds");
    case "28": // authorisation
      return misfit(
        "the Postgres server does not let the user of storage.url in: check storage.password_file and pg_hba.conf",
      );
    case "XX":
      if (sqlState !== "XX000") {
        return failure(
          "fatal",
          "storage-corrupt",
          "the node's database is damaged: keep the server's files for inspection and restore the node from a backup",
        );
      }
      break;
    default:
  }
  return failure(
    "fatal",
    "storage-failed",
    `the Postgres server failed (${sqlState}): mend the cause that its log names, then start the node again`,
  );
}

function describe(cause: unknown): { readonly code: string; readonly message: string } {
  if (!(cause instanceof Error)) return { code: "", message: String(cause) };
  // A name with several addresses fails with one error for all of them.
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : "";
  return { code, message: cause.message };
}
