import { decodeAddress, deriveKey, encodeAddress, parseDescriptor } from "@cairn/bitcoin";
import {
  isCairnError,
  type NodeIndex,
  type SignedSpendRequest,
  signBody,
  signSpendApproval,
  spendRequestHash,
  spendRequestSchema,
  type TransactionRow,
  type Txid,
  type UnixMs,
  type WalletId,
  type WalletRecord,
} from "@cairn/core";
import { HostileNode } from "@cairn/runtime/test-support";
import { behaviours } from "./behaviours/index.ts";
import { Checker } from "./checker.ts";
import { approvers, type ClusterPlan } from "./cluster-plan.ts";
import type { Complaint, Invariant, Recovered } from "./invariant.ts";
import { memoryEngines } from "./memory-engines.ts";
import type { Observation } from "./observation.ts";
import { EPOCH, keygenRequest, type Provision } from "./provision.ts";
import { calm, type Operation, type Scenario, type Weather } from "./scenario.ts";
import { SeededRandom } from "./seeded-random.ts";
import { settle } from "./settle.ts";
import { type EngineMaker, type Sabotage, SimulatedCluster } from "./simulated-cluster.ts";
import { Trace } from "./trace.ts";
import { type Life, VirtualTime } from "./virtual-time.ts";
import { World } from "./world.ts";

export interface RunModules {
  readonly plan: ClusterPlan;
  /** Keys to begin with, or null to begin with none. */
  readonly provision: Provision | null;
  readonly makeEngine?: EngineMaker;
  /** What runs on threads of its own now: waited for before time goes on. */
  readonly busy?: () => Promise<unknown> | null;
  readonly sabotage?: Sabotage;
  readonly invariants?: readonly Invariant[];
}

/** What became of a run. */
export interface Outcome {
  readonly complaint: Complaint | null;
  readonly trace: Trace;
  readonly steps: number;
  /** Milliseconds of virtual time. */
  readonly virtualMs: number;
  readonly signed: number;
  readonly confirmed: number;
  readonly requests: number;
  readonly lies: number;
  readonly crashes: number;
}

/** After the last deadline, this long until everything must have ended. */
const GRACE_MS = 90_000;
/** How long after all is mended a payment is asked for that nothing stands in the way of. */
const PROBE_AFTER_MS = 15_000;
const LOOK_MS = 5_000;
const BLOCK_MS = 10_000;
/** No run takes so many steps: a loop that never ends is a failure as well. */
const MOST_STEPS = 400_000;

/** Plays a scenario and judges it. The same scenario gives the same outcome, to the byte of its trace. */
export async function runScenario(scenario: Scenario, modules: RunModules): Promise<Outcome> {
  const run = new Run(scenario, modules);
  return run.play();
}

class Run {
  readonly #scenario: Scenario;
  readonly #modules: RunModules;
  readonly #time: VirtualTime;
  readonly #random: SeededRandom;
  readonly #cluster: SimulatedCluster;
  readonly #checker: Checker;
  readonly #trace = new Trace();
  readonly #requests = new Map<number, SignedSpendRequest>();
  readonly #probes: string[] = [];
  readonly #restarts: NodeIndex[] = [];
  #wallets: readonly WalletRecord[];
  #weather: Weather = calm;
  #lying: Life = { alive: true, skewMs: 0 };
  #crashes = 0;
  #healed = false;
  #steps = 0;
  #lastExpiry = 0;

