import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  AUDIT_ROOT,
  clusterIdSchema,
  type ErrorCode,
  isCairnError,
  type NodeStore,
  type Sats,
  type StoreWrite,
  systemClock,
  type UnixMs,
} from "@cairn/core";
import { openSqliteStore } from "../src/index.ts";
import type { Migration } from "../src/sql/schema-history.ts";
import { StorageRefusal } from "../src/sql/storage-refusal.ts";
import { migrations } from "../src/sqlite/migrations.ts";
import { SqliteConnection } from "../src/sqlite/sqlite-connection.ts";
import { at, bytes, hash, node, presignatureOf, presignatureRow, sessionOf, transactionRow } from "./rows.ts";
import { createSmallDatabase, createSmallFileSystem, type SmallDisk } from "./small-disk.ts";
import { createSqlitePlace, openAt, owner } from "./sqlite-place.ts";

/** Beyond 64 bits: a caller that went around the type. */
const hugeSats = (2n ** 70n) as Sats;

type Place = Awaited<ReturnType<typeof createSqlitePlace>>;

async function withPlace(run: (place: Place) => Promise<void>): Promise<void> {
  const place = await createSqlitePlace();
  try {
    await run(place);
  } finally {
    await place.remove();
  }
}

const refused = (promise: Promise<unknown>, code: ErrorCode, says?: RegExp): Promise<void> =>
  assert.rejects(promise, (error) => {
    assert.ok(isCairnError(error, code), String(error));
    if (says !== undefined) assert.match(error.message, says);
    return true;
  });

const put = (store: NodeStore, key: string, value: Uint8Array): Promise<void> =>
  store.commit([{ write: "meta", key, value }]);

