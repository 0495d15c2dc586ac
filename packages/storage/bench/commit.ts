/**
 * How many commits a second the sqlite store makes durable, beside bare appends with fsync in the same folder and run:
 * figures of one machine mean little, ratios more.
 *
 *   node packages/storage/bench/commit.ts [folder]     folder: on the disk to measure; default: the system's temporary one
 */
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import {
  clusterIdSchema,
  keyIdSchema,
  nodeIndexSchema,
  type PresignatureId,
  type PresignatureRow,
  presignatureIdSchema,
  type StoreWrite,
  sessionIdSchema,
  systemClock,
  unixMsSchema,
} from "@cairn/core";
import { openSqliteStore } from "../src/index.ts";

const ROUNDS = 3;
const SINGLE = 400;
const GROUPED = 8_000;
const LANES = 32;

const hex = (n: number): string => n.toString(16).padStart(64, "0");
const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), "cairn-bench-"));
const store = await openSqliteStore(
  { path: join(folder, "node.db"), cluster: clusterIdSchema.parse(hex(1)), node: nodeIndexSchema.parse(1) },
  { clock: systemClock },
);
const value = new Uint8Array(600).fill(1);
const write = (key: string): readonly StoreWrite[] => [{ write: "meta", key, value }];
const session = sessionIdSchema.parse(hex(2));
const now = unixMsSchema.parse(1);

/** Runs `work` and returns how many of its `count` steps it makes a second. */
async function rate(count: number, work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (count * 1_000) / (performance.now() - started);
}

function bareAppends(): Promise<number> {
  const file = openSync(join(folder, "appended"), "a", 0o600);
  return rate(SINGLE, async () => {
    for (let i = 0; i < SINGLE; i += 1) {
      writeSync(file, value);
      fsyncSync(file);
    }
  }).finally(() => closeSync(file));
}

/** What the log does once it has its full size: the file system has nothing to note but the bytes. */
function bareOverwrites(): Promise<number> {
  const file = openSync(join(folder, "overwritten"), "w", 0o600);
  writeSync(file, new Uint8Array(SINGLE * 4096));
  fsyncSync(file);
  return rate(SINGLE, async () => {
    for (let i = 0; i < SINGLE; i += 1) {
      writeSync(file, value, 0, value.length, i * 4096);
      fsyncSync(file);
    }
  }).finally(() => closeSync(file));
}

function singleCommits(): Promise<number> {
  return rate(SINGLE, async () => {
    for (let i = 0; i < SINGLE; i += 1) await store.commit(write(`single ${i % 50}`));
  });
}

/** As many callers as `LANES`, each waiting for its own commit before the next. */
function groupedCommits(): Promise<number> {
  return rate(GROUPED, () =>
    Promise.all(
      Array.from({ length: LANES }, async (_, lane) => {
        for (let i = lane; i < GROUPED; i += LANES) await store.commit(write(`lane ${lane}`));
      }),
    ),
  );
}

let made = 0;
async function burns(): Promise<number> {
  const ids: PresignatureId[] = [];
  const rows: StoreWrite[] = [];
  for (let i = 0; i < SINGLE; i += 1) {
    made += 1;
    const id = presignatureIdSchema.parse(hex(made));
    ids.push(id);
    rows.push({ write: "presignature", row: presignatureRow(id) });
  }
  await store.commit(rows);
  return rate(SINGLE, async () => {
    for (const id of ids) await store.burn(id, session, now);
  });
}

function presignatureRow(id: PresignatureId): PresignatureRow {
  return {
    id,
    keyId: keyIdSchema.parse(hex(3)),
    path: [0, 0],
    epoch: 0,
    signers: [1, 2, 3, 4].map((index) => nodeIndexSchema.parse(index)),
    state: "ready",
    sealed: value,
    publicData: value,
    acceptances: null,
    session,
    usedBy: null,
    burnCounter: null,
    createdAt: now,
    burnedAt: null,
  };
}

function reads(): Promise<number> {
  return rate(SINGLE, async () => {
    for (let i = 0; i < SINGLE; i += 1) await store.meta(`single ${i % 50}`);
  });
}

const measures = [
  { name: "bare appends", run: bareAppends },
  { name: "bare overwrites", run: bareOverwrites },
  { name: "single commits", run: singleCommits },
  { name: "burns", run: burns },
  { name: "grouped commits", run: groupedCommits },
  { name: "reads", run: reads },
];
const best = new Map<string, number>();
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
let longest = 0;
for (let round = 0; round < ROUNDS; round += 1) {
  for (const { name, run } of measures) {
    delay.reset();
    best.set(name, Math.max(best.get(name) ?? 0, await run()));
    if (!name.startsWith("bare")) longest = Math.max(longest, delay.percentile(99) / 1e6);
  }
}
await store.close();
rmSync(folder, { recursive: true });

const bare = best.get("bare appends") ?? 0;
for (const [name, perSecond] of best) {
  const count = Math.round(perSecond).toString().padStart(7);
  console.log(`${name.padEnd(16)} ${count}/s   ${(perSecond / bare).toFixed(2)} × bare appends`);
}
console.log(`event loop delay beside the store, p99: ${longest.toFixed(1)} ms`);
