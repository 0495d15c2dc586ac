import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { NodeStore } from "@cairn/core";
import { SqlNodeStore } from "../src/sql/sql-node-store.ts";
import { migrations } from "../src/sqlite/migrations.ts";
import { WorkerExecutor } from "../src/sqlite/worker-executor.ts";
import { createSqlitePlace, owner } from "./sqlite-place.ts";

export interface SmallDisk {
  open(): Promise<NodeStore>;
  /** Makes room for a few more megabytes. */
  free(): void;
  remove(): Promise<void>;
}

/** A file system of a few megabytes where the test may mount one, or null. */
export async function createSmallFileSystem(): Promise<SmallDisk | null> {
  const place = await createSqlitePlace();
  const folder = join(place.folder, "disk");
  mkdirSync(folder, { mode: 0o700 });
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=6m,mode=700", "tmpfs", folder]);
  if (mounted.status !== 0) {
    await place.remove();
    return null;
  }
  const ballast = join(folder, "ballast");
  writeFileSync(ballast, Buffer.alloc(2944 * 1024));
  return {
    open: () => openSmall(join(folder, "node.db"), null),
    free: () => rmSync(ballast),
    remove: async () => {
      spawnSync("umount", [folder]);
      await place.remove();
    },
  };
}

/** A database that may grow to so many pages and no more, which sqlite reports as it reports a full disk. */
export async function createSmallDatabase(): Promise<SmallDisk> {
  const place = await createSqlitePlace();
  let pages = 400;
  return {
    open: () => openSmall(place.path, pages),
    free: () => {
      pages = 4_000;
    },
    remove: place.remove,
  };
}

async function openSmall(path: string, pages: number | null): Promise<NodeStore> {
  const executor = await WorkerExecutor.open({ path, ...owner, migrations, now: 0 });
  if (pages !== null) {
    await executor.query({ sql: `pragma max_page_count = ${pages}`, parameters: [] });
  }
  return SqlNodeStore.create(executor);
}
