import { closeSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { StorageRefusal } from "../sql/storage-refusal.ts";

/**
 * Makes the folder (0700) and the file (0600) where they are missing, and refuses what others may read. It opens nothing that
 * exists: closing any descriptor of a file drops the process's POSIX locks on it, sqlite's among them.
 * @throws StorageRefusal `file-mode`, `storage-failed`
 */
export function ensurePrivateFile(path: string): void {
  const folder = dirname(path);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    refuseShared(folder, 0o700);
    if (statSync(path, { throwIfNoEntry: false }) === undefined) closeSync(openSync(path, "wx", 0o600));
    for (const file of [path, `${path}-wal`]) refuseShared(file, 0o600);
  } catch (cause) {
    if (cause instanceof StorageRefusal) throw cause;
    const full = cause instanceof Error && "code" in cause && cause.code === "ENOSPC";
    throw full
      ? new StorageRefusal(
          "storage-full",
          "the disk is full: free space for the node's database",
          { path },
          { cause },
        )
      : new StorageRefusal(
          "storage-failed",
          "the node's database cannot be made: check that its folder exists and belongs to the node's user",
          { path },
          { cause },
        );
  }
}

function refuseShared(path: string, mode: number): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined || (found.mode & 0o077) === 0) return;
  const octal = mode.toString(8).padStart(4, "0");
  throw new StorageRefusal(
    "file-mode",
    `others than the owner may use ${path}: run chmod ${octal} on it, and see who read it`,
    { path, mode: (found.mode & 0o777).toString(8).padStart(4, "0"), wanted: octal },
  );
}
