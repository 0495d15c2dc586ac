import { closeSync, fdatasyncSync, fsyncSync, openSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clusterIdSchema, nodeIndexSchema, systemClock } from "@cairn/core";
import { openSqliteStore } from "@cairn/storage";
import type { Entry } from "./report.ts";
import { median, spreadOf } from "./spread.ts";

const SECTION = "durable writes";
const ROUNDS = 5;
const SINGLE = 200;
const GROUPED = 3_200;
const LANES = 32;
const VALUE = new Uint8Array(600).fill(1);

/** Commits of the node's store beside bare writes of the same bytes, each flushed: to the end of a file, and over what a file holds. */
export async function storage(): Promise<readonly Entry[]> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-bench-"));
  const store = await openSqliteStore(
    {
      path: join(folder, "node.db"),
      cluster: clusterIdSchema.parse("1".padStart(64, "0")),
      node: nodeIndexSchema.parse(1),
    },
    { clock: systemClock },
  );
  const commit = (key: string) => store.commit([{ write: "meta", key, value: VALUE }]);
  const bare = { append: [] as number[], overwrite: [] as number[] };
  const ours = { single: [] as number[], grouped: [] as number[] };
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      bare.append.push(await each(SINGLE, async () => appends(join(folder, "appended"))));
      bare.overwrite.push(await each(SINGLE, async () => overwrites(join(folder, "overwritten"))));
      ours.single.push(
        await each(SINGLE, async () => {
          for (let at = 0; at < SINGLE; at += 1) await commit(`single ${at % 50}`);
        }),
      );
      ours.grouped.push(
        await each(GROUPED, () =>
          Promise.all(
            Array.from({ length: LANES }, async (_, lane) => {
              for (let at = lane; at < GROUPED; at += LANES) await commit(`lane ${lane}`);
            }),
          ),
        ),
      );
    }
  } finally {
    await store.close();
    await rm(folder, { recursive: true, force: true });
  }
  const figure = (what: string, mine: readonly number[], partner: keyof typeof bare): Entry => ({
    section: SECTION,
    what,
    partner: `a bare flushed ${partner}`,
    ratio: spreadOf(mine.map((cost, at) => cost / (bare[partner][at] ?? Number.NaN))),
    target: null,
    note: `${median(mine).toFixed(0)} µs beside ${median(bare[partner]).toFixed(0)} µs each; below 1 is faster`,
  });
  return [
    figure("a commit alone", ours.single, "append"),
    figure("a commit alone", ours.single, "overwrite"),
    figure(`a commit among ${LANES} callers`, ours.grouped, "append"),
    figure(`a commit among ${LANES} callers`, ours.grouped, "overwrite"),
  ];
}

/** Microseconds each of `count` steps of `work`. */
async function each(count: number, work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return ((performance.now() - began) * 1_000) / count;
}

function appends(path: string): void {
  const file = openSync(path, "a", 0o600);
  for (let at = 0; at < SINGLE; at += 1) {
    writeSync(file, VALUE);
    fsyncSync(file);
  }
  closeSync(file);
}

function overwrites(path: string): void {
  const file = openSync(path, "w", 0o600);
  writeSync(file, new Uint8Array(SINGLE * 4096));
  fsyncSync(file);
  for (let at = 0; at < SINGLE; at += 1) {
    writeSync(file, VALUE, 0, VALUE.length, at * 4096);
    fdatasyncSync(file);
  }
  closeSync(file);
}
