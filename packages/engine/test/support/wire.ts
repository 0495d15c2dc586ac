import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type ClusterId,
  clusterIdSchema,
  type ExecutionId,
  executionIdSchema,
  type KeyId,
  keyIdSchema,
  type NodeIndex,
  nodeIndexSchema,
  type PresignatureId,
  presignatureIdSchema,
} from "@cairn/core";
import type { NativeBinding } from "@cairn/native-engine";
import { native as reduced } from "@cairn/native-engine/reduced";
import type { EngineFailure, EngineResult, EngineSession, EngineSpec } from "@cairn/signing";
import { type OpenedEngine, openEngine } from "../../src/open-engine.ts";

export const hex32 = (): string => randomBytes(32).toString("hex");
export const node = (index: number): NodeIndex => nodeIndexSchema.parse(index);
export const executionId = (): ExecutionId => executionIdSchema.parse(hex32());
export const keyId = (): KeyId => keyIdSchema.parse(hex32());
export const presignatureId = (): PresignatureId => presignatureIdSchema.parse(hex32());

/** Engines of one cluster in one process, each with a data folder and a key file of its own. */
export interface Cluster {
  readonly clusterId: ClusterId;
  readonly nodes: readonly NodeIndex[];
  readonly folder: string;
  engine(index: NodeIndex): OpenedEngine["engine"];
  opened(index: NodeIndex): OpenedEngine;
  close(): Promise<void>;
}

export interface ClusterOptions {
  readonly native?: NativeBinding;
  readonly size?: number;
  readonly primes?: { readonly target?: number; readonly threads?: number };
  readonly clusterId?: ClusterId;
}