test("a second process is refused while the first lives, and not a moment longer", async () => {
  await withPlace(async ({ path }) => {
    const holder = spawn(
      process.execPath,
      [join(import.meta.dirname, "fixtures", "holding-child.ts"), path],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    const ended = once(holder, "exit");
    try {
      await once(holder.stdout, "data");
      await refused(openAt(path), "storage-locked", /stop it/);
    } finally {
      holder.kill("SIGKILL");
      await ended;
    }
    const store = await openAt(path);
    await store.close();
  });
});

test("a folder or file that others may read is refused, and what the store makes is the owner's alone", async () => {
  await withPlace(async ({ folder, path }) => {
    const before = process.umask(0);
    try {
      const store = await openAt(join(folder, "made", "node.db"));
      await put(store, "k", bytes("v"));
      assert.equal(statSync(join(folder, "made")).mode & 0o777, 0o700);
      assert.equal(statSync(join(folder, "made", "node.db")).mode & 0o777, 0o600);
      assert.equal(statSync(join(folder, "made", "node.db-wal")).mode & 0o777, 0o600);
      await store.close();
    } finally {
      process.umask(before);
    }
    chmodSync(join(folder, "made"), 0o750);
    await refused(openAt(join(folder, "made", "node.db")), "file-mode", /chmod 0700/);
    writeFileSync(path, "", { mode: 0o644 });
    chmodSync(path, 0o644);
    await refused(openAt(path), "file-mode", /chmod 0600/);
  });
});

test("a folder that cannot be made is named", async () => {
  await withPlace(async ({ folder }) => {
    writeFileSync(join(folder, "file"), "");
    await refused(openAt(join(folder, "file", "node.db")), "storage-failed", /folder/);
  });
});

test("another node's database and another cluster's are refused", async () => {
  await withPlace(async ({ path, open }) => {
    await (await open()).close();
    const modules = { clock: systemClock };
    await refused(openSqliteStore({ path, ...owner, node: node(2) }, modules), "config-invalid", /node 1/);
    const cluster = clusterIdSchema.parse(hash("another cluster"));
    await refused(openSqliteStore({ path, ...owner, cluster }, modules), "config-invalid", /cluster/);
    await (await open()).close();
  });
});

test("a torn page and a file that is no database are refused as damaged", async () => {
  await withPlace(async ({ path, open }) => {
    const store = await open();
    for (let i = 0; i < 40; i += 1) await put(store, `key ${i}`, new Uint8Array(3_000).fill(i));
    await store.close();
    const whole = readFileSync(path);
    const pageSize = whole.readUInt16BE(16);
    for (const page of [1, Math.floor(whole.length / pageSize / 2)]) {
      const torn = Buffer.from(whole);
      torn.fill(0xa5, page * pageSize, page * pageSize + pageSize / 2);
      writeFileSync(path, torn);
      await refused(open(), "storage-corrupt", /backup/);
    }
    writeFileSync(path, Buffer.from(whole).fill(0xa5, 0, 64));
    await refused(open(), "storage-corrupt", /backup/);
    writeFileSync(path, whole);
    const mended = await open();
    assert.deepEqual(await mended.meta("key 7"), new Uint8Array(3_000).fill(7));
    await mended.close();
  });
});

test("a page that is torn while the store runs ends the store before it can answer from it", async () => {
  await withPlace(async ({ path, open }) => {
    const first = await open();
    // More than sqlite keeps in memory.
    const rows = Array.from({ length: 8_000 }, (_, i) => i);
    const value = new Uint8Array(700).fill(1);
    await first.commit(rows.map((i): StoreWrite => ({ write: "meta", key: `key ${i}`, value })));
    await first.close();
    const store = await open();
    const whole = readFileSync(path);
    const pageSize = whole.readUInt16BE(16);
    // In another process: closing a file here would drop this process's locks on it.
    execFileSync("dd", [
      "if=/dev/urandom",
      `of=${path}`,
      `bs=${pageSize}`,
      `count=${Math.floor(whole.length / pageSize) - 2}`,
      "seek=1",
      "conv=notrunc",
      "status=none",
    ]);
    const outcomes = await Promise.allSettled(Array.from({ length: 400 }, (_, i) => store.meta(`key ${i}`)));
    const failures = outcomes.filter((outcome) => outcome.status === "rejected");
    assert.ok(failures.length > 0);
    assert.ok(isCairnError(failures[0]?.reason, "storage-corrupt"));
    await refused(put(store, "k", bytes("v")), "storage-failed", /start the node again/);
    await store.close();
  });
});

test("a last commit that is half in the log is gone, and nothing before it", async () => {
  await withPlace(async ({ folder, path, open }) => {
    const store = await open();
    for (let i = 0; i < 5; i += 1) await put(store, `key ${i}`, bytes(`value ${i}`));
    const copy = join(folder, "copy");
    mkdirSync(copy, { mode: 0o700 });
    // What a machine finds after a power cut: both files as they are, with the end of the log missing.
    execFileSync("cp", [path, `${path}-wal`, copy]);
    await store.close();
    const log = join(copy, "node.db-wal");
    truncateSync(log, statSync(log).size - 100);
    const cut = await openAt(join(copy, "node.db"));
    assert.deepEqual(await cut.meta("key 3"), bytes("value 3"));
    assert.equal(await cut.meta("key 4"), null);
    await put(cut, "key 4", bytes("again"));
    await cut.close();
  });
});

test("an older schema migrates forward in one step, and a later one is refused by name", async () => {
  await withPlace(async ({ path, open }) => {
    const store = await open();
    await put(store, "k", bytes("v"));
    await store.close();

    const known = migrations.length;
    const next: Migration[] = [
      ...migrations,
      {
        version: known + 1,
        name: "labels",
        sql: "create table labels (text text) strict; insert into labels values ('a')",
      },
      { version: known + 2, name: "colours", sql: "alter table labels add column colour text" },
    ];
    const broken: Migration[] = [
      ...next,
      { version: known + 3, name: "broken", sql: "create table half (a); select nothing" },
    ];
    const connect = (list: readonly Migration[]): SqliteConnection =>
      SqliteConnection.open({ path, ...owner, migrations: list, now: 1 });
    assert.throws(
      () => connect(broken),
      (error) => isRefusal(error, "storage-failed"),
    );
    await (await open()).close();

    const later = connect(next);
    const labels = later.query({ sql: "select text, colour from labels", parameters: [] });
    assert.ok(labels.ok);
    assert.deepEqual({ ...labels.rows[0] }, { text: "a", colour: null });
    const kept = later.query({ sql: "select value from meta where key = 'k'", parameters: [] });
    assert.ok(kept.ok && kept.rows.length === 1);
    later.close();

    await refused(open(), "schema-too-new", new RegExp(`schema ${known + 2}, known up to ${known}`));
    const altered = next.map((step) =>
      step.version === known + 1 ? { ...step, sql: `${step.sql} -- edited` } : step,
    );
    assert.throws(
      () => connect(altered),
      (error) => isRefusal(error, "storage-corrupt"),
    );
    connect(next).close();
  });
});

test("the database itself refuses to undo a burn or to rewrite the audit log", async () => {
  await withPlace(async ({ path, open }) => {
    const store = await open();
    await store.commit([{ write: "presignature", row: presignatureRow("a") }]);
    await store.burn(presignatureOf("a"), sessionOf("s"), at(1));
    await store.close();
    const connection = SqliteConnection.open({ path, ...owner, migrations, now: 1 });
    for (const sql of [
      "update presignatures set state = 'ready', burn_counter = null",
      "delete from presignatures",
      "update presignature_usage set counter = 0",
      "delete from presignature_usage",
    ]) {
      const [outcome] = connection.commit([[{ sql, parameters: [] }]]);
      assert.ok(outcome && !outcome.ok && outcome.error.code === "wrong-state", sql);
    }
    connection.close();
  });
});

test("a value that no column can hold is refused without harm to the commits beside it", async () => {
  await withPlace(async ({ open }) => {
    const store = await open();
    const status = (lastSeen: UnixMs): StoreWrite => ({
      write: "node-status",
      row: {
        node: node(2),
        lastSeen,
        epoch: 0,
        burnCounter: 0,
        auditLength: 0,
        auditHead: AUDIT_ROOT,
        answer: Uint8Array.of(1),
      },
    });
    const tooBig = store.commit([
      { write: "transaction", row: { ...transactionRow("a"), amountSats: hugeSats } },
    ]);
    const fraction = store.commit([status(1.5 as UnixMs)]);
    const good = store.commit([status(at(7))]);
    await refused(tooBig, "malformed");
    await refused(fraction, "wrong-state");
    await good;
    assert.equal((await store.nodeStatuses())[0]?.lastSeen, 7);
    await store.close();
  });
});

test("each commit is flushed: synchronous is full, the log is on, the lock is exclusive", async () => {
  await withPlace(async ({ path }) => {
    const connection = SqliteConnection.open({ path, ...owner, migrations, now: 1 });
    const pragma = (name: string): unknown => {
      const outcome = connection.query({ sql: `pragma ${name}`, parameters: [] });
      return outcome.ok ? Object.values(outcome.rows[0] ?? {})[0] : null;
    };
    assert.equal(pragma("synchronous"), 2);
    assert.equal(pragma("journal_mode"), "wal");
    assert.equal(pragma("locking_mode"), "exclusive");
    assert.equal(pragma("foreign_keys"), 1);
    connection.close();
  });
});

async function fullDisk(disk: SmallDisk): Promise<void> {
  let store = await disk.open();
  try {
    const value = new Uint8Array(64 * 1024).fill(1);
    let written = 0;
    const fill = async (): Promise<void> => {
      for (; written < 1_000; written += 1) {
        await store.commit([
          { write: "meta", key: `big ${written}`, value },
          { write: "meta", key: "count", value: bytes(String(written + 1)) },
        ]);
      }
    };
    await refused(fill(), "storage-full", /free space/);
    assert.ok(written > 5 && written < 1_000);
    const check = async (): Promise<void> => {
      assert.deepEqual(await store.meta("count"), bytes(String(written)));
      for (let i = 0; i < written; i += 1) assert.ok(await store.meta(`big ${i}`));
      assert.equal(await store.meta(`big ${written}`), null);
    };
    await check();
    const huge = put(store, "huge", new Uint8Array(8 * 1024 * 1024));
    const small = put(store, "count", bytes(String(written)));
    await refused(huge, "storage-full");
    await small;
    await check();

    disk.free();
    await store.close();
    store = await disk.open();
    await check();
    await put(store, "after", value);
  } finally {
    await store.close();
  }
}

test("a database that cannot grow refuses the commit, keeps all before it and lets small ones through", async () => {
  const disk = await createSmallDatabase();
  await fullDisk(disk).finally(() => disk.remove());
});

test("a full disk refuses the commit, keeps all before it and goes on when there is room", async (t) => {
  const mounted = await createSmallFileSystem();
  t.diagnostic(mounted === null ? "no right to mount: on a limited database" : "on a file system of 6 MB");
  const disk = mounted ?? (await createSmallDatabase());
  await fullDisk(disk).finally(() => disk.remove());
});

function isRefusal(error: unknown, code: ErrorCode): boolean {
  return error instanceof StorageRefusal && error.code === code;
}
