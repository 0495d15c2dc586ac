import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type InitialisedCluster, initCluster, mergeSettings, type NodeSettings } from "@cairn/cli";
import { CairnClient } from "@cairn/client";
import {
  Ed25519Signer,
  isCairnError,
  type Manifest,
  type NodeIndex,
  nodeIndexSchema,
  type PolicyLimits,
  parseShape,
  systemClock,
  systemRandom,
} from "@cairn/core";
import { freeEndpoints } from "@cairn/core/test-support";
import { writeKeyFile } from "@cairn/pki";
import { EtcdCluster, PostgresServer } from "@cairn/storage/test-support";
import { createDevnetChain, type DevnetChain } from "../chain/create-devnet-chain.ts";
import { type EngineLevel, type LogLine, NodeProcess, type NodeProgram } from "./node-process.ts";
import { until } from "./until.ts";

export const clusterStorages = ["sqlite", "postgres"] as const;
export type ClusterStorage = (typeof clusterStorages)[number];

export const clusterCoordinations = ["none", "etcd"] as const;
export type ClusterCoordination = (typeof clusterCoordinations)[number];

export interface ClusterOptions {
  readonly level: EngineLevel;
  /** Folder of all nodes' folders, which must not exist; a temporary one, removed at the end, when left out. */
  readonly dir?: string;
  /** n; default 5. */
  readonly nodes?: number;
  /** t; default ⌊2n/3⌋ + 1. */
  readonly threshold?: number;
  /** Sections of every node's `cairn.toml`. */
  readonly settings?: NodeSettings;
  readonly policy?: PolicyLimits;
  /** Let spends anchor checkpoints on the chain. Default false. */
  readonly checkpointAnchors?: boolean;
  /** Where nodes keep their state; `postgres` starts one server with a database for each. Default `sqlite`. */
  readonly storage?: ClusterStorage;
  /** Where the cluster is shown; `etcd` starts three members. Default `none`. */
  readonly coordination?: ClusterCoordination;
  /** Hears every line that a node logs. */
  readonly log?: (node: NodeIndex, line: LogLine) => void;
}

/** One node of a {@link Cluster}. */
export interface ClusterNode {
  readonly index: NodeIndex;
  readonly dir: string;
  /** Base URL of its REST API. */
  readonly api: string;
  /** The chain endpoint that it alone asks. */
  readonly chain: string;
  /** With an admin's token, to this node alone. */
  readonly client: CairnClient;
  readonly running: boolean;
  readonly pid: number;
}

interface Member {
  readonly index: NodeIndex;
  readonly dir: string;
  readonly config: string;
  readonly api: string;
  readonly chain: string;
  readonly client: CairnClient;
  readonly logs: LogLine[];
  process: NodeProcess | null;
}

const LOG_LINES_KEPT = 5_000;
const MESH_LIMIT_MS = 60_000;

/** A cluster of daemons on this machine, each with its own folder, ports and chain endpoint over one regtest chain. */
export class Cluster {
  readonly chain: DevnetChain;
  readonly files: InitialisedCluster;
  /** Whose signature asks for keys. */
  readonly operator: Ed25519Signer;
  /** Whose signature asks for spends. */
  readonly requester: Ed25519Signer;
  /** The server of the nodes' databases, or null. */
  readonly postgres: PostgresServer | null;
  readonly etcd: EtcdCluster | null;
  readonly #level: EngineLevel;
  readonly #members: Member[];
  readonly #temporary: string | null;
  readonly #log: ClusterOptions["log"];

