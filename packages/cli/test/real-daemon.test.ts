import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { freeEndpoints } from "@cairn/core/test-support";
import { initCluster } from "../src/index.ts";
import { clusterOptions, type Ran, runCairn, temporaryFolder } from "./bench.ts";

const BIN = fileURLToPath(new URL("../bin/cairn.js", import.meta.url));

/** Starts a node by the command and resolves once it serves. */
async function startNode(config: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [BIN, "node", "start", "--config", config], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  for await (const chunk of child.stdout) {
    text += String(chunk);
    if (text.includes('"node ready"')) break;
  }
  assert.ok(text.includes('"node ready"'), text);
  return child;
}

test("the command and a daemon that it started agree: status, lists, tokens, refusals, and a node that is down", {
  timeout: 120_000,
}, async () => {
  const folder = await temporaryFolder();
  const { nodes, ...options } = clusterOptions(join(folder, "cluster"), 2);
  const places = await freeEndpoints(2 * nodes.length);
  const placed = nodes.map((node, at) => ({
    ...node,
    peer: places[2 * at]?.address ?? "",
    api: places[2 * at + 1]?.address ?? "",
  }));
  const cluster = await initCluster({ ...options, nodes: placed, settings: { primes: { target: 0 } } });
  const [first, second] = cluster.nodes;
  assert.ok(first !== undefined && second !== undefined);
  const cairn = (...words: readonly string[]): Promise<Ran> =>
    runCairn(["--config", cluster.cliConfig, ...words], { HOME: folder });
  const daemon = await startNode(first.config);
  try {
    const status = await cairn("cluster", "status");
    assert.equal(status.exit, 0, status.stderr);
    assert.match(status.stdout, /agrees/);
    assert.match(status.stdout, new RegExp(`${second.api} +down`));
    assert.match(status.stderr, new RegExp(`${second.api} gives no answer`));

    const alone = (...words: readonly string[]) => cairn("--endpoint", first.api, ...words);
    for (const words of [
      ["tx", "list", "--since", "1d"],
      ["session", "list", "--purpose", "sign"],
      ["presig", "list"],
      ["presig", "status"],
      ["dkg", "status"],
      ["cluster", "nodes"],
      ["audit", "list"],
      ["wallet", "list"],
    ]) {
      const ran = await alone(...words, "--json");
      assert.equal(ran.exit, 0, `${words.join(" ")}: ${ran.stderr}`);
      JSON.parse(ran.stdout);
    }
    assert.equal((await alone("wallet", "balance")).exit, 1);
    assert.match((await alone("wallet", "balance")).stderr, /no wallet yet/);

    const half = await cairn("token", "create", "--name", "ci", "--role", "viewer");
    assert.equal(half.exit, 75);
    const token = half.stdout.trim();
    const ask = () =>
      fetch(`${first.api}/api/v1/cluster/status`, { headers: { authorization: `Bearer ${token}` } });
    assert.equal((await ask()).status, 200);
    assert.match((await alone("token", "list")).stdout, /ci +viewer +[0-9a-f]{16} +api +active/);
    assert.equal((await alone("token", "revoke", "ci")).exit, 0);
    assert.equal((await ask()).status, 401);

    daemon.kill("SIGTERM");
    assert.deepEqual(await once(daemon, "exit"), [0, null]);
    const down = await cairn("tx", "list", "--json");
    assert.equal(down.exit, 75);
    assert.equal(JSON.parse(down.stderr).code, "peer-unreachable");
  } finally {
    if (daemon.exitCode === null) daemon.kill("SIGKILL");
  }
});
