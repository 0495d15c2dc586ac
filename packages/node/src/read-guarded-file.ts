import { open } from "node:fs/promises";
import { CairnError } from "@cairn/core";

/**
 * The content of a file that others may read and must not be able to change.
 * @throws CairnError `file-mode` where its group or everybody may write to it; `file-missing`, with `advice`
 */
export async function readGuardedFile(file: string, advice: string): Promise<Buffer> {
  try {
    await using handle = await open(file, "r");
    const { mode } = await handle.stat();
    if ((mode & 0o022) !== 0) {
      throw new CairnError(
        "file-mode",
        `others than its owner may write to ${file}; run chmod go-w on it, and see that it still says what it should`,
        { path: file, mode: (mode & 0o777).toString(8) },
      );
    }
    return await handle.readFile();
  } catch (cause) {
    if (cause instanceof CairnError) throw cause;
    throw new CairnError("file-missing", `${file} cannot be read; ${advice}`, { file }, { cause });
  }
}
