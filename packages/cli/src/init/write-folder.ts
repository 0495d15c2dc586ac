import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileFailure } from "../file-failure.ts";

/**
 * Makes the folder `dir` with mode 0700 and what `fill` writes into it: whole or not at all.
 * @throws CairnError `file-exists` unless it is absent or empty; `storage-full`, `storage-failed`; what `fill` throws
 */
export async function writeFolder(dir: string, fill: (draft: string) => Promise<void>): Promise<void> {
  const path = resolve(dir);
  let draft: string | null = null;
  try {
    await mkdir(dirname(path), { recursive: true });
    draft = await mkdtemp(join(dirname(path), `.${basename(path)}-`));
    await fill(draft);
    // Fails unless the folder is absent or empty.
    await rename(draft, path);
  } catch (cause) {
    if (draft !== null) await rm(draft, { recursive: true, force: true });
    throw fileFailure(cause, path);
  }
}
