import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { CairnClient } from "@cairn/client";
import { hashHexSchema, isCairnError, nodeIndexSchema, type StoreWrite, systemClock } from "@cairn/core";
import { openSqliteStore } from "@cairn/storage";
import { tokenHash } from "../src/index.ts";
import { Daemon } from "./daemon-process.ts";
import { ADMIN_TOKEN, NodeFolder, type TestCluster, testCluster } from "./node-folder.ts";
import { mountSmallDisk } from "./small-disk.ts";

const database = (folder: NodeFolder): string => join(folder.path, "data", "cairn.db");

async function withFolder(
  run: (folder: NodeFolder, cluster: TestCluster) => Promise<void>,
  change: Parameters<typeof testCluster>[0] = {},
): Promise<void> {
  const cluster = testCluster(change);
  const folder = await NodeFolder.create(cluster);
  try {
    await run(folder, cluster);
  } finally {
    await folder.remove();
  }
}

const daemonOf = (folder: NodeFolder, limits?: string): Daemon =>
  new Daemon("main-reduced", ["--config", folder.config], limits);

/** Starts a daemon, does `use` with its API, and ends it. */
async function withDaemon(
  daemon: Daemon,
  use: (client: CairnClient, api: string) => Promise<void>,
): Promise<void> {
  try {
    const { api } = await daemon.logged("node ready");
    await use(new CairnClient({ endpoints: [String(api)], token: ADMIN_TOKEN }), String(api));
  } finally {
    await daemon.stop();
  }
}

/** A start and an orderly stop: the folder then has its database. */
async function runOnce(folder: NodeFolder): Promise<void> {
  const daemon = daemonOf(folder);
  await withDaemon(daemon, async () => {
    daemon.process.kill("SIGTERM");
    assert.equal(await daemon.exit, 0);
  });
}

/** That the daemon does not start, and says this. */
async function refusesStart(folder: NodeFolder, exit: number, words: RegExp): Promise<void> {
  const daemon = daemonOf(folder);
  try {
    assert.equal(await daemon.exit, exit, daemon.errors);
    assert.match(daemon.errors, words);
    assert.ok(!daemon.lines.some(({ message }) => message === "node ready"));
  } finally {
    await daemon.stop();
  }
}

const newToken = () => ({
  name: `t-${randomBytes(8).toString("hex")}`,
  role: "viewer" as const,
  hash: randomBytes(32).toString("hex"),
});

test("a manifest that demands a policy engine is refused at the start, before anything is made", async () => {
  for (const authorisation of ["policy-engine", "hybrid"] as const) {
    await withFolder(
      async (folder) => {
        await refusesStart(folder, 78, new RegExp(`demands the authorisation ${authorisation}`));
        await assert.rejects(stat(join(folder.path, "data")), { code: "ENOENT" });
      },
      { manifest: { authorisation } },
    );
  }
});

test("files that others may reach, and files that are missing, are refused by name with what to do", async () => {
  await withFolder(async (folder) => {
    for (const name of ["identity.pem", "sealing.pem", "vault.key"]) {
      await chmod(join(folder.path, name), 0o640);
      await refusesStart(folder, 78, new RegExp(`${name}.*chmod 600`, "s"));
      await chmod(join(folder.path, name), 0o600);
    }
    for (const name of ["cairn.toml", "policy.cbor", "manifest.cbor", "epoch"]) {
      await chmod(join(folder.path, name), 0o666);
      await refusesStart(folder, 78, new RegExp(`others.*write.*${name}.*chmod`, "s"));
      await chmod(join(folder.path, name), 0o644);
    }
    await rename(join(folder.path, "policy.cbor"), join(folder.path, "elsewhere"));
    await refusesStart(folder, 78, /policy\.cbor cannot be read/);
    await rename(join(folder.path, "elsewhere"), join(folder.path, "policy.cbor"));
    const manifest = await readFile(join(folder.path, "manifest.cbor"));
    await writeFile(join(folder.path, "manifest.cbor"), manifest.subarray(0, 100));
    await refusesStart(folder, 78, /manifest\.cbor/);
    await writeFile(join(folder.path, "manifest.cbor"), manifest);
    await runOnce(folder);
    await chmod(join(folder.path, "data"), 0o755);
    await refusesStart(folder, 78, /chmod 0?700/);
    await chmod(join(folder.path, "data"), 0o700);
    await chmod(database(folder), 0o644);
    await refusesStart(folder, 78, /chmod 0600/);
  });
});

test("a database that a newer release made is refused, and an older one is brought up to date", async () => {
  await withFolder(async (folder) => {
    await runOnce(folder);
    const edit = (sql: string): void => {
      const db = new DatabaseSync(database(folder));
      db.exec(sql);
      db.close();
    };
    edit("insert into schema_migrations values (99, 'future', 'x', 1)");
    await refusesStart(folder, 78, /later release/);
    edit(`delete from schema_migrations where version > 1;
      drop index presignatures_by_age; drop index idempotency_by_age; drop index audit_log_by_kind;
      drop index transactions_by_change; drop index reservations_by_age; drop index sessions_by_execution;
      drop table spend_approvals; drop table change_votes; drop table changes; drop table checkpoints; drop table anchors`);
    await runOnce(folder);
    const db = new DatabaseSync(database(folder));
    const indexes = db.prepare("select name from sqlite_master where type = 'index'").all();
    assert.ok(indexes.some(({ name }) => name === "presignatures_by_age"));
    db.close();
  });
});

