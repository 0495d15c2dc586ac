import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import {
  clusterIdSchema,
  type ErrorCode,
  isCairnError,
  type NodeStore,
  type Sats,
  systemClock,
  type UnixMs,
} from "@cairn/core";
import { migrations } from "../src/postgres/migrations.ts";
import { defaultPostgresLimits, PostgresExecutor } from "../src/postgres/postgres-executor.ts";
import { openPostgresStore, type PostgresStoreOptions } from "../src/postgres-store.ts";
import type { Migration } from "../src/sql/schema-history.ts";
import { PostgresServer } from "../test-support/index.ts";
import { createPostgresPlace } from "./postgres-place.ts";
import { type Fate, PostgresProxy, type TransactionPoint } from "./postgres-proxy.ts";
import {
  at,
  auditRow,
  bytes,
  hash,
  node,
  presignatureOf,
  presignatureRow,
  sessionOf,
  transactionRow,
} from "./rows.ts";

type Place = Awaited<ReturnType<typeof createPostgresPlace>>;

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.create();
});
after(() => server.remove());

const modules = { clock: systemClock };
/** Short waits for what never comes. */
const soon = { openMs: 500 };

async function withPlace(run: (place: Place) => Promise<void>): Promise<void> {
  const place = await createPostgresPlace(server);
  try {
    await run(place);
  } finally {
    await place.remove();
  }
}

/** A store whose connections all go through a proxy. */
async function withProxy(
  limits: PostgresStoreOptions["limits"],
  run: (scene: {
    readonly store: NodeStore;
    readonly proxy: PostgresProxy;
    readonly place: Place;
  }) => Promise<void>,
): Promise<void> {
  await withPlace(async (place) => {
    const proxy = await PostgresProxy.create(server);
    const { host, port } = proxy;
    const store = await place.open({
      location: { ...place.options.location, host, port },
      ...(limits === undefined ? {} : { limits }),
    });
    try {
      await run({ store, proxy, place });
    } finally {
      proxy.unblock();
      await store.close();
      await proxy.close();
    }
  });
}

const refused = (promise: Promise<unknown>, code: ErrorCode, says?: RegExp): Promise<void> =>
  assert.rejects(promise, (error) => {
    assert.ok(isCairnError(error, code), String(error));
    if (says !== undefined) assert.match(error.message, says);
    // Neither in the error nor in what caused it.
    assert.doesNotMatch(inspect(error, { depth: 10, showHidden: false }), /secret/);
    return true;
  });

const put = (store: NodeStore, key: string, value: Uint8Array = bytes("v")): Promise<void> =>
  store.commit([{ write: "meta", key, value }]);

/** An entry can be appended only once, so a commit that is made twice is seen. */
const append = (store: NodeStore, seq: number): Promise<void> =>
  store.commit([{ write: "audit", row: auditRow(seq) }]);

async function auditLength(store: NodeStore): Promise<number> {
  return ((await store.auditHead())?.seq ?? -1) + 1;
}

test("a database takes one writer; the next one gets in when that one has closed", async () => {
  await withPlace(async ({ open }) => {
    const first = await open();
    await refused(open({ limits: soon }), "storage-locked", /stop it/);
    await put(first, "k");
    await first.close();
    const second = await open({ limits: soon });
    assert.deepEqual(await second.meta("k"), bytes("v"));
    await second.close();
  });
});

test("another node's database and another cluster's are refused, and left as they were", async () => {
  await withPlace(async ({ open, options, database }) => {
    await (await open()).close();
    const [before] = await server.sql(database, "select * from owner");
    await refused(open({ node: node(2) }), "config-invalid", /node 1/);
    const cluster = clusterIdSchema.parse(hash("another cluster"));
    await refused(open({ cluster }), "config-invalid", /cluster/);
    assert.deepEqual(await server.sql(database, "select * from owner"), [before]);
    await (await openPostgresStore(options, modules)).close();
  });
});