  constructor(scenario: Scenario, modules: RunModules) {
    const { plan, provision } = modules;
    this.#scenario = scenario;
    this.#modules = modules;
    this.#random = new SeededRandom(`run/${scenario.seed}`);
    this.#time = new VirtualTime(provision?.unix ?? EPOCH);
    this.#wallets = provision?.wallets ?? [];
    const hostile = scenario.hostile === null ? null : new HostileNode(scenario.hostile);
    this.#checker = new Checker(new World(plan, scenario.hostile), modules.invariants);
    this.#cluster = new SimulatedCluster({
      plan,
      time: this.#time,
      random: this.#random.fork("cluster"),
      observe: (seen) => this.#observe(seen),
      makeEngine: modules.makeEngine ?? memoryEngines,
      hostile,
      ...(provision === null
        ? {}
        : { disks: new Map([...provision.disks].map(([node, disk]) => [node, disk.snapshot()])) }),
      ...(modules.sabotage === undefined ? {} : { sabotage: modules.sabotage }),
    });
  }

  async play(): Promise<Outcome> {
    const { operations, healAt } = this.#scenario;
    const network = this.#random.fork("network");
    this.#cluster.hub.setFate(() => this.#fate(network));
    for (const operation of operations) {
      if (operation.at <= 0) continue;
      this.#time.after(operation.at, () => this.#apply(operation));
    }
    this.#time.after(healAt, () => this.#heal());
    for (const operation of operations) if (operation.at <= 0) this.#apply(operation);
    for (const node of this.#cluster.members) this.#cluster.start(node);
    await settle(this.#modules.busy);
    await this.#run();
    await this.#end();
    const { world, complaint } = this.#checker;
    const states = [...this.#cluster.honest].map((node) => [...world.disk(node).states.values()]);
    return {
      complaint,
      trace: this.#trace,
      steps: this.#steps,
      virtualMs: this.#time.now,
      signed: world.signed.size,
      confirmed: Math.max(0, ...states.map((own) => own.filter((state) => state === "confirmed").length)),
      requests: this.#requests.size,
      lies: this.#cluster.hostile?.lies ?? 0,
      crashes: this.#crashes,
    };
  }

  async #run(): Promise<void> {
    let last = this.#scenario.healAt + PROBE_AFTER_MS + GRACE_MS;
    let nextLook = this.#scenario.healAt + PROBE_AFTER_MS + 2 * LOOK_MS;
    while (this.#checker.complaint === null) {
      if (this.#healed) last = Math.max(last, this.#lastExpiry + GRACE_MS);
      if (!this.#time.step(Math.min(nextLook, last))) {
        if (this.#time.now >= last) return;
        nextLook += LOOK_MS;
        if (await this.#isOver()) return;
      }
      this.#steps += 1;
      if (this.#steps > MOST_STEPS) this.#checker.endless(this.#steps);
      await settle(this.#modules.busy);
      while (this.#restarts.length > 0) await this.#examine(this.#restarts.shift());
    }
  }

  #observe(seen: Observation): void {
    if (seen.kind === "stopped") this.#crashes += 1;
    if (seen.kind === "started") this.#restarts.push(seen.node);
    this.#trace.see(seen, this.#time.now);
    this.#checker.see(seen, this.#time.now);
  }

  #fate(random: SeededRandom) {
    const { loss, duplicates, slowestMs } = this.#weather;
    const copies = random.chance(loss) ? 0 : random.chance(duplicates) ? 2 : 1;
    return { copies, delayMs: random.between(1, slowestMs) };
  }

  #apply(operation: Operation): void {
    if (this.#checker.complaint !== null) return;
    this.#trace.operation(operation, this.#time.now);
    const { hub, chain } = this.#cluster;
    switch (operation.op) {
      case "deposit": {
        const wallet = this.#wallets[operation.wallet];
        if (wallet !== undefined) this.#deposit(wallet, operation.index, BigInt(operation.sats));
        return;
      }
      case "pay":
        return this.#pay(operation);
      case "pay-again": {
        const request = this.#requests.get(operation.id);
        if (request !== undefined) this.#submit(operation.node, request, false);
        return;
      }
      case "approve": {
        const { id, approver, node } = operation;
        return this.#approve(id, approver, node);
      }
      case "make-key": {
        const request = keygenRequest(this.#modules.plan, {
          protocol: operation.protocol,
          label: operation.protocol,
          at: this.#time.unix,
        });
        // Asked again and again, as an operator does who gets no answer.
        const ask = (): void => {
          const runtime = this.#cluster.runtime(operation.node);
          runtime?.generateKey(request).catch((error: unknown) => this.#refused(operation.node, error));
          if (this.#wallets.length === 0) this.#time.after(2_000, ask);
        };
        return ask();
      }
      case "mine":
        return chain.mine(operation.blocks);
      case "reorganise":
        return chain.reorganise(operation.depth);
      case "evict":
        return this.#evict();
      case "crash":
        return this.#cluster.crash(operation.node, operation.restartMs);
      case "stop":
        void this.#cluster.stop(operation.node, operation.restartMs);
        return;
      case "lose":
        if (this.#cluster.lose(operation.node, operation.restartMs))
          this.#observe({ kind: "lost", node: operation.node });
        return;
      case "disk":
        return this.#cluster.planFault(operation.node, operation);
      case "slow-disks":
        return this.#cluster.setDiskDelay(operation.delayMs);
      case "partition":
        return hub.partition(operation.groups);
      case "sever":
        return hub.sever(operation.a, operation.b);
      case "mute":
        return hub.mute(operation.from, operation.to);
      case "heal-network":
        return hub.heal();
      case "weather":
        this.#weather = operation.weather;
        this.#cluster.setOvertaking(operation.weather.overtaken);
        return;
      case "chain-down":
        this.#cluster.mood(operation.node).down = operation.down;
        return;
      case "skew":
        return this.#cluster.skew(operation.node, operation.skewMs);
      case "lie":
        return this.#lie(operation.behaviour);
    }
  }

  #lie(name: keyof typeof behaviours): void {
    const { hostile, honest } = this.#cluster;
    const signer = hostile === null ? undefined : this.#modules.plan.identities.get(hostile.index);
    if (hostile === null || signer === undefined) return;
    this.#lying.alive = false;
    const life: Life = { alive: true, skewMs: 0 };
    this.#lying = life;
    hostile.behave();
    behaviours[name]({
      hostile,
      manifest: this.#modules.plan.manifest,
      signer,
      random: this.#random.fork(`lie/${name}/${this.#time.now}`),
      honest,
      after: (delayMs, run) => void this.#time.after(delayMs, run, life),
    });
  }

  #deposit(wallet: WalletRecord, index: number, sats: bigint): void {
    const { address } = deriveKey(parseDescriptor(wallet.descriptor, wallet.network), [0, index]);
    this.#cluster.chain.fund(decodeAddress(address, wallet.network).script, sats);
  }

  #pay(operation: Extract<Operation, { readonly op: "pay" }>): void {
    const wallet = this.#wallets[operation.wallet] ?? this.#wallets[0];
    const replaced = operation.replaces === null ? undefined : this.#requests.get(operation.replaces);
    if (wallet === undefined || (operation.replaces !== null && replaced === undefined)) return;
    const request = this.#request(wallet, {
      id: operation.id,
      sats: BigInt(operation.sats),
      recipient: operation.recipient,
      lifeMs: operation.lifeMs,
      replaces: replaced === undefined ? null : spendRequestHash(replaced.body),
    });
    this.#requests.set(operation.id, request);
    this.#submit(operation.node, request, false);
  }

  #request(
    wallet: WalletRecord,
    ask: {
      readonly id: number;
      readonly sats: bigint;
      readonly recipient: number;
      readonly lifeMs: number;
      readonly replaces: string | null;
    },
  ): SignedSpendRequest {
    const { requester, manifest } = this.#modules.plan;
    const now = this.#time.unix;
    this.#lastExpiry = Math.max(this.#lastExpiry, this.#time.now + ask.lifeMs);
    const body = spendRequestSchema.parse({
      version: 1,
      cluster: manifest.cluster,
      network: wallet.network,
      wallet: wallet.wallet,
      outputs: [{ address: recipientAddress(ask.recipient), amountSats: ask.sats }],
      maxFeeSats: 20_000n,
      feeRateSatsPerKvb: ask.replaces === null ? 2_000 : 4_000,
      nonce: new SeededRandom(`request/${this.#scenario.seed}/${ask.id}`).hex(32),
      createdAt: now,
      expiry: (now + ask.lifeMs) as UnixMs,
      replaces: ask.replaces,
      requester: requester.publicKey,
    });
    return signBody("cairn/spend-request/v1", body, requester);
  }

  #submit(node: NodeIndex, { body, signature }: SignedSpendRequest, probe: boolean): void {
    const runtime = this.#cluster.runtime(node);
    if (runtime === null) return this.#trace.note(`node ${node} is down`, this.#time.now);
    runtime.submit(body, signature).then(
      (row) => {
        if (probe) this.#probes.push(row.intent);
        this.#observe({ kind: "acknowledged", node, row });
      },
      (error: unknown) => this.#refused(node, error),
    );
  }

  #approve(id: number, approver: number, node: NodeIndex): void {
    const request = this.#requests.get(id)?.body;
    const signer = approvers[approver];
    const runtime = this.#cluster.runtime(node);
    if (request === undefined || signer === undefined || runtime === null) return;
    const approval = {
      version: 1,
      cluster: request.cluster,
      requestHash: spendRequestHash(request),
      approver: signer.publicKey,
      createdAt: request.createdAt,
      expiry: request.expiry,
    } as const;
    runtime
      .takeApproval(signSpendApproval(approval, signer))
      .catch((error: unknown) => this.#refused(node, error));
  }

  #refused(node: NodeIndex, error: unknown): void {
    if (isCairnError(error)) this.#trace.note(`node ${node} refuses: ${error.code}`, this.#time.now);
    else this.#observe({ kind: "reported", node, cause: error });
  }

  /** A full mempool drops a waiting payment that nothing is built on. */
  #evict(): void {
    const { chain } = this.#cluster;
    void (async () => {
      for (const intent of this.#checker.world.signed.keys()) {
        const known = this.#checker.world.intents.get(intent);
        if (known === undefined || (await chain.transactionStatus(known.txid)).state !== "mempool") continue;
        if (await this.#isSpent(known.txid)) continue;
        chain.evict(known.txid);
        this.#trace.note(`${known.txid} evicted`, this.#time.now);
        return;
      }
    })();
  }

  async #isSpent(txid: Txid): Promise<boolean> {
    const { chain } = this.#cluster;
    for (const vout of [0, 1]) {
      const spent = await chain.outspend({ txid, vout });
      if (spent.spent) return true;
    }
    return false;
  }

  #heal(): void {
    this.#trace.note("all is mended", this.#time.now);
    this.#healed = true;
    this.#weather = calm;
    this.#cluster.setOvertaking(0);
    this.#cluster.hub.heal();
    this.#cluster.mend();
    for (const node of this.#cluster.members) this.#cluster.start(node);
    const mine = (): void => {
      this.#cluster.chain.mine(1);
      this.#time.after(BLOCK_MS, mine);
    };
    mine();
    this.#time.after(PROBE_AFTER_MS, () => this.#probe());
  }

  /** A payment that a whole network has every reason to make, at an honest node. */
  #probe(): void {
    if (this.#modules.provision === null) this.#adoptWallets();
    const { limits } = this.#scenario;
    if (limits.rolling24hMaxSats !== null || limits.rateLimit !== null) return;
    this.#wallets.forEach((wallet, at) => {
      this.#deposit(wallet, 4, 400_000n);
      this.#cluster.chain.mine(1);
      const request = this.#request(wallet, {
        id: 1_000 + at,
        sats: 50_000n,
        recipient: 0,
        lifeMs: 60_000,
        replaces: null,
      });
      this.#submit(this.#random.fork(`probe/${at}`).pick(this.#cluster.honest), request, true);
    });
  }

  /** Wallets of keys that this run made itself. */
  #adoptWallets(): void {
    const [first] = this.#cluster.honest;
    const booked = first === undefined ? [] : (this.#cluster.runtime(first)?.wallets.all() ?? []);
    this.#wallets = booked.map(({ signed }) => signed.record);
  }

  async #isOver(): Promise<boolean> {
    const { rows, reserved } = await this.#facts();
    if ([...reserved.values()].some((own) => [...own.values()].some((sats) => sats !== 0n))) return false;
    const ended = (row: TransactionRow): boolean =>
      row.state === "confirmed" ? row.confirmations >= 2 : !open.has(row.state);
    const all = [...rows.values()];
    return (
      all.every((own) => own.every(ended)) &&
      this.#probes.every((probe) => all.every((own) => own.some(({ intent }) => intent === probe))) &&
      new Set(all.map((own) => own.length)).size <= 1
    );
  }

  async #facts(): Promise<{
    readonly rows: ReadonlyMap<NodeIndex, readonly TransactionRow[]>;
    readonly reserved: ReadonlyMap<NodeIndex, ReadonlyMap<WalletId, bigint>>;
  }> {
    const rows = new Map<NodeIndex, readonly TransactionRow[]>();
    const reserved = new Map<NodeIndex, ReadonlyMap<WalletId, bigint>>();
    for (const node of this.#cluster.honest) {
      const runtime = this.#cluster.runtime(node);
      rows.set(node, (await this.#cluster.store(node)?.transactions({ limit: 10_000 })) ?? []);
      reserved.set(
        node,
        new Map(this.#wallets.map(({ wallet }) => [wallet, runtime?.spends.reservedSats(wallet) ?? 0n])),
      );
    }
    return { rows, reserved };
  }

  async #examine(node: NodeIndex | undefined): Promise<void> {
    const store = node === undefined ? null : this.#cluster.store(node);
    if (node === undefined || store === null) return;
    this.#checker.restarted(await recovered(node, store));
  }

  async #end(): Promise<void> {
    if (this.#checker.complaint !== null) return;
    this.#checker.end({ ...(await this.#facts()), probes: this.#probes });
  }
}

const open: ReadonlySet<string> = new Set([
  "pending",
  "voting",
  "approved",
  "signing",
  "signed",
  "broadcasting",
]);

/** Addresses that payments go to: nobody's in particular. */
function recipientAddress(which: number): string {
  const script = Uint8Array.from([0, 20, ...new SeededRandom(`recipient/${which}`).bytes(20)]);
  const address = encodeAddress(script, "regtest");
  if (address === undefined) throw new RangeError("no address");
  return address;
}

async function recovered(
  node: NodeIndex,
  store: NonNullable<ReturnType<SimulatedCluster["store"]>>,
): Promise<Recovered> {
  const rows = await store.transactions({ limit: 10_000 });
  const votes = await Promise.all(rows.map(({ intent }) => store.votes(intent)));
  const own = votes.flat().filter(({ voter, approve }) => voter === node && approve);
  return {
    node,
    intents: new Set(rows.map(({ intent }) => intent)),
    approvals: new Set(own.map(({ intent, round }) => `${intent}/${round}`)),
    certified: new Set(rows.filter(({ certificate }) => certificate !== null).map(({ intent }) => intent)),
    burned: new Set((await store.presignatures({ state: "burned" })).map(({ id }) => id)),
    bans: new Set((await store.bans()).map((row) => `${row.node}/${row.violation}`)),
  };
}
