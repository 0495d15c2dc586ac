import { resolve } from "node:path";
import { CairnError, parseStorageUrl } from "@cairn/core";
import type { NodeSettings } from "./node-settings.ts";

/**
 * The section `storage` of one node of `total`; `{node}` in the URL stands for its index.
 * @throws CairnError `config-invalid` for a URL that is wrong, holds a password, or names one database for several nodes
 */
export function storageSettings(
  { storage, storagePasswordFile }: { readonly storage?: string; readonly storagePasswordFile?: string },
  index: number,
  total: number,
): NodeSettings {
  if (storage === undefined) return {};
  const url = storage.replaceAll("{node}", String(index));
  if (parseStorageUrl(url).kind === "postgres" && url === storage && total > 1) {
    throw new CairnError(
      "config-invalid",
      "--storage names one Postgres database for all nodes: put {node} where the node's index belongs",
    );
  }
  const password = storagePasswordFile === undefined ? {} : { password_file: resolve(storagePasswordFile) };
  return { storage: { url, ...password } };
}