test("an older schema migrates forward in one step; a later one, and an altered one, are refused by name", async () => {
  await withPlace(async ({ open, options, database }) => {
    const store = await open();
    await put(store, "k");
    await store.close();
    const known = migrations.length;
    const next: Migration[] = [
      ...migrations,
      {
        version: known + 1,
        name: "labels",
        sql: "create table labels (t text); insert into labels values ('a')",
      },
      { version: known + 2, name: "colours", sql: "alter table labels add column colour text" },
    ];
    const connect = (list: readonly Migration[]): Promise<PostgresExecutor> => {
      const { location, password, ...owner } = options;
      return PostgresExecutor.open(
        { location, password, owner, authorities: null, migrations: list, limits: defaultPostgresLimits },
        modules,
      );
    };
    const half = { version: known + 3, name: "half", sql: "create table half (a bigint); select nothing" };
    await refused(connect([...next, half]), "storage-failed");
    await (await open()).close();

    const later = await connect(next);
    const labels = await later.query({ sql: "select t, colour from labels", parameters: [] });
    assert.deepEqual(labels, [{ t: "a", colour: null }]);
    await later.close();
    await refused(open(), "schema-too-new", new RegExp(`schema ${known + 2}, known up to ${known}`));
    const altered = next.map((step) =>
      step.version === known + 1 ? { ...step, sql: `${step.sql} -- edited` } : step,
    );
    await refused(connect(altered), "storage-corrupt");
    await server.sql(database, `delete from schema_migrations where version > ${known}; drop table labels`);
    const back = await open();
    assert.deepEqual(await back.meta("k"), bytes("v"));
    await back.close();
  });
});

test("what a person got wrong is named: server, database, password, owner, tables of something else", async () => {
  await withPlace(async ({ open, options, database }) => {
    const location = options.location;
    await refused(open({ location: { ...location, port: 1 }, limits: soon }), "storage-failed", /start it/);
    await refused(open({ location: { ...location, database: "absent" } }), "config-invalid", /createdb/);
    await refused(open({ password: async () => "secret no more" }), "config-invalid", /password_file/);
    await refused(open({ password: async () => null }), "config-invalid", /password/);
    await refused(open({ location: { ...location, user: "nobody" } }), "config-invalid", /password_file/);
    await refused(open({ location: { ...location, database: "postgres" } }), "config-invalid", /owner/);
    await server.sql(database, "create table transactions (a text); grant all on transactions to cairn");
    await refused(open(), "config-invalid", /something else/);
  });
});

test("a server that could forget a commit is refused", async () => {
  const careless = await PostgresServer.create({ settings: ["fsync = off"] });
  try {
    const place = await createPostgresPlace(careless);
    await refused(place.open(), "config-invalid", /fsync = off/);
  } finally {
    await careless.remove();
  }
});

test("commits are flushed, also where the role's own setting says otherwise", async () => {
  await withPlace(async ({ options, database }) => {
    await server.sql(database, `alter role cairn in database ${database} set synchronous_commit = off`);
    const { location, password, ...owner } = options;
    const executor = await PostgresExecutor.open(
      { location, password, owner, authorities: null, migrations, limits: defaultPostgresLimits },
      modules,
    );
    const rows = await executor.commit([
      { sql: "select current_setting('synchronous_commit') as kept", parameters: [] },
    ]);
    assert.deepEqual(rows, [{ kept: "on" }]);
    await executor.close();
  });
});

test("the database itself refuses to undo a burn or to rewrite the audit log", async () => {
  await withPlace(async ({ open, database }) => {
    const store = await open();
    await store.commit([{ write: "presignature", row: presignatureRow("a") }]);
    await store.burn(presignatureOf("a"), sessionOf("s"), at(1));
    await append(store, 0);
    for (const text of [
      "update presignatures set state = 'ready', burn_counter = null",
      "delete from presignatures",
      "update presignature_usage set counter = 0",
      "delete from presignature_usage",
      "truncate presignature_usage",
      "update audit_log set kind = 'other'",
      "delete from audit_log",
      "truncate audit_log",
    ]) {
      await assert.rejects(server.sql(database, text), { name: "error" }, text);
    }
    await store.close();
  });
});

test("a value that no column can hold is refused without harm to the commits beside it", async () => {
  await withPlace(async ({ open }) => {
    const store = await open();
    const status = (lastSeen: UnixMs) => put(store, `seen ${lastSeen}`);
    const hugeSats = (2n ** 70n) as Sats;
    const before = status(at(1));
    const tooBig = store.commit([
      { write: "transaction", row: { ...transactionRow("a"), amountSats: hugeSats } },
    ]);
    const zero = store.commit([{ write: "transaction", row: { ...transactionRow("b"), recipient: "a\0b" } }]);
    const good = status(at(7));
    await refused(tooBig, "malformed");
    await refused(zero, "malformed");
    await Promise.all([before, good]);
    assert.ok((await store.meta("seen 1")) && (await store.meta("seen 7")));
    await store.close();
  });
});

