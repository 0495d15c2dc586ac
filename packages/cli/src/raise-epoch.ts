import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { CairnError, nodeConfigSchema } from "@cairn/core";
import { replacePublicFile } from "@cairn/pki";
import { parse } from "smol-toml";
import { fileFailure } from "./file-failure.ts";

/**
 * Raises the epoch of the node whose `cairn.toml` is `file` by one, in one step.
 * @throws CairnError `file-missing`, `config-invalid` when the file does not hold a whole number
 */
export async function raiseEpoch(
  file: string,
): Promise<{ readonly file: string; readonly from: number; readonly to: number }> {
  try {
    // Only where the file is concerns this command: whatever else is in the configuration, the daemon judges.
    const { files } = nodeConfigSchema
      .pick({ files: true })
      .loose()
      .parse(parse(await readFile(file, "utf8")));
    const path = resolve(dirname(file), files.epoch);
    const text = (await readFile(path, "utf8")).trim();
    if (!/^(0|[1-9][0-9]{0,8})$/.test(text)) {
      throw new CairnError("config-invalid", `${path} must hold the node's epoch, one whole number`, {
        path,
      });
    }
    const to = Number(text) + 1;
    await replacePublicFile(path, Buffer.from(`${to}\n`, "utf8"));
    return { file: path, from: to - 1, to };
  } catch (cause) {
    throw fileFailure(cause, file);
  }
}
