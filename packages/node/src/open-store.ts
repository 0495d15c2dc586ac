import { resolve } from "node:path";
import {
  type Clock,
  type ClusterId,
  type NodeIndex,
  type NodeStore,
  parseStorageUrl,
  type StorageLocation,
} from "@cairn/core";
import { readKeyFile } from "@cairn/pki";
import { openSqliteStore } from "@cairn/storage";
import type { PostgresStoreOptions } from "@cairn/storage/postgres";
import type { LoadedConfig } from "./load-config.ts";

/** Whose database it is. */
export interface StoreOwner {
  readonly cluster: ClusterId;
  readonly node: NodeIndex;
}

/** Opens the store that `storage.url` names; rejects as `openSqliteStore` and `openPostgresStore` do. */
export async function openStore(
  loaded: LoadedConfig,
  owner: StoreOwner,
  modules: { readonly clock: Clock },
): Promise<NodeStore> {
  const location = parseStorageUrl(loaded.config.storage.url);
  if (location.kind === "sqlite") {
    return openSqliteStore({ path: sqlitePath(loaded, location), ...owner }, modules);
  }
  // Loaded only here: its library would cost every other daemon memory.
  const { openPostgresStore } = await import("@cairn/storage/postgres");
  return openPostgresStore(postgresOptions(loaded, location, owner), modules);
}

export function sqlitePath(
  { config, folder }: LoadedConfig,
  { file }: Extract<StorageLocation, { readonly kind: "sqlite" }>,
): string {
  return resolve(folder, config.node.data_dir, file);
}

export function postgresOptions(
  { config, folder }: LoadedConfig,
  location: Extract<StorageLocation, { readonly kind: "postgres" }>,
  owner: StoreOwner,
): PostgresStoreOptions {
  const ca = location.tls?.ca ?? null;
  const passwordFile = config.storage.password_file;
  return {
    location: ca === null ? location : { ...location, tls: { ca: resolve(folder, ca) } },
    password: async () => {
      if (passwordFile === null) return process.env.PGPASSWORD ?? null;
      return Buffer.from(await readKeyFile(resolve(folder, passwordFile)))
        .toString("utf8")
        .trimEnd();
    },
    ...owner,
  };
}
