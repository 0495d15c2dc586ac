import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { MAX_REQUEST_LIFETIME_MS, type UnixMs } from "@cairn/core";
import { ClusterOwner } from "../../src/cluster/cluster-owner.ts";
import { until } from "../../src/cluster/until.ts";
import { startReducedCluster } from "./start-reduced-cluster.ts";

const CAIRN = fileURLToPath(new URL("../../../cli/bin/cairn.js", import.meta.url));
const TIME_LIMIT_MS = 240_000;

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command as a person does. */
async function cairn(...words: readonly string[]): Promise<Ran> {
  try {
    return { code: 0, ...(await promisify(execFile)(process.execPath, [CAIRN, ...words])) };
  } catch (error) {
    const { code, stdout, stderr } = error as Ran;
    return { code, stdout, stderr };
  }
}

test("logs of a cluster that paid are exported and verified offline; a node set back to a copy of its files is refused, and let in with a raised epoch", {
  timeout: TIME_LIMIT_MS,
}, async () => {
  const cluster = await startReducedCluster({
    settings: { audit: { fence_ms: 1_000, checkpoint_ms: 2_000 } },
  });
  try {
    const { cliConfig, dir } = cluster.files;
    const owner = new ClusterOwner(cluster);
    const wallet = await owner.wallet(await owner.requestKey("frost", "main"), 60_000);
    const recipients = [{ address: cluster.chain.faucet.address, amountSats: 50_000n }];
    for (const index of [0, 1]) owner.fund(wallet, [0, index], 100_000n);

    await cluster.stop(5);
    const five = cluster.node(5);
    const database = join(five.dir, "data", "cairn.db");
    await copyFile(database, `${database}.copy`);
    await cluster.start(5);

    await owner.pay(1, owner.spendRequest(wallet, recipients));
    const lengths = await Promise.all(
      cluster.indices.map(
        async (index) => (await cluster.client(index).call("getClusterStatus", {})).auditLength,
      ),
    );
    const coSigned = async (): Promise<true | null> => {
      const { lines } = await cluster.client(1).call("exportAudit", { query: { part: "checkpoints" } });
      const newest = lines.at(-1);
      if (newest === undefined) return null;
      const { heads } = JSON.parse(newest).checkpoint.checkpoint;
      return lengths.every((length, at) => heads[at].length >= length) ? true : null;
    };
    await until(coSigned, { timeoutMs: 60_000, describe: () => "no checkpoint covers all logs" });

    const files: string[] = [];
    for (const index of [1, 3]) {
      const file = join(dir, `node-${index}.jsonl`);
      const { api } = cluster.node(index);
      const ran = await cairn("--config", cliConfig, "--endpoint", api, "audit", "export", "--output", file);
      assert.equal(ran.code, 0, ran.stderr);
      files.push(file);
    }
    const sound = await cairn("--config", cliConfig, "--json", "audit", "verify", ...files);
    assert.equal(sound.code, 0, sound.stderr);
    const { exports } = JSON.parse(sound.stdout);
    assert.equal(exports.length, 2);
    for (const { report } of exports) assert.ok(report.covered > 0 && report.checkpoints > 0);

    const [first = ""] = files;
    const text = await readFile(first, "utf8");
    const lines = text.split("\n");
    const at = lines.findIndex((line) => line.includes('"vote-cast"'));
    assert.notEqual(at, -1);
    await writeFile(
      first,
      lines.with(at, (lines[at] ?? "").replace('"approve":true', '"approve":false')).join("\n"),
    );
    const manifest = join(dir, "manifest.cbor");
    const altered = await cairn("--json", "audit", "verify", first, "--manifest", manifest);
    assert.equal(altered.code, 74);
    assert.equal(JSON.parse(altered.stderr || altered.stdout).data.fault, "altered");
    assert.equal(JSON.parse(altered.stderr || altered.stdout).data.line, at + 1);

    await cluster.stop(5);
    await copyFile(`${database}.copy`, database);
    await cluster.start(5).catch(() => {}); // it is refused before the cluster is whole again
    const said = async (index: number, kind: string): Promise<true | null> => {
      const { entries } = await cluster.client(index).call("listAudit", { query: { kind } });
      return entries.length > 0 ? true : null;
    };
    await until(() => said(5, "rolled-back"), {
      timeoutMs: 30_000,
      describe: () => "node 5 does not say so",
    });
    await until(() => said(1, "peer-set-back"), {
      timeoutMs: 30_000,
      describe: () => "node 1 does not say so",
    });

    await cluster.stop(5);
    const raised = await cairn("--config", join(five.dir, "cairn.toml"), "node", "raise-epoch");
    assert.equal(raised.code, 0, raised.stderr);
    await cluster.start(5);
    const recalled = async () =>
      (await cluster.client(5).call("getClusterStatus", {})).sync.abstains ? null : true;
    await until(recalled, { timeoutMs: 60_000, describe: () => "node 5 has not asked what it forgot" });
    await cluster.stop(4);
    // It expires later than anything that node 5 may have signed and forgotten.
    const now = Date.now();
    const longest = { createdAt: now as UnixMs, expiry: (now + MAX_REQUEST_LIFETIME_MS) as UnixMs };
    await owner.pay(1, owner.spendRequest(wallet, recipients, longest));
  } finally {
    await cluster.close();
  }
});