export async function openCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const { native = reduced, size = 5, primes = { target: 0 } } = options;
  const clusterId = options.clusterId ?? clusterIdSchema.parse(hex32());
  const folder = await mkdtemp(join(tmpdir(), "cairn-engine-"));
  const nodes = Array.from({ length: size }, (_, at) => node(at + 1));
  const engines = new Map<NodeIndex, OpenedEngine>();
  for (const me of nodes) {
    const key = join(folder, `key-${me}`);
    native.createKeyFile(key);
    const keySource = { kind: "file", path: key } as const;
    const dataDir = join(folder, `node-${me}`);
    engines.set(me, await openEngine(native, { clusterId, me, dataDir, keySource, primes }));
  }
  const opened = (index: NodeIndex): OpenedEngine => {
    const found = engines.get(index);
    if (found === undefined) throw new Error(`no engine ${index}`);
    return found;
  };
  return {
    clusterId,
    nodes,
    folder,
    opened,
    engine: (index) => opened(index).engine,
    async close() {
      for (const { engine } of engines.values()) await engine.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export interface Message {
  readonly from: NodeIndex;
  readonly to: NodeIndex;
  readonly round: number;
  readonly broadcast: boolean;
  readonly payload: Uint8Array;
}

/** What a wire does with a message: other messages to deliver in its place. */
export type Tamper = (message: Message) => readonly Message[];

export type End = { readonly done: EngineResult } | { readonly failed: EngineFailure };

export const asIs: Tamper = (message) => [message];

/**
 * Runs one session at every node of `nodes` over a wire in memory until every node of `until` has ended (default: all), and
 * answers how it ended at each. What still runs then is cancelled, since it may wait for ever.
 */
export async function runSession(
  cluster: Pick<Cluster, "engine">,
  nodes: readonly NodeIndex[],
  spec: (me: NodeIndex) => EngineSpec,
  tamper: Tamper = asIs,
  until: readonly NodeIndex[] = nodes,
): Promise<Map<NodeIndex, End>> {
  const ends = new Map<NodeIndex, End>();
  const sessions = new Map<NodeIndex, EngineSession>();
  const waiting: Message[] = [];
  await new Promise<void>((resolve, reject) => {
    const ended = (me: NodeIndex, end: End) => {
      ends.set(me, end);
      if (until.every((other) => ends.has(other))) resolve();
    };
    const deliver = (message: Message) => {
      for (const altered of tamper(message)) {
        const session = sessions.get(altered.to);
        if (session === undefined) waiting.push(altered);
        else session.receive(altered.from, altered.payload);
      }
    };
    for (const me of nodes) {
      try {
        const session = cluster.engine(me).start(spec(me), {
          send({ to, round, payload }) {
            const receivers = to === null ? nodes.filter((other) => other !== me) : [to];
            for (const receiver of receivers) {
              deliver({ from: me, to: receiver, round, broadcast: to === null, payload });
            }
          },
          progress() {},
          done: (done) => ended(me, { done }),
          failed: (failed) => ended(me, { failed }),
        });
        sessions.set(me, session);
      } catch (error) {
        reject(error);
      }
    }
    for (const { from, to, payload } of waiting.splice(0)) sessions.get(to)?.receive(from, payload);
  }).finally(() => {
    for (const session of sessions.values()) session.cancel();
  });
  return ends;
}

/** The results of a session that must end well everywhere. */
export function results<Kind extends EngineResult["kind"]>(
  ends: Map<NodeIndex, End>,
  kind: Kind,
): Map<NodeIndex, EngineResult & { readonly kind: Kind }> {
  const found = new Map<NodeIndex, EngineResult & { readonly kind: Kind }>();
  for (const [me, end] of ends) {
    if ("failed" in end) throw new Error(`node ${me} failed: ${JSON.stringify(end.failed)}`);
    if (!isKind(end.done, kind)) throw new Error(`node ${me} ended with ${end.done.kind}`);
    found.set(me, end.done);
  }
  return found;
}

function isKind<Kind extends EngineResult["kind"]>(
  result: EngineResult,
  kind: Kind,
): result is EngineResult & { readonly kind: Kind } {
  return result.kind === kind;
}

/** How the session failed at `me`. */
export function failureOf(ends: Map<NodeIndex, End>, me: NodeIndex): EngineFailure {
  const end = ends.get(me);
  if (end === undefined || !("failed" in end)) throw new Error(`node ${me} did not fail`);
  return end.failed;
}

/** A key of every node: sealed shares by node, and the package all agree on. */
export interface Key {
  readonly keyId: KeyId;
  readonly epoch: number;
  readonly threshold: number;
  readonly publicPackage: Uint8Array;
  readonly shares: ReadonlyMap<NodeIndex, Uint8Array>;
}

export function keyOf(
  made: Map<NodeIndex, { sealedShare: Uint8Array; publicPackage: Uint8Array }>,
  id: KeyId,
  threshold: number,
  epoch: number,
): Key {
  const packages = [...made.values()].map((one) => one.publicPackage);
  const [publicPackage] = packages;
  if (publicPackage === undefined) throw new Error("no node made a key");
  for (const other of packages) {
    if (Buffer.compare(other, publicPackage) !== 0) throw new Error("the public packages differ");
  }
  const shares = new Map([...made].map(([me, one]) => [me, one.sealedShare]));
  return { keyId: id, epoch, threshold, publicPackage, shares };
}

export function shareOf(key: Key, me: NodeIndex): Uint8Array {
  const share = key.shares.get(me);
  if (share === undefined) throw new Error(`node ${me} has no share`);
  return share;
}

/** What a signer of a session with `key` is told, whatever the session makes; `execution` must be the same for all. */
export function signerFacts(key: Key, signers: readonly NodeIndex[], me: NodeIndex, execution: ExecutionId) {
  const { keyId, epoch } = key;
  return { executionId: execution, keyId, epoch, me, signers, sealedShare: shareOf(key, me) };
}

/** All subsets of `nodes` with `size` members, ascending. */
export function subsets(nodes: readonly NodeIndex[], size: number): NodeIndex[][] {
  if (size === 0) return [[]];
  return nodes.flatMap((first, at) => subsets(nodes.slice(at + 1), size - 1).map((rest) => [first, ...rest]));
}

export async function frostKey(cluster: Cluster, threshold = 4, epoch = 0): Promise<Key> {
  const id = keyId();
  const execution = executionId();
  const ends = await runSession(cluster, cluster.nodes, (me) => ({
    kind: "frost-keygen",
    executionId: execution,
    keyId: id,
    epoch,
    me,
    parties: cluster.nodes,
    threshold,
  }));
  return keyOf(results(ends, "frost-keygen"), id, threshold, epoch);
}

export async function auxiliary(cluster: Cluster): Promise<Map<NodeIndex, Uint8Array>> {
  const execution = executionId();
  const ends = await runSession(cluster, cluster.nodes, (me) => ({
    kind: "cggmp24-aux",
    executionId: execution,
    me,
    parties: cluster.nodes,
  }));
  return new Map([...results(ends, "cggmp24-aux")].map(([me, made]) => [me, made.sealedAux]));
}

export async function ecdsaKey(
  cluster: Cluster,
  aux: ReadonlyMap<NodeIndex, Uint8Array>,
  threshold = 4,
  epoch = 0,
): Promise<Key> {
  const id = keyId();
  const execution = executionId();
  const ends = await runSession(cluster, cluster.nodes, (me) => {
    const sealedAux = aux.get(me);
    if (sealedAux === undefined) throw new Error(`node ${me} has no auxiliary information`);
    return {
      kind: "cggmp24-keygen",
      executionId: execution,
      keyId: id,
      epoch,
      me,
      parties: cluster.nodes,
      threshold,
      sealedAux,
    };
  });
  return keyOf(results(ends, "cggmp24-keygen"), id, threshold, epoch);
}
