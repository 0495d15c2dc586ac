import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

export interface SmallDisk {
  /** Takes all the room that is left. */
  fill(): void;
  /** Gives it back. */
  free(): void;
  unmount(): void;
}

/** Makes `folder` a file system of a few megabytes, where the test may mount one, else null. */
export function mountSmallDisk(folder: string): SmallDisk | null {
  mkdirSync(folder, { mode: 0o700, recursive: true });
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", folder]);
  if (mounted.status !== 0) return null;
  const ballast = join(folder, "ballast");
  return {
    fill() {
      const file = openSync(ballast, "a");
      try {
        for (const size of [65_536, 4_096]) {
          for (;;) {
            try {
              writeSync(file, Buffer.alloc(size));
            } catch {
              break;
            }
          }
        }
      } finally {
        closeSync(file);
      }
    },
    free: () => rmSync(ballast),
    unmount: () => void spawnSync("umount", [folder]),
  };
}
