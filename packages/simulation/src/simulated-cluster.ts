import { MemoryChainSource } from "@cairn/bitcoin";
import { quorumAuthorisation } from "@cairn/consensus";
import type { NodeIndex, NodeStore, Random, Transport } from "@cairn/core";
import { NodeRuntime } from "@cairn/runtime";
import type { HostileNode } from "@cairn/runtime/test-support";
import { type Engine, initiatorDriver } from "@cairn/signing";
import { AuditLog, MemoryDisk, type MemoryFault } from "@cairn/storage";
import { createCourier, MemoryHub } from "@cairn/transport";
import { clearEnvelopeBox } from "./clear-envelope-box.ts";
import type { ClusterPlan } from "./cluster-plan.ts";
import type { Observer } from "./observation.ts";
import { observedCourier } from "./observed-courier.ts";
import { observedEngine } from "./observed-engine.ts";
import { openObservedStore } from "./observed-store.ts";
import type { SeededRandom } from "./seeded-random.ts";
import { type ChainMood, simulatedChain } from "./simulated-chain.ts";
import type { Life, VirtualTime } from "./virtual-time.ts";

/** Makes a node's engine, for each of its lives. */
export type EngineMaker = (node: NodeIndex, schedule: (run: () => void) => void) => Promise<Engine>;

/** What a disk does to the commits to come: the fault of the commit so many from now. */
export interface DiskPlan {
  in: number;
  fault: MemoryFault;
  /** How many commits in a row it strikes. */
  times: number;
  /** How long after the end of its process the node starts again. */
  readonly restartMs: number;
}

/** What of a node outlives its processes. */
interface Machine {
  disk: MemoryDisk;
  /** What a backup from the beginning brings back. */
  readonly backup: MemoryDisk;
  /** Raised with every loss of the disk. */
  epoch: number;
  readonly mood: ChainMood;
  faults: DiskPlan[];
  diskDelayMs: number;
  skewMs: number;
  lives: number;
  /** Its engine is being opened. */
  starting: boolean;
  /** The process that runs on it, or null. */
  process: Process | null;
}

interface Process {
  readonly life: Life;
  readonly transport: Transport;
  readonly store: NodeStore;
  readonly engine: Engine;
  /** Null while it starts. */
  runtime: NodeRuntime | null;
}

export interface ClusterModules {
  readonly plan: ClusterPlan;
  readonly time: VirtualTime;
  readonly random: SeededRandom;
  readonly observe: Observer;
  readonly makeEngine: EngineMaker;
  readonly hostile: HostileNode | null;
  /** What the machines hold at first; empty disks by default. */
  readonly disks?: ReadonlyMap<NodeIndex, MemoryDisk>;
  /** Stands in for a node's part, to show that a fault of it is found. */
  readonly sabotage?: Sabotage;
}

/** A fault planted in the nodes themselves. */
export interface Sabotage {
  readonly store?: (store: NodeStore, node: NodeIndex) => NodeStore;
  readonly engine?: (engine: Engine, node: NodeIndex) => Engine;
}

/** Several nodes in one process, under virtual time: real machines over memory twins of network, disks and chain. */
export class SimulatedCluster {
  readonly hub: MemoryHub;
  readonly chain = new MemoryChainSource();
  readonly hostile: HostileNode | null;
  readonly members: readonly NodeIndex[];
  readonly honest: readonly NodeIndex[];
  readonly #machines: ReadonlyMap<NodeIndex, Machine>;
  readonly #modules: ClusterModules;
  #overtaking = 0;

