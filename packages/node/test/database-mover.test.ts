import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PostgresServer } from "@cairn/storage/test-support";
import { Daemon } from "./daemon-process.ts";
import { NodeFolder, testCluster } from "./node-folder.ts";

const PROGRAM = fileURLToPath(new URL("../src/db-main.ts", import.meta.url));
const PASSWORD = "secret";

let server: PostgresServer;
before(async () => {
  server = await PostgresServer.create();
});
after(() => server.remove());

async function db(
  ...words: readonly string[]
): Promise<{ readonly exit: number; readonly out: string; readonly err: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...words], { stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => {
    out += String(chunk);
  });
  child.stderr.on("data", (chunk) => {
    err += String(chunk);
  });
  const [exit] = await once(child, "close");
  return { exit, out, err };
}

async function lives(folder: NodeFolder): Promise<void> {
  const daemon = new Daemon("main-reduced", ["--config", folder.config]);
  await daemon.logged("node ready");
  daemon.process.kill("SIGTERM");
  assert.equal(await daemon.exit, 0, daemon.errors);
  assert.doesNotMatch(JSON.stringify(daemon.lines), /secret/);
}

test("a node moves from sqlite to Postgres and, through an export, to another database; the old ones no longer start it", async () => {
  const cluster = testCluster();
  const folder = await NodeFolder.create(cluster);
  const config = ["--config", folder.config];
  const url = async (text: string): Promise<void> => {
    const before = await readFile(folder.config, "utf8");
    await folder.write("cairn.toml", before.replace(/\[storage\][\s\S]*$/, ""));
    await appendFile(folder.config, `[storage]\nurl = "${text}"\npassword_file = "db-password"\n`);
  };
  try {
    await folder.write("db-password", `${PASSWORD}\n`, 0o600);
    for (const name of ["one", "two"]) await server.createDatabase(name);
    const one = `postgres://cairn@${server.host}:${server.port}/one`;
    await lives(folder);

    const running = new Daemon("main-reduced", config);
    await running.logged("node ready");
    const locked = await db("status", ...config);
    assert.equal(locked.exit, 75, locked.err);
    running.process.kill("SIGTERM");
    await running.exit;

    const before = await db("status", ...config, "--json");
    assert.equal(before.exit, 0, before.err);
    const held = JSON.parse(before.out);
    assert.equal(held.counts.manifests, 1);

    const secret = join(folder.path, "db-password");
    const moved = await db("migrate", ...config, "--to", one, "--to-password-file", secret, "--json");
    assert.equal(moved.exit, 0, moved.err);
    assert.match(moved.err, /storage\.url/);
    assert.deepEqual({ ...JSON.parse(moved.out), database: "" }, { ...held, database: "" });
    const again = await db("migrate", ...config, "--to", one, "--to-password-file", secret);
    assert.match(again.err, /not empty/);
    const old = new Daemon("main-reduced", config);
    assert.equal(await old.exit, 1);
    assert.match(old.errors, /moved to/);

    await url(one);
    await lives(folder);
    const file = join(folder.path, "node.export");
    const exported = await db("export", ...config, "--file", file, "--json");
    assert.equal(exported.exit, 0, exported.err);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.equal((await db("export", ...config, "--file", file)).exit, 73);

    await url(`postgres://cairn@${server.host}:${server.port}/two`);
    const imported = await db("import", ...config, "--file", file, "--json");
    assert.equal(imported.exit, 0, imported.err);
    assert.equal(JSON.parse(imported.out).digest, JSON.parse(exported.out).digest);
    await lives(folder);
    const shown = await db("status", ...config);
    assert.match(shown.out, /auditLength/);
    for (const { out, err } of [locked, before, moved, again, exported, imported, shown]) {
      assert.doesNotMatch(out + err, new RegExp(PASSWORD));
    }
  } finally {
    await folder.remove();
  }
});

test("a password in storage.url is refused and not repeated, and a wrong one is named as such", async () => {
  const folder = await NodeFolder.create(testCluster());
  try {
    await server.createDatabase("three");
    const place = `${server.host}:${server.port}/three`;
    const text = await readFile(folder.config, "utf8");
    await folder.write("cairn.toml", `${text}[storage]\nurl = "postgres://cairn:${PASSWORD}@${place}"\n`);
    const inside = new Daemon("main-reduced", ["--config", folder.config]);
    assert.equal(await inside.exit, 78);
    assert.match(inside.errors, /holds a password/);
    await folder.write("db-password", "another", 0o600);
    await folder.write(
      "cairn.toml",
      `${text}[storage]\nurl = "postgres://cairn@${place}"\npassword_file = "db-password"\n`,
    );
    const wrong = new Daemon("main-reduced", ["--config", folder.config]);
    assert.equal(await wrong.exit, 78);
    assert.match(wrong.errors, /storage\.password_file/);
    for (const { errors, lines } of [inside, wrong]) {
      assert.doesNotMatch(errors + JSON.stringify(lines), /another|secret/);
    }
  } finally {
    await folder.remove();
  }
});
