import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { runCli, writeCliConfig } from "@cairn/cli";
import { systemClock, systemRandom } from "@cairn/core";
import { z } from "zod";
import type { Cluster } from "../../src/cluster/cluster.ts";
import { until } from "../../src/cluster/until.ts";

const LIMIT_MS = 30_000;
const proposalSchema = z.object({ proposal: z.string(), state: z.string() });

export interface CommandRun {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The operators of a cluster, each with the `cairn` command, a key and a node of their own. */
export class Operators {
  readonly #cluster: Cluster;

  private constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  static async of(cluster: Cluster): Promise<Operators> {
    const operators = new Operators(cluster);
    for (const index of cluster.indices) {
      await writeCliConfig(
        operators.configOf(index),
        {
          endpoints: [cluster.node(index).api],
          token: cluster.files.tokens.operator,
          cluster: cluster.manifest.cluster,
          manifest: cluster.files.manifestHash,
          operator_key: cluster.files.operatorKeys[index - 1],
        },
        { replace: false },
      );
    }
    return operators;
  }

  configOf(operator: number): string {
    return join(this.#cluster.files.dir, `operator-${operator}.toml`);
  }

  /** Runs `cairn` as an operator, and answers with its JSON. */
  async cairn(operator: number, ...words: readonly string[]): Promise<unknown> {
    const ran = await this.attempt(operator, ...words);
    assert.equal(ran.exit, 0, ran.stderr);
    return JSON.parse(ran.stdout);
  }

  async attempt(operator: number, ...words: readonly string[]): Promise<CommandRun> {
    const stdout: string[] = [];
    const stderr: string[] = [];
    const exit = await runCli(["--config", this.configOf(operator), "--json", ...words], {
      stdout: { write: (text) => void stdout.push(text), isTTY: false },
      stderr: { write: (text) => void stderr.push(text), isTTY: false },
      environment: {},
      clock: systemClock,
      random: systemRandom,
      sleep: (ms) => delay(ms),
      signal: new AbortController().signal,
      pollMs: 100,
      confirm: null,
      questions: null,
      runDaemon: async () => 0,
    });
    return { exit, stdout: stdout.join(""), stderr: stderr.join("") };
  }

  async propose(operator: number, ...words: readonly string[]): Promise<string> {
    return proposalSchema.parse(await this.cairn(operator, "proposal", "create", ...words)).proposal;
  }

  /** Each signs at its own node, once that has heard of the proposal. */
  async sign(proposal: string, operators: readonly number[]): Promise<void> {
    for (const operator of operators) {
      await this.state(proposal, operator, () => true);
      await this.cairn(operator, "proposal", "sign", proposal);
    }
  }

  /** Waits until a node shows the proposal in a state that is wanted. */
  state(proposal: string, index: number, wanted: (state: string) => boolean): Promise<string> {
    let seen = "unknown";
    return until(
      async () => {
        const found = await this.#cluster
          .client(index)
          .call("getProposal", { params: { proposal } })
          .catch(() => null);
        seen = found?.state ?? "unknown";
        return found !== null && wanted(seen) ? seen : null;
      },
      { timeoutMs: LIMIT_MS, describe: () => `the proposal is ${seen} at node ${index}` },
    );
  }

  async inForce(proposal: string, nodes: readonly number[]): Promise<void> {
    for (const index of nodes) await this.state(proposal, index, (seen) => seen === "in-force");
  }
}