  /** Made by {@link startCluster}. */
  constructor(parts: {
    readonly chain: DevnetChain;
    readonly files: InitialisedCluster;
    readonly operator: Ed25519Signer;
    readonly requester: Ed25519Signer;
    readonly postgres: PostgresServer | null;
    readonly etcd: EtcdCluster | null;
    readonly level: EngineLevel;
    readonly temporary: string | null;
    readonly log: ClusterOptions["log"];
  }) {
    this.chain = parts.chain;
    this.files = parts.files;
    this.operator = parts.operator;
    this.requester = parts.requester;
    this.postgres = parts.postgres;
    this.etcd = parts.etcd;
    this.#level = parts.level;
    this.#temporary = parts.temporary;
    this.#log = parts.log;
    this.#members = parts.files.nodes.map(({ index, dir, config, api }, position) => ({
      index: parseShape(nodeIndexSchema, index),
      dir,
      config,
      api,
      chain: parts.chain.endpoints[position]?.url ?? "",
      client: new CairnClient({ endpoints: [api], token: parts.files.tokens.admin }),
      logs: [],
      process: null,
    }));
  }

  get manifest(): Manifest {
    return this.files.signedManifest.manifest;
  }

  get indices(): readonly NodeIndex[] {
    return this.#members.map(({ index }) => index);
  }

  /** Nodes whose process runs. */
  get running(): readonly ClusterNode[] {
    return this.#members.filter(({ process }) => process?.running === true).map(viewOf);
  }

  node(index: number): ClusterNode {
    return viewOf(this.#member(index));
  }

  /** Typed client of one node, with an admin's token. */
  client(index: number): CairnClient {
    return this.#member(index).client;
  }

  /** The newest lines that a node logged, over all its lives. */
  logs(index: number): readonly LogLine[] {
    return this.#member(index).logs;
  }

  async rssBytes(index: number): Promise<number> {
    return this.#running(index).rssBytes();
  }

  /** Starts a node that is down, or another program in its place, and resolves once it serves. */
  async start(index: number, program?: NodeProgram): Promise<void> {
    const member = this.#member(index);
    if (member.process?.running === true) throw new Error(`node ${index} runs already`);
    const { logs } = member;
    member.process = new NodeProcess({
      level: this.#level,
      config: member.config,
      ...(program === undefined ? {} : { program }),
      log: (line) => {
        logs.push(line);
        if (logs.length > LOG_LINES_KEPT) logs.shift();
        this.#log?.(member.index, line);
      },
    });
    await member.process.ready;
  }

  /** Says that a node that is down lives in another folder from now on, as after a restore. */
  move(index: number, to: { readonly dir: string; readonly api: string; readonly token: string }): void {
    const member = this.#member(index);
    if (member.process?.running === true) throw new Error(`node ${index} runs`);
    const { dir, api, token } = to;
    const client = new CairnClient({ endpoints: [api], token });
    this.#members[index - 1] = {
      ...member,
      dir,
      config: join(dir, "cairn.toml"),
      api,
      client,
      process: null,
    };
  }

  /** Ends a node in order. */
  async stop(index: number): Promise<void> {
    await this.#running(index).stop();
  }

  /** Ends a node with SIGKILL: nothing is written or told any more. */
  async kill(index: number): Promise<void> {
    await this.#running(index).kill();
  }

  /** Ends a node in order where it runs, and starts it again. */
  async restart(index: number): Promise<void> {
    const { process } = this.#member(index);
    if (process?.running === true) await process.stop();
    await this.start(index);
  }

  /** Waits until every node that runs sees every other that runs, and no more. */
  async meshed(): Promise<void> {
    const { running } = this;
    const wanted = running.length - 1;
    let seen: string[] = [];
    await until(
      async () => {
        const counts = await Promise.all(running.map(({ client }) => peersUp(client)));
        seen = counts.map((count, position) => `node ${running[position]?.index}: ${count ?? "no answer"}`);
        return counts.every((count) => count === wanted) ? true : null;
      },
      {
        timeoutMs: MESH_LIMIT_MS,
        describe: () => `the nodes should see ${wanted} peers each, but ${seen.join(", ")}`,
      },
    );
  }

  /** Ends every process, closes the chain and removes a temporary folder. */
  async close(): Promise<void> {
    await Promise.all(
      this.#members.map(async ({ process }) => {
        if (process?.running === true) await process.stop();
      }),
    );
    await this.chain.close();
    await this.postgres?.remove();
    await this.etcd?.remove();
    if (this.#temporary !== null) await rm(this.#temporary, { recursive: true, force: true });
  }

  #member(index: number): Member {
    const member = this.#members[index - 1];
    if (member === undefined) throw new RangeError(`the cluster has no node ${index}`);
    return member;
  }

  #running(index: number): NodeProcess {
    const { process } = this.#member(index);
    if (process?.running !== true) throw new Error(`node ${index} does not run`);
    return process;
  }
}