for (const fate of ["cut", "deafen"] as const) {
  for (const point of ["begin", "commit"] as const) {
    const name = { cut: "before the server hears", deafen: "before anybody hears of" };
    test(`a connection that breaks ${name[fate]} ${point} loses no commit and makes none twice`, async () => {
      await withProxy(undefined, async ({ store, proxy }) => {
        await append(store, 0);
        let left = 3;
        let broken = 0;
        proxy.fate = (seen): Fate => {
          if (seen !== point || left === 0) return "pass";
          left -= 1;
          broken += 1;
          return fate;
        };
        await Promise.all([append(store, 1), append(store, 2)]);
        await store.commit([{ write: "presignature", row: presignatureRow("a") }]);
        left = 1;
        assert.equal(await store.burn(presignatureOf("a"), sessionOf("s"), at(1)), 1);
        assert.equal(broken, 4);
        assert.equal(await auditLength(store), 3);
        await refused(append(store, 1), "wrong-state");
        assert.equal(await store.burnCounter(), 1);
      });
    });
  }
}

test("a look at an ambiguous commit that is held up is made again, and not taken for an answer", async () => {
  const statementMs = 400;
  await withProxy({ statementMs }, async ({ store, proxy, place }) => {
    await append(store, 0);
    const intruder = await server.connect(place.database);
    await intruder.query("begin");
    let held: Promise<unknown> | null = null;
    proxy.fate = (point): Fate => {
      if (point !== "commit" || held !== null) return "pass";
      // Behind the commit, and before the look.
      held = intruder.query("select 1 from owner for update");
      return "deafen";
    };
    const kept = append(store, 1);
    for (;;) {
      const waiting = await server.sql(place.database, "select 1 from pg_locks where not granted");
      if (held !== null && waiting.length > 0) break;
      await sleep(5);
    }
    await sleep(3 * statementMs);
    await intruder.query("rollback");
    await kept;
    assert.equal(await auditLength(store), 2);
    await append(store, 2);
    await intruder.end();
  });
});

test("while the server restarts, in the middle of transactions, commits and reads wait; all are kept, in order", async () => {
  await withPlace(async ({ open }) => {
    const store = await open();
    let restarting = true;
    let next = 0;
    const write = async (): Promise<void> => {
      while (restarting) {
        await append(store, next);
        next += 1;
      }
    };
    const read = async (): Promise<void> => {
      while (restarting) await store.burnCounter();
    };
    const restart = async (): Promise<void> => {
      for (const how of ["fast", "kill", "fast"] as const) {
        const from = next;
        while (next < from + 3) await sleep(5);
        await server.stop(how);
        await server.start();
      }
      restarting = false;
    };
    await Promise.all([write(), read(), restart()]);
    assert.equal(await auditLength(store), next);
    await store.close();
  });
});

test("a store that is cut off cannot commit once another has the database, and says so", async () => {
  await withProxy(undefined, async ({ store, proxy, place }) => {
    await append(store, 0);
    proxy.block();
    const late = append(store, 1);
    const rival = await place.open();
    await append(rival, 1);
    await rival.close();
    proxy.unblock();
    await refused(late, "storage-failed", /taken over/);
    await refused(append(store, 2), "storage-failed", /start the node again/);
    await refused(store.auditHead(), "storage-failed");
    const heir = await place.open();
    assert.equal(await auditLength(heir), 2);
    await heir.close();
  });
});

test("a store whose generation is over cannot commit, even with its session alive", async () => {
  await withPlace(async ({ open, database }) => {
    const store = await open();
    await append(store, 0);
    await server.sql(database, "update owner set generation = generation + 1");
    await refused(append(store, 1), "storage-failed", /taken over/);
    await store.close();
    assert.equal((await server.sql(database, "select * from audit_log")).length, 1);
  });
});

test("a lost connection takes up the lock again without waiting for a commit", async () => {
  await withProxy(undefined, async ({ store, proxy, place }) => {
    await append(store, 0);
    const holder = "select pid from pg_locks where locktype = 'advisory' and granted";
    const [old] = await server.sql(place.database, holder);
    proxy.cut();
    for (;;) {
      const [found] = await server.sql(place.database, holder);
      if (found !== undefined && found.pid !== old?.pid) break;
      await sleep(10);
    }
    await append(store, 1);
  });
});

test("a server that is gone for good ends the store after its time", async () => {
  await withProxy({ reconnectMs: 300, statementMs: 300 }, async ({ store, proxy }) => {
    await append(store, 0);
    proxy.block();
    await refused(append(store, 1), "storage-failed", /does not answer/);
    await refused(store.auditHead(), "storage-failed");
  });
});