test("a daemon whose disk fails a write ends at once with the exit status of storage-failed, and starts again when the disk is well", async () => {
  await withFolder(async (folder) => {
    await runOnce(folder);
    // Files may not grow beyond this: sqlite's log meets it after a few commits, and reports an I/O error.
    const daemon = daemonOf(folder, "ulimit -f 192");
    await withDaemon(daemon, async (client) => {
      for (;;) {
        try {
          await client.call("createToken", { body: newToken() });
        } catch (error) {
          assert.ok(isCairnError(error));
          assert.ok(["peer-unreachable", "storage-failed"].includes(error.code), error.code);
          break;
        }
      }
      assert.equal(await daemon.exit, 74);
    });
    assert.match(daemon.errors, /disk failed.*start the node again/s);
    assert.ok(daemon.lines.some(({ message }) => message.startsWith("the database has failed")));
    await withDaemon(daemonOf(folder), async (client) => {
      assert.equal((await client.call("health", {})).storage, "ok");
      assert.ok((await client.call("listTokens", {})).tokens.length > 1);
    });
  });
});

test("a torn page of the database is refused at the start, and ends a daemon that reads one", async () => {
  await withFolder(async (folder, cluster) => {
    const store = await openSqliteStore(
      { path: database(folder), cluster: cluster.manifest.cluster, node: nodeIndexSchema.parse(1) },
      { clock: systemClock },
    );
    const scope = tokenHash(ADMIN_TOKEN);
    // More than sqlite keeps in memory.
    for (let i = 0; i < 100; i++) {
      const row = {
        scope,
        key: `k${i}`,
        request: hashHexSchema.parse("00".repeat(32)),
        status: 202,
        response: "x".repeat(100_000),
        createdAt: systemClock.now(),
      };
      await store.commit([{ write: "idempotency", row } satisfies StoreWrite]);
    }
    await store.close();
    const whole = await readFile(database(folder));
    const pageSize = whole.readUInt16BE(16);
    const torn = Buffer.from(whole);
    const middle = Math.floor(whole.length / pageSize / 2) * pageSize;
    torn.fill(0xa5, middle, middle + pageSize);
    await writeFile(database(folder), torn);
    await refusesStart(folder, 74, /damaged.*backup/s);

    await writeFile(database(folder), whole);
    const daemon = daemonOf(folder);
    await withDaemon(daemon, async (_, api) => {
      const pages = Math.floor(whole.length / pageSize) - 1;
      execFileSync("dd", [
        "if=/dev/urandom",
        `of=${database(folder)}`,
        `bs=${pageSize}`,
        `count=${pages}`,
        "seek=1",
        "conv=notrunc",
        "status=none",
      ]);
      for (let i = 0; i < 100 && daemon.process.exitCode === null; i++) {
        await fetch(`${api}/api/v1/presignatures`, {
          method: "POST",
          headers: {
            authorization: `Bearer ${ADMIN_TOKEN}`,
            "content-type": "application/json",
            "idempotency-key": `k${i}`,
          },
          body: JSON.stringify({ keyId: "00".repeat(32), count: 1 }),
        }).catch(() => null);
      }
      assert.equal(await daemon.exit, 74);
    });
    assert.match(daemon.errors, /damaged/);
  });
});

test("a full disk refuses what must be written and nothing else, and the node goes on by itself when there is room", async (t) => {
  await withFolder(async (folder) => {
    const disk = mountSmallDisk(join(folder.path, "data"));
    if (disk === null) {
      t.diagnostic(
        "no file system can be mounted here; guard-store.test.ts does the same with a store that says so",
      );
      return;
    }
    try {
      const daemon = daemonOf(folder);
      await withDaemon(daemon, async (client) => {
        disk.fill();
        const refused = async (): Promise<void> => {
          for (;;) await client.call("createToken", { body: newToken() });
        };
        await assert.rejects(refused(), (error) => {
          assert.ok(isCairnError(error, "storage-full"), String(error));
          assert.match(error.message, /free space/);
          return true;
        });
        const full = await client.call("health", {});
        assert.deepEqual([full.storage, full.status], ["failing", "degraded"]);
        const { tokens } = await client.call("listTokens", {});
        disk.free();
        await client.call("createToken", { body: newToken() });
        assert.equal((await client.call("health", {})).storage, "ok");
        assert.equal((await client.call("listTokens", {})).tokens.length, tokens.length + 1);
        daemon.process.kill("SIGTERM");
        assert.equal(await daemon.exit, 0);
      });
    } finally {
      disk.unmount();
    }
  });
});