/**
 * Makes a cluster, starts its chain and its daemons, and resolves once all nodes see each other.
 * Close it, whatever happens: it owns processes. They also end when this process does.
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const total = options.nodes ?? 5;
  const temporary = options.dir === undefined ? await mkdtemp(join(tmpdir(), "cairn-devnet-")) : null;
  const dir = options.dir ?? join(temporary ?? "", "cluster");
  let chain: DevnetChain | null = null;
  let postgres: PostgresServer | null = null;
  let etcd: EtcdCluster | null = null;
  let cluster: Cluster | null = null;
  try {
    chain = await createDevnetChain(
      { ports: Array.from({ length: total }, () => 0) },
      { clock: systemClock, random: systemRandom },
    );
    if (options.storage === "postgres") postgres = await createDatabases(total);
    const server = postgres;
    if (options.coordination === "etcd") etcd = await EtcdCluster.start(3);
    const shown: NodeSettings =
      etcd === null ? {} : { coordination: { type: "etcd", endpoints: etcd.endpoints } };
    const places = await freeEndpoints(2 * total);
    const files = await initCluster({
      dir,
      network: "regtest",
      nodes: chain.endpoints.map(({ url }, position) => ({
        name: `node-${position + 1}`,
        peer: places[2 * position]?.address ?? "",
        api: places[2 * position + 1]?.address ?? "",
        chain: [url],
        settings: server === null ? {} : databaseSettings(server, position + 1),
      })),
      ...(options.threshold === undefined ? {} : { threshold: options.threshold }),
      ...(options.policy === undefined ? {} : { policy: options.policy }),
      ...(options.checkpointAnchors === undefined ? {} : { checkpointAnchors: options.checkpointAnchors }),
      settings: mergeSettings(options.settings ?? {}, shown),
    });
    if (postgres !== null) {
      for (const { dir } of files.nodes)
        await writeKeyFile(join(dir, PASSWORD_FILE), Buffer.from("secret\n"));
    }
    const [operatorKey] = files.operatorKeys;
    if (operatorKey === undefined) throw new RangeError("a cluster has nodes");
    cluster = new Cluster({
      chain,
      files,
      operator: Ed25519Signer.fromPem(await readFile(operatorKey)),
      requester: Ed25519Signer.fromPem(await readFile(files.requesterKey)),
      postgres,
      etcd,
      level: options.level,
      temporary,
      log: options.log,
    });
    const started = cluster;
    await Promise.all(started.indices.map((index) => started.start(index)));
    await started.meshed();
    return started;
  } catch (error) {
    if (cluster !== null) await cluster.close();
    else {
      await chain?.close();
      await postgres?.remove();
      await etcd?.remove();
      if (temporary !== null) await rm(temporary, { recursive: true, force: true });
    }
    throw error;
  }
}

const PASSWORD_FILE = "db-password";

async function createDatabases(total: number): Promise<PostgresServer> {
  const server = await PostgresServer.create();
  try {
    for (let index = 1; index <= total; index += 1) await server.createDatabase(`node_${index}`);
    return server;
  } catch (error) {
    await server.remove();
    throw error;
  }
}

function databaseSettings({ host, port }: PostgresServer, index: number): NodeSettings {
  return { storage: { url: `postgres://cairn@${host}:${port}/node_${index}`, password_file: PASSWORD_FILE } };
}

function viewOf(member: Member): ClusterNode {
  const { index, dir, api, chain, client, process } = member;
  return { index, dir, api, chain, client, running: process?.running === true, pid: process?.pid ?? 0 };
}

async function peersUp(client: CairnClient): Promise<number | null> {
  try {
    return (await client.call("health", {})).peersUp;
  } catch (error) {
    if (isCairnError(error)) return null;
    throw error;
  }
}
