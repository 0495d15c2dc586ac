import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type PolicyLimits, systemClock, systemRandom } from "@cairn/core";
import {
  type CliModules,
  type InitClusterOptions,
  type InitialisedCluster,
  initCluster,
  runCli,
} from "../src/index.ts";
import { FakeNode } from "./fake-node.ts";

const cleanings: (() => Promise<void>)[] = [];
after(async () => {
  for (const clean of cleanings.reverse()) await clean();
});

/** A folder that is gone after the tests. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-cli-"));
  cleanings.push(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Options of a small cluster that listens nowhere. */
export function clusterOptions(dir: string, n = 5): InitClusterOptions {
  return {
    dir,
    network: "regtest",
    nodes: Array.from({ length: n }, (_, position) => ({
      name: `n${position + 1}`,
      peer: `127.0.0.1:${19_000 + position}`,
      api: `127.0.0.1:${18_000 + position}`,
      chain: ["http://127.0.0.1:13002"],
    })),
  };
}

/** A cluster on disk, one fake node that serves it, and a command that is configured for that node. */
export interface Bench {
  readonly cluster: InitialisedCluster;
  readonly node: FakeNode;
  /** Runs `cairn` with the cluster's configuration. */
  cairn(...words: readonly string[]): Promise<Ran>;
}

export interface Ran {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function createBench(
  policy: PolicyLimits = {},
  network: InitClusterOptions["network"] = "regtest",
): Promise<Bench> {
  const folder = await temporaryFolder();
  const cluster = await initCluster({ ...clusterOptions(join(folder, "cluster")), policy, network });
  const node = await FakeNode.start(cluster);
  cleanings.push(() => node.close());
  return {
    cluster,
    node,
    cairn: (...words) =>
      runCairn(["--config", cluster.cliConfig, "--endpoint", node.url, ...words], { HOME: folder }),
  };
}

/** Runs the command in this process. */
export async function runCairn(
  words: readonly string[],
  environment: CliModules["environment"],
  change: Partial<CliModules> = {},
): Promise<Ran> {
  const stdout: string[] = [];
  const stderr: string[] = [];
  const exit = await runCli(words, {
    stdout: { write: (text) => void stdout.push(text), isTTY: false },
    stderr: { write: (text) => void stderr.push(text), isTTY: false },
    environment,
    clock: systemClock,
    random: systemRandom,
    sleep: (ms, signal) => delay(ms, undefined, { signal }).catch(() => undefined),
    signal: new AbortController().signal,
    pollMs: 20,
    confirm: null,
    questions: null,
    runDaemon: async () => 0,
    ...change,
  });
  return { exit, stdout: stdout.join(""), stderr: stderr.join("") };
}

/** Every secret that lies in the cluster's folder, as text that must appear in no output. */
export async function secretsOf(cluster: InitialisedCluster): Promise<readonly string[]> {
  const pems = [cluster.requesterKey, ...cluster.operatorKeys, join(cluster.dir, "ca", "ca-key.pem")];
  const bodies = await Promise.all(
    pems.map(async (path) => (await readFile(path, "utf8")).split("\n")[1] ?? ""),
  );
  return [...Object.values(cluster.tokens), ...bodies];
}
