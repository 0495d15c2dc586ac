import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { problemSchema } from "@cairn/client";
import type { Command } from "commander";
import { createProgram, readCliConfig } from "../src/index.ts";
import { type Bench, createBench, runCairn, secretsOf, temporaryFolder } from "./bench.ts";

let bench: Bench;
before(async () => {
  bench = await createBench();
});

const BIN = fileURLToPath(new URL("../bin/cairn.js", import.meta.url));

/** The command as a process of its own. */
async function spawnCairn(words: readonly string[], environment: Record<string, string>) {
  const child = spawn(process.execPath, [BIN, ...words], {
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const closed = once(child, "close");
  const [stdout, stderr] = await Promise.all(
    [child.stdout, child.stderr].map(async (stream) =>
      Buffer.concat(await Array.fromAsync(stream)).toString("utf8"),
    ),
  );
  const [exit] = await closed;
  return { exit, stdout: stdout ?? "", stderr: stderr ?? "" };
}

const sink = { write: () => {}, isTTY: false };
const leaves = (command: Command): readonly Command[] =>
  command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);

test("every command's help has a description and an example that begins with cairn", async () => {
  const program = createProgram({
    stdout: sink,
    stderr: sink,
    environment: {},
    clock: { now: () => assert.fail("no time is needed") },
    random: { bytes: () => assert.fail("no randomness is needed") },
    sleep: async () => {},
    signal: new AbortController().signal,
    pollMs: 1,
    confirm: null,
    questions: null,
    runDaemon: async () => 0,
  });
  const commands = leaves(program);
  assert.ok(commands.length >= 25);
  for (const command of commands) {
    const path: string[] = [];
    for (let at: Command | null = command; at !== null && at !== program; at = at.parent)
      path.unshift(at.name());
    const ran = await runCairn([...path, "--help"], {});
    assert.equal(ran.exit, 0, path.join(" "));
    assert.notEqual(command.description(), "");
    assert.match(ran.stdout, new RegExp(`Examples:\\n {2}\\$ cairn ${path.join(" ")}`), path.join(" "));
  }
  assert.match((await runCairn(["--help"], {})).stdout, /Exit codes:/);
});

test("a failure is one problem document on stderr with --json, a sentence without, and its code's exit status", async () => {
  const none = join(await temporaryFolder(), "none.toml");
  const cases: readonly (readonly [readonly string[], string, number])[] = [
    [["wallet", "list", "--config", none], "file-missing", 78],
    [["frobnicate"], "malformed", 2],
    [["wallet", "list", "--frobnicate"], "malformed", 2],
    [["send"], "malformed", 2],
    [["wallet"], "malformed", 2],
    [["wallet", "list", "--endpoint", "nonsense"], "malformed", 2],
    [["presig", "generate", "--count", "many"], "malformed", 2],
    [["init", "--chain", "http://127.0.0.1:1"], "malformed", 2],
    [["node", "start"], "malformed", 2],
  ];
  for (const [words, code, exit] of cases) {
    const json = await runCairn([...words, "--json"], {});
    assert.equal(json.exit, exit, words.join(" "));
    assert.equal(json.stdout, "");
    const lines = json.stderr.trim().split("\n");
    const problem = problemSchema.parse(JSON.parse(lines.at(-1) ?? ""));
    assert.equal(problem.code, code);
    assert.equal(lines.length, 1, words.join(" "));
    const text = await runCairn(words, {});
    assert.equal(text.exit, exit);
    assert.match(text.stderr, new RegExp(`error: [^\\n]+ \\(${code}\\)\\n$`));
  }
});

test("init makes a cluster, configures this user's command for it once, and prints no secret", async () => {
  const home = await temporaryFolder();
  const dir = join(home, "cluster");
  const environment = { HOME: home };
  const words = ["init", "--network", "regtest", "--chain", "http://127.0.0.1:3002", "--nodes", "3"];
  const ran = await runCairn([...words, "--dir", dir, "--max-per-day", "0.1btc", "--json"], environment);
  assert.equal(ran.exit, 0, ran.stderr);
  assert.equal(ran.stderr, "");
  const answer = JSON.parse(ran.stdout);
  const path = join(home, ".config", "cairn", "config.toml");
  assert.equal(answer.config, path);
  assert.equal(answer.threshold, 3);
  assert.equal(answer.nodes[2].api, "http://127.0.0.1:8082");
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const config = await readCliConfig(path);
  assert.equal(config.requester_key, join(dir, "requester.pem"));
  assert.ok(config.token !== undefined && !ran.stdout.includes(config.token));

  const second = await runCairn([...words, "--dir", join(home, "second")], environment);
  assert.equal(second.exit, 0, second.stderr);
  assert.match(second.stderr, /add --config .*second\/config\.toml/);
  assert.equal((await readCliConfig(path)).manifest, config.manifest);
  const again = await runCairn([...words, "--dir", dir, "--json"], environment);
  assert.equal(again.exit, 73);
  assert.equal(JSON.parse(again.stderr).code, "file-exists");
});

test("config show hides the token; set-endpoint and pin change one thing and keep the file private", async () => {
  const { cluster } = await createBench();
  const secrets = await secretsOf(cluster);
  const words = ["--config", cluster.cliConfig, "config"];
  for (const extra of [[], ["--json"]]) {
    const shown = await runCairn([...words, "show", ...extra], {});
    assert.equal(shown.exit, 0, shown.stderr);
    for (const secret of secrets) assert.ok(!(shown.stdout + shown.stderr).includes(secret));
  }
  const before = await readCliConfig(cluster.cliConfig);
  const urls = ["https://a.example", "http://127.0.0.1:9999"];
  assert.equal((await runCairn([...words, "set-endpoint", ...urls], {})).exit, 0);
  assert.equal((await runCairn([...words, "pin", "c".repeat(64)], {})).exit, 0);
  assert.deepEqual(await readCliConfig(cluster.cliConfig), {
    ...before,
    endpoints: urls,
    manifest: "c".repeat(64),
  });
  assert.equal((await stat(cluster.cliConfig)).mode & 0o777, 0o600);
  assert.equal((await runCairn([...words, "set-endpoint", "ftp://x"], {})).exit, 2);
  assert.equal((await runCairn([...words, "pin", "12"], {})).exit, 2);
});

test("a token over plain HTTP to another machine is warned of", async () => {
  const words = [
    "--config",
    bench.cluster.cliConfig,
    "--endpoint",
    "http://node.invalid:1",
    "wallet",
    "list",
  ];
  assert.match((await runCairn(words, {})).stderr, /warning: http:\/\/node\.invalid:1 is not encrypted/);
  assert.doesNotMatch((await bench.cairn("wallet", "list")).stderr, /warning/);
});

test("tables are coloured on a terminal alone, and neither with NO_COLOR nor with --no-color", async () => {
  const words = ["--config", bench.cluster.cliConfig, "--endpoint", bench.node.url, "wallet", "list"];
  const coloured = async (environment: Record<string, string>, ...extra: readonly string[]) => {
    const written: string[] = [];
    const stdout = { write: (text: string) => void written.push(text), isTTY: true };
    await runCairn([...words, ...extra], environment, { stdout });
    return written.join("").includes("\u001b[");
  };
  assert.equal(await coloured({}), true);
  assert.equal(await coloured({ NO_COLOR: "1" }), false);
  assert.equal(await coloured({ NO_COLOR: "" }), true);
  assert.equal(await coloured({}, "--no-color"), false);
  assert.equal((await bench.cairn("wallet", "list")).stdout.includes("\u001b["), false);
});

test("the installed command runs as a process: answers, exit codes and streams", async () => {
  const environment = { CAIRN_CONFIG: bench.cluster.cliConfig };
  const good = await spawnCairn(["wallet", "address", "--endpoint", bench.node.url, "--json"], environment);
  assert.equal(good.exit, 0, good.stderr);
  assert.equal(JSON.parse(good.stdout).path[1], 7);
  const bad = await spawnCairn(
    ["wallet", "address", "--endpoint", "http://127.0.0.1:1", "--json"],
    environment,
  );
  assert.equal(bad.exit, 75);
  assert.equal(JSON.parse(bad.stderr).code, "peer-unreachable");
});

test("node start runs the real daemon, whose exit code is the command's", async () => {
  const none = join(await temporaryFolder(), "cairn.toml");
  const ran = await spawnCairn(["node", "start", "--config", none], {});
  assert.equal(ran.exit, 78, ran.stderr);
  assert.ok((ran.stdout + ran.stderr).includes(none));
});

test("db hands a stopped node's configuration to the program that moves databases", async () => {
  const ran: (readonly string[])[] = [];
  const runDaemon = async (file: string, args: readonly string[]) => {
    assert.match(await readFile(file, "utf8"), /DatabaseMover/);
    ran.push(args);
    return 0;
  };
  const config = ["--config", "a.toml"];
  for (const words of [
    ["status"],
    ["migrate", "--to", "sqlite:b.db", "--password-file", "p"],
    ["export", "--out", "e"],
    ["import", "--in", "e"],
  ]) {
    const { exit, stderr } = await runCairn(["--json", "db", ...words, ...config], {}, { runDaemon });
    assert.equal(exit, 0, stderr);
  }
  assert.deepEqual(ran, [
    ["status", ...config, "--json"],
    ["migrate", ...config, "--to", "sqlite:b.db", "--to-password-file", "p", "--json"],
    ["export", ...config, "--file", "e", "--json"],
    ["import", ...config, "--file", "e", "--json"],
  ]);
});

test("node start hands the configuration to the daemon and ends with its exit code", async () => {
  const ran: (readonly string[])[] = [];
  const runDaemon = async (file: string, args: readonly string[]) => {
    assert.match(await readFile(file, "utf8"), /daemon/i);
    ran.push(args);
    return 78;
  };
  const words = ["node", "start", "--config", "a.toml", "--", "--log.level", "debug"];
  const { exit, stderr } = await runCairn(words, {}, { runDaemon });
  assert.equal(exit, 78);
  assert.equal(stderr, "");
  assert.deepEqual(ran, [["--config", "a.toml", "--log.level", "debug"]]);
});
