import { closeSync, fdatasyncSync, fsyncSync, openSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clusterIdSchema, type NodeStore, nodeIndexSchema, systemClock } from "@cairn/core";
import { openSqliteStore } from "@cairn/storage";
import { openPostgresStore } from "@cairn/storage/postgres";
import { PostgresServer } from "@cairn/storage/test-support";
import type { Entry } from "./report.ts";
import { median, spreadOf } from "./spread.ts";

const SECTION = "durable writes";
const ROUNDS = 5;
const SINGLE = 200;
const GROUPED = 3_200;
const LANES = 32;
const VALUE = new Uint8Array(600).fill(1);

/** Commits of a node's store, in sqlite and in Postgres, beside bare writes of the same bytes, each flushed: to the end of a file, and over what a file holds. */
export async function storage(): Promise<readonly Entry[]> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-bench-"));
  const owner = {
    cluster: clusterIdSchema.parse("1".padStart(64, "0")),
    node: nodeIndexSchema.parse(1),
  };
  const modules = { clock: systemClock };
  const server = await PostgresServer.create();
  const bare = { append: [] as number[], overwrite: [] as number[] };
  const stores: Measured[] = [];
  try {
    await server.createDatabase("node");
    const { host, port } = server;
    const location = { host, port, user: "cairn", database: "node", tls: null };
    const opened = [
      ["sqlite", await openSqliteStore({ path: join(folder, "node.db"), ...owner }, modules)],
      ["Postgres", await openPostgresStore({ location, password: async () => "secret", ...owner }, modules)],
    ] as const;
    for (const [name, store] of opened) stores.push({ name, store, single: [], grouped: [] });
    for (let round = 0; round < ROUNDS; round += 1) {
      bare.append.push(await each(SINGLE, async () => appends(join(folder, "appended"))));
      bare.overwrite.push(await each(SINGLE, async () => overwrites(join(folder, "overwritten"))));
      for (const { store, single, grouped } of stores) {
        const commit = (key: string) => store.commit([{ write: "meta", key, value: VALUE }]);
        single.push(
          await each(SINGLE, async () => {
            for (let at = 0; at < SINGLE; at += 1) await commit(`single ${at % 50}`);
          }),
        );
        grouped.push(
          await each(GROUPED, () =>
            Promise.all(
              Array.from({ length: LANES }, async (_, lane) => {
                for (let at = lane; at < GROUPED; at += LANES) await commit(`lane ${lane}`);
              }),
            ),
          ),
        );
      }
    }
  } finally {
    for (const { store } of stores) await store.close();
    await server.remove();
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
  return stores.flatMap(({ name, single, grouped }) =>
    (["append", "overwrite"] as const).flatMap((partner) => [
      figure(`a commit alone, ${name}`, single, partner),
      figure(`a commit among ${LANES} callers, ${name}`, grouped, partner),
    ]),
  );
}

interface Measured {
  readonly name: string;
  readonly store: NodeStore;
  readonly single: number[];
  readonly grouped: number[];
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
