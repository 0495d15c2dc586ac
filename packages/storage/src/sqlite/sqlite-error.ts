import type { ErrorCode } from "@cairn/core";
import { StorageRefusal } from "../sql/storage-refusal.ts";

/** Primary result codes (https://www.sqlite.org/rescode.html); the low byte of an extended one. */
const result = {
  busy: 5,
  locked: 6,
  readonly: 8,
  ioerr: 10,
  corrupt: 11,
  full: 13,
  cantopen: 14,
  constraint: 19,
  notadb: 26,
} as const;

/** What a failure of sqlite means for the node. */
export interface SqliteFailure {
  readonly error: StorageRefusal;
  /**
   * Whether nothing can be said any more about what is on the disk. After a failed flush the system may drop the pages that
   * it could not write and report success the next time, so such a store must stop (A. Rebello et al., "Can Applications
   * Recover from fsync Failures?", USENIX ATC 2020).
   */
  readonly fatal: boolean;
}

/** Names a failure of sqlite on the database `path`, or null where `cause` is none. */
export function sqliteFailure(cause: unknown, path: string): SqliteFailure | null {
  if (!(cause instanceof Error) || !("code" in cause)) return null;
  if (cause.code === "ERR_INVALID_ARG_TYPE" || cause.code === "ERR_INVALID_ARG_VALUE") {
    const error = new StorageRefusal(
      "malformed",
      "no column can hold a value of this write",
      { path },
      { cause },
    );
    return { error, fatal: false };
  }
  if (!("errcode" in cause) || typeof cause.errcode !== "number") return null;
  const { errcode } = cause;
  const data = { path, result: errcode };
  const failure = (code: ErrorCode, message: string, fatal: boolean): SqliteFailure => ({
    error: new StorageRefusal(code, message, data, { cause }),
    fatal,
  });
  switch (errcode & 0xff) {
    case result.busy:
    case result.locked:
      return failure(
        "storage-locked",
        "another process has this node's database open: stop it (fuser or lsof on the file names it), or give this node a data folder of its own",
        true,
      );
    case result.corrupt:
    case result.notadb:
      return failure(
        "storage-corrupt",
        "the node's database is damaged: keep the file for inspection and restore the node from a backup",
        true,
      );
    case result.full:
      return failure("storage-full", "the disk is full: free space for the node's database", false);
    case result.constraint:
      return failure("wrong-state", "the change contradicts what the node's database holds", false);
    case result.readonly:
    case result.cantopen:
      return failure(
        "storage-failed",
        "the node's database cannot be opened for writing: check the owner and mode of its folder and the mount",
        true,
      );
    case result.ioerr:
      return failure(
        "storage-failed",
        "the disk failed under the node's database: check it, then start the node again",
        true,
      );
    default:
      return failure(
        "storage-failed",
        `the node's database failed (${cause.message}): start the node again`,
        true,
      );
  }
}
