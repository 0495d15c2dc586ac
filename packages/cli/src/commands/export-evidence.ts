import { writeFile } from "node:fs/promises";
import { CairnError } from "@cairn/core";
import { fileFailure } from "../file-failure.ts";

/** @throws CairnError `not-found` where there is none, `file-exists`, `storage-full`, `storage-failed` */
export async function exportEvidence(bytes: Uint8Array | null, path: string): Promise<void> {
  if (bytes === null) {
    throw new CairnError("not-found", "only the asked node saw this fault: there is no evidence to export");
  }
  try {
    await writeFile(path, bytes, { flag: "wx" });
  } catch (cause) {
    throw fileFailure(cause, path);
  }
}