  constructor(modules: ClusterModules) {
    const { plan, time, hostile } = modules;
    this.#modules = modules;
    this.hostile = hostile;
    this.members = plan.members;
    this.honest = plan.members.filter((index) => index !== hostile?.index);
    this.hub = new MemoryHub({ members: plan.members }, { clock: time.clock(null) });
    this.#machines = new Map(
      plan.members.map((index) => [
        index,
        {
          disk: modules.disks?.get(index)?.snapshot() ?? new MemoryDisk(),
          backup: modules.disks?.get(index) ?? new MemoryDisk(),
          epoch: 0,
          mood: { down: false, slowestMs: 20 },
          faults: [],
          diskDelayMs: 0,
          skewMs: 0,
          lives: 0,
          starting: false,
          process: null,
        },
      ]),
    );
  }

  /** The node's runtime while it is up. */
  runtime(node: NodeIndex): NodeRuntime | null {
    return this.#machine(node).process?.runtime ?? null;
  }

  store(node: NodeIndex): NodeStore | null {
    return this.#machine(node).process?.store ?? null;
  }

  mood(node: NodeIndex): ChainMood {
    return this.#machine(node).mood;
  }

  setDiskDelay(delayMs: number): void {
    for (const machine of this.#machines.values()) machine.diskDelayMs = delayMs;
  }

  /** Share of frames that leave late, so that later ones overtake them. */
  setOvertaking(share: number): void {
    this.#overtaking = share;
  }

  planFault(node: NodeIndex, fault: DiskPlan): void {
    this.#machine(node).faults.push({ ...fault });
  }

  skew(node: NodeIndex, skewMs: number): void {
    const machine = this.#machine(node);
    machine.skewMs = skewMs;
    if (machine.process !== null) machine.process.life.skewMs = skewMs;
  }

  /** Disks, chain sources and clocks work again. */
  mend(): void {
    for (const machine of this.#machines.values()) {
      machine.faults = [];
      machine.diskDelayMs = 0;
      machine.mood.down = false;
      machine.mood.slowestMs = 20;
    }
    for (const node of this.members) this.skew(node, 0);
  }

  /** Starts a node over what its disk holds. A start that fails is made again later. */
  start(node: NodeIndex): void {
    const machine = this.#machine(node);
    if (machine.process !== null || machine.starting) return;
    machine.starting = true;
    this.#start(node, machine).catch((cause: unknown) => {
      this.#modules.observe({ kind: "reported", node, cause });
      this.crash(node, 1_000);
    });
  }

  /** Ends a node at once, between two of its steps. */
  crash(node: NodeIndex, restartMs: number | null): void {
    const machine = this.#machine(node);
    const { process } = machine;
    if (process === null) return;
    process.life.alive = false;
    machine.process = null;
    void process.transport.close();
    void process.store.close();
    void process.engine.close();
    this.#modules.observe({ kind: "stopped", node, how: "crash" });
    if (restartMs !== null) this.#modules.time.after(restartMs, () => this.start(node));
  }

  /** Ends a node at once, and starts it from its backup with a raised epoch. False where it is just being started. */
  lose(node: NodeIndex, restartMs: number): boolean {
    const machine = this.#machine(node);
    if (machine.starting) return false;
    this.crash(node, null);
    machine.disk = machine.backup.snapshot();
    machine.epoch += 1;
    this.#modules.time.after(restartMs, () => this.start(node));
    return true;
  }

  /** Ends a node as its operator does. */
  async stop(node: NodeIndex, restartMs: number | null): Promise<void> {
    const machine = this.#machine(node);
    const { process } = machine;
    if (process === null || process.runtime === null) return;
    const { runtime, life } = process;
    process.runtime = null;
    const report = (cause: unknown): void => this.#report(node, life, cause);
    await runtime.close().catch(report);
    await this.#couriers.get(life)?.().catch(report);
    if (!life.alive) return;
    life.alive = false;
    machine.process = null;
    await process.engine.close();
    await process.store.close();
    this.#modules.observe({ kind: "stopped", node, how: "stop" });
    if (restartMs !== null) this.#modules.time.after(restartMs, () => this.start(node));
  }

  /** Snapshots of all disks, as they are now. */
  snapshot(): ReadonlyMap<NodeIndex, MemoryDisk> {
    return new Map([...this.#machines].map(([index, { disk }]) => [index, disk.snapshot()]));
  }

  readonly #couriers = new Map<Life, () => Promise<void>>();

  async #start(node: NodeIndex, machine: Machine): Promise<void> {
    const { plan, time, random, observe, hostile, sabotage, makeEngine } = this.#modules;
    const life: Life = { alive: true, skewMs: machine.skewMs };
    const own = random.fork(`node/${node}/${machine.lives}`);
    machine.lives += 1;
    const liar = hostile?.index === node ? hostile : null;
    const signer = plan.identities.get(node);
    const sealing = plan.sealings.get(node);
    if (signer === undefined || sealing === undefined) throw new RangeError(`no node ${node}`);
    const clock = time.clock(life);
    const pace = own.fork("engine");
    const disks = own.fork("disk");
    const transport = this.hub.join(node);
    const opened = openObservedStore(node, {
      disk: machine.disk,
      life,
      time,
      fault: () => this.#strike(node, machine, life),
      delayMs: () => (machine.diskDelayMs === 0 ? 0 : disks.below(machine.diskDelayMs)),
      observe,
    });
    const store = sabotage?.store?.(opened, node) ?? opened;
    let last = 0;
    const made = await makeEngine(node, (run) => {
      // An engine's words keep their order.
      last = Math.max(last, time.now + pace.between(1, 15));
      time.after(last - time.now, run, life);
    });
    machine.starting = false;
    const process: Process = { life, transport, store, engine: made, runtime: null };
    machine.process = process;
    const lying = liar?.overEngine(made) ?? made;
    const planted = sabotage?.engine?.(lying, node) ?? lying;
    const engine = observedEngine(node, planted, life, observe);
    const report = (cause: unknown): void => this.#report(node, life, cause);
    const joined = liar?.overTransport(transport) ?? transport;
    const courier = createCourier(
      { me: node, epoch: machine.epoch, resendAfterMs: 1_000, resendMaxMs: 8_000, replayLeaseMs: 500 },
      {
        transport: this.#outgoing(joined, life, own.fork("outgoing")),
        store,
        clock,
        signer,
        sealing,
        manifest: () => plan.manifest,
        box: clearEnvelopeBox,
        report,
      },
    );
    this.#couriers.set(life, () => courier.close());
    const seen = observedCourier(node, courier, life, observe);
    const view = simulatedChain(node, {
      chain: this.chain,
      time,
      life,
      random: own.fork("chain"),
      mood: machine.mood,
      observe,
    });
    const { cluster } = plan.manifest;
    const audit = await AuditLog.create({ cluster, node }, { store, signer, clock });
    const runtime = await NodeRuntime.start(
      { me: node, manifest: plan.manifest, policy: plan.policy, ...pacing, epoch: machine.epoch },
      {
        store,
        audit,
        courier: liar?.overCourier(seen) ?? seen,
        chain: liar?.overChain(view) ?? view,
        authorisation: quorumAuthorisation,
        driver: initiatorDriver,
        engine,
        signer,
        clock,
        random: own.fork("runtime") satisfies Random,
        inForce: () => {},
        report,
      },
    );
    if (!life.alive) return;
    process.runtime = runtime;
    observe({ kind: "started", node });
  }

  /** What a process sends: nothing once it is dead, and some frames late. */
  #outgoing(transport: Transport, life: Life, random: SeededRandom): Transport {
    const { time } = this.#modules;
    return {
      start: (handler) => transport.start(handler),
      send: async (to, frame) => {
        if (!life.alive) return;
        if (this.#overtaking > 0 && random.chance(this.#overtaking)) {
          time.after(
            random.between(1, 500),
            () => void transport.send(to, frame).catch(() => {}), // the peer went down meanwhile
            life,
          );
          return;
        }
        await transport.send(to, frame);
      },
      peers: () => transport.peers(),
      setRefused: (refused) => transport.setRefused(refused),
      close: () => transport.close(),
    };
  }

  #report(node: NodeIndex, life: Life, cause: unknown): void {
    if (life.alive) this.#modules.observe({ kind: "reported", node, cause });
  }

  /** What befalls the commit that begins now. Any but a full disk ends the process. */
  #strike(node: NodeIndex, machine: Machine, life: Life): MemoryFault | null {
    const [plan] = machine.faults;
    if (plan === undefined) return null;
    plan.in -= 1;
    if (plan.in > 0) return null;
    plan.times -= 1;
    if (plan.times <= 0) machine.faults.shift();
    else plan.in = 1;
    if (plan.fault !== "full") {
      life.alive = false;
      this.#modules.time.after(0, () => this.crash(node, plan.restartMs));
    }
    return plan.fault;
  }

  #machine(node: NodeIndex): Machine {
    const machine = this.#machines.get(node);
    if (machine === undefined) throw new RangeError(`no node ${node}`);
    return machine;
  }
}

/** The times by which simulated nodes live: those of a real cluster, but for chain polls. */
const pacing = {
  protocolVersions: [1],
  clockSkewMs: 30_000,
  roundMs: 6_000,
  recheckMs: 1_000,
  pollMs: 5_000,
  grantWaitMs: 3_000,
  attempts: {
    slotMs: 4_000,
    patienceMs: 2_000,
    downPatienceMs: 500,
    backoffMs: 500,
    maxBackoffMs: 5_000,
  },
  timeouts: { ackMs: 1_500, startMs: 2_500, roundMs: 3_000, sessionMs: 12_000 },
  keygenTimeouts: { ackMs: 2_000, startMs: 3_000, roundMs: 5_000, sessionMs: 30_000 },
  inventory: { target: 3, refillBelow: 1, batch: 4, checkMs: 20_000 },
  audit: { fenceMs: 10_000, checkpointMs: 20_000, checkpointEntries: 100, anchorMs: 0 },
} as const;
