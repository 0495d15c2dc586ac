import { CairnError } from "@cairn/core";

/** The operating system's code of a failed file operation, or undefined for any other value. */
export function fileCode(cause: unknown): string | undefined {
  return cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined;
}

/**
 * What a failed file operation means to a person: `file-missing`, `file-exists`, `storage-full` or `storage-failed`.
 * A {@link CairnError} stays as it is; what is no file error is not wrapped.
 */
export function fileFailure(cause: unknown, path: string): unknown {
  if (cause instanceof CairnError) return cause;
  const code = fileCode(cause);
  switch (code) {
    case undefined:
      return cause;
    case "ENOENT":
      return new CairnError("file-missing", `${path} does not exist; check the name`, { path }, { cause });
    case "EEXIST":
    case "ENOTEMPTY":
      return new CairnError(
        "file-exists",
        `${path} is there already and is not overwritten; move it away or choose another place`,
        { path },
        { cause },
      );
    case "ENOSPC":
    case "EDQUOT":
      return new CairnError(
        "storage-full",
        `there is no room left to write ${path}; free some and try again`,
        { path },
        { cause },
      );
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new CairnError(
        "storage-failed",
        `this user may not write or read ${path} (${code}); change its owner or choose another place`,
        { path, reason: code },
        { cause },
      );
    default:
      return new CairnError("storage-failed", `${path}: ${code}`, { path, reason: code }, { cause });
  }
}
