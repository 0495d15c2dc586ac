import {
  type KeygenRequest,
  keygenRequestSchema,
  manifestHash,
  type NodeIndex,
  type SignedKeygenRequest,
  signBody,
  type UnixMs,
  type WalletRecord,
} from "@cairn/core";
import type { MemoryDisk } from "@cairn/storage";
import type { ClusterPlan } from "./cluster-plan.ts";
import { memoryEngines } from "./memory-engines.ts";
import { SeededRandom } from "./seeded-random.ts";
import { settle } from "./settle.ts";
import { type EngineMaker, SimulatedCluster } from "./simulated-cluster.ts";
import { VirtualTime } from "./virtual-time.ts";

/** A cluster that has its keys: where simulations that are not about key generation begin. */
export interface Provision {
  readonly disks: ReadonlyMap<NodeIndex, MemoryDisk>;
  readonly wallets: readonly WalletRecord[];
  /** What clocks show at its end. */
  readonly unix: UnixMs;
}

/** When the first simulated clock starts. */
export const EPOCH = Date.UTC(2030, 0, 1);

/** Asks for a key, as an operator does. */
export function keygenRequest(
  plan: ClusterPlan,
  ask: { readonly protocol: KeygenRequest["protocol"]; readonly label: string; readonly at: UnixMs },
): SignedKeygenRequest {
  const body = keygenRequestSchema.parse({
    version: 1,
    cluster: plan.manifest.cluster,
    manifest: manifestHash(plan.manifest),
    protocol: ask.protocol,
    threshold: plan.manifest.threshold,
    total: plan.members.length,
    label: ask.label,
    nonce: new SeededRandom(`keygen/${ask.label}`).hex(32),
    createdAt: ask.at,
    expiry: ask.at + 600_000,
    operator: plan.operator.publicKey,
  });
  return signBody("cairn/keygen-request/v1", body, plan.operator);
}

/** Makes a key of each protocol in a cluster without faults, and stops it. */
export async function provision(
  plan: ClusterPlan,
  protocols: readonly KeygenRequest["protocol"][],
  makeEngine: EngineMaker = memoryEngines,
  busy: () => Promise<unknown> | null = () => null,
): Promise<Provision> {
  const time = new VirtualTime(EPOCH);
  const cluster = new SimulatedCluster({
    plan,
    time,
    random: new SeededRandom("provision"),
    observe: () => {},
    makeEngine,
    hostile: null,
  });
  const until = async (holds: () => boolean, limitMs: number): Promise<void> => {
    const end = time.now + limitMs;
    await settle(busy);
    while (!holds()) {
      if (!time.step(end)) throw new Error("the cluster did not get its keys in time");
      await settle(busy);
    }
  };
  for (const node of plan.members) cluster.start(node);
  await until(() => plan.members.every((node) => cluster.runtime(node) !== null), 10_000);
  for (const protocol of protocols) {
    const [first] = plan.members;
    const runtime = first === undefined ? null : cluster.runtime(first);
    if (runtime === null) throw new Error("node 1 is not up");
    const keyId = await runtime.generateKey(
      keygenRequest(plan, { protocol, label: protocol, at: time.unix }),
    );
    const has = (node: NodeIndex): boolean =>
      cluster
        .runtime(node)
        ?.wallets.all()
        .some(({ row }) => row.keyId === keyId) === true &&
      cluster
        .runtime(node)
        ?.keys.list()
        .some(({ row }) => row.keyId === keyId && row.status === "active") === true;
    await until(() => plan.members.every(has), 300_000);
  }
  const [first] = plan.members;
  const wallets = (first === undefined ? [] : (cluster.runtime(first)?.wallets.all() ?? [])).map(
    ({ signed }) => signed.record,
  );
  let stopped = 0;
  for (const node of plan.members) void cluster.stop(node, null).then(() => (stopped += 1));
  await until(() => stopped === plan.members.length, 60_000);
  return { disks: cluster.snapshot(), wallets, unix: time.unix };
}
