import { CairnError, isCairnError } from "@cairn/core";
import { readKeyFile } from "@cairn/pki";
import { readGuardedFile } from "./read-guarded-file.ts";

const WHERE = "put it there, or name another place in cairn.toml";

/** The content of a file that `cairn.toml` names. @throws CairnError `file-mode`, `file-missing` */
export function readPublicFile(file: string): Promise<Uint8Array> {
  return readGuardedFile(file, WHERE);
}

/** The same for secrets: files of mode 0600 alone. */
export async function readSecretFile(file: string): Promise<Uint8Array> {
  try {
    return await readKeyFile(file);
  } catch (cause) {
    if (isCairnError(cause, "file-mode")) {
      throw new CairnError(
        "file-mode",
        `others than its owner can reach ${file}; run chmod 600 on it, and make new keys if others may have read it`,
        cause.data,
        { cause },
      );
    }
    throw new CairnError("file-missing", `${file} cannot be read; ${WHERE}`, { file }, { cause });
  }
}
