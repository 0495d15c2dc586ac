import assert from "node:assert/strict";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Daemon } from "./daemon-process.ts";
import { until } from "./until.ts";

/** Runs `start` so that the daemons which it starts can be asked for snapshots of their heap, put into `folder`. */
export function startWithSnapshots<Result>(folder: string, start: () => Result): Result {
  process.env.NODE_OPTIONS = `--heapsnapshot-signal=SIGUSR2 --diagnostic-dir=${folder}`;
  try {
    return start();
  } finally {
    delete process.env.NODE_OPTIONS;
  }
}

/** What the heap of a daemon that {@link startWithSnapshots} started holds now. */
export async function heapSnapshotOf(daemon: Daemon, folder: string): Promise<Buffer> {
  daemon.process.kill("SIGUSR2");
  const snapshot = await until(
    () => takeSnapshot(folder),
    (taken) => taken !== null,
  );
  assert.ok(snapshot !== null);
  return snapshot;
}

/** The heap snapshot in the folder, which it is taken out of, or null until it is complete. */
async function takeSnapshot(folder: string): Promise<Buffer | null> {
  const name = (await readdir(folder)).find((entry) => entry.endsWith(".heapsnapshot"));
  if (name === undefined) return null;
  const content = await readFile(join(folder, name));
  if (!content.subarray(-16).toString("latin1").trimEnd().endsWith("]}")) return null;
  await rm(join(folder, name));
  return content;
}