test("a server that answers nothing for a while is given up and asked anew; each commit is made once", async () => {
  await withPlace(async ({ open }) => {
    const store = await open({ limits: { statementMs: 250 } });
    await append(store, 0);
    await server.signal("SIGSTOP");
    const waiting = [append(store, 1), append(store, 2), store.burnCounter()];
    await sleep(800);
    await server.signal("SIGCONT");
    await Promise.all(waiting);
    assert.equal(await auditLength(store), 3);
    await store.close();
  });
});

test("a table that somebody holds makes commits busy, not lost, and they pass again afterwards", async () => {
  await withPlace(async ({ open, database }) => {
    const store = await open({ limits: { statementMs: 100 } });
    const intruder = await server.connect(database);
    await intruder.query("begin; lock table meta in exclusive mode");
    await refused(put(store, "k"), "busy", /what else uses/);
    const patient = put(store, "patient");
    await sleep(150);
    await intruder.query("rollback");
    await patient;
    await put(store, "k");
    await intruder.end();
    await store.close();
  });
});

test("a transaction that the server sacrifices to a deadlock is made again", async () => {
  await withPlace(async ({ open, database }) => {
    const store = await open();
    await store.commit(["a", "b"].map((key) => ({ write: "meta", key, value: bytes("0") }) as const));
    await server.sql("postgres", `alter database ${database} set deadlock_timeout = '100ms'`);
    await store.close();
    const again = await open();
    const intruder = await server.connect(database);
    // It waits longer than the store's own session, which so becomes the victim.
    await intruder.query("set deadlock_timeout = '1min'");
    await intruder.query("begin");
    await intruder.query("update meta set value = 'b' where key = 'b'");
    const ours = again.commit(["a", "b"].map((key) => ({ write: "meta", key, value: bytes("1") }) as const));
    for (;;) {
      const waiting = await server.sql(database, "select 1 from pg_locks where not granted");
      if (waiting.length > 0) break;
      await sleep(5);
    }
    await intruder.query("update meta set value = 'b' where key = 'a'");
    await intruder.query("commit");
    await ours;
    assert.deepEqual(await again.meta("a"), bytes("1"));
    assert.deepEqual(await again.meta("b"), bytes("1"));
    await intruder.end();
    await again.close();
  });
});

test("reads beyond the connections there are wait, and are refused as busy when none comes free", async () => {
  await withPlace(async ({ open, database }) => {
    const store = await open({ limits: { readers: 2, queueMs: 300 } });
    const intruder = await server.connect(database);
    await intruder.query("begin; lock table meta in access exclusive mode");
    const held = [store.meta("a"), store.meta("b")];
    await refused(store.burnCounter(), "busy", /try again/);
    await intruder.query("rollback");
    assert.deepEqual(await Promise.all(held), [null, null]);
    assert.equal(await store.burnCounter(), 0);
    const many = await Promise.all(Array.from({ length: 200 }, () => store.burnCounter()));
    assert.equal(many.length, 200);
    await intruder.end();
    await store.close();
  });
});

test("a server without room refuses the commit, keeps all before it and goes on when there is room", async (t) => {
  await withPlace(async ({ database, open }) => {
    const store = await open();
    const disk = await server.smallTablespace(database);
    t.diagnostic(
      disk.real ? "on a file system of 12 MB" : "no right to mount: a trigger says what a full disk says",
    );
    try {
      const value = Uint8Array.from(randomBytes(60 * 1024));
      let written = 0;
      const fill = async (): Promise<void> => {
        for (; written < 1_000; written += 1) await put(store, `big ${written}`, value);
      };
      await refused(fill(), "storage-full", /free space/);
      assert.ok(written > 5 && written < 1_000, String(written));
      const huge = put(store, "huge", Uint8Array.from(randomBytes(10_000_000)));
      const beside = append(store, 0);
      await refused(huge, "storage-full");
      await beside;
      for (let i = 0; i < written; i += 1) assert.ok(await store.meta(`big ${i}`));
      assert.equal(await store.meta(`big ${written}`), null);
      await disk.free();
      await put(store, "after", value);
    } finally {
      await store.close();
      await disk.remove();
    }
  });
});

test("points at which a test breaks the connection are seen", async () => {
  await withProxy(undefined, async ({ store, proxy }) => {
    const seen: TransactionPoint[] = [];
    proxy.fate = (point) => {
      seen.push(point);
      return "pass";
    };
    await append(store, 0);
    assert.deepEqual(seen, ["begin", "commit"]);
  });
});
