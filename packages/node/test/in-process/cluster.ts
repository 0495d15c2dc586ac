import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ChainSource, MemoryChainSource } from "@cairn/bitcoin";
import { quorumAuthorisation } from "@cairn/consensus";
import {
  type Courier,
  Ed25519Signer,
  type KeygenRequest,
  type Manifest,
  type NodeIndex,
  type NodeStore,
  type Sats,
  SealingKey,
  type SignedKeygenRequest,
  type SignedSpendApproval,
  type SignedSpendRequest,
  type SpendApproval,
  type SpendRequest,
  signBody,
  signSpendApproval,
  spendRequestHash,
  spendRequestSchema,
  systemClock,
  systemRandom,
  type Transport,
  toHex,
  type UnixMs,
  type WalletRecord,
} from "@cairn/core";
import { openPolicy, testManifest } from "@cairn/core/test-support";
import { createReducedEngine } from "@cairn/engine/reduced";
import { type Policy, policyHash } from "@cairn/policy";
import { type AuditSettings, type CoinAdvice, NodeRuntime } from "@cairn/runtime";
import { type AttemptSettings, type Engine, initiatorDriver, type SessionTimeouts } from "@cairn/signing";
import { AuditLog, MemoryDisk, type MemoryFault, openMemoryStore } from "@cairn/storage";
import { createCourier, MemoryHub } from "@cairn/transport";
import { signedKeygen } from "../signed-keygen.ts";

/** One node of an in-process cluster, and what a test may do to it. */
export interface InProcessNode {
  readonly index: NodeIndex;
  readonly runtime: NodeRuntime;
  readonly store: NodeStore;
  readonly engine: Engine;
  /** Stops it as an operator does. */
  stop(): Promise<void>;
  /** Stops it as a crash does: nothing more reaches anybody, whatever its code still does. Only faults of its disk are lost. */
  crash(): Promise<void>;
}

export interface InProcessClusterOptions {
  readonly total?: number;
  readonly threshold?: number;
  readonly policy?: Partial<Policy>;
  /** Makes `of` approvers, `m` of whom must approve what pays more than `aboveSats`. */
  readonly approvals?: { readonly m: number; readonly of: number; readonly aboveSats: bigint };
  /** Presignatures that each key wants; 0 makes none. */
  readonly presignatures?: number;
  /** What stands between a node and its ports, asked at each start of a node. */
  readonly tampering?: (index: NodeIndex) => Tampering | undefined;
  readonly timeouts?: Partial<SessionTimeouts>;
  readonly keygenTimeouts?: Partial<SessionTimeouts>;
  /** A node's store; one in memory unless told otherwise. */
  readonly openStore?: (node: NodeIndex, cluster: Manifest["cluster"]) => Promise<NodeStore>;
  readonly attempts?: Partial<AttemptSettings>;
  /** 200 by default. */
  readonly recheckMs?: number;
  readonly audit?: Partial<AuditSettings>;
  /** What each node asks before it picks coins. */
  readonly coinAdvice?: CoinAdvice;
  /** Lets spends anchor checkpoints. False by default. */
  readonly checkpointAnchors?: boolean;
}

/** Changes what a node's code gets to see of the world, or what the world gets to see of it. */
export interface Tampering {
  readonly transport?: (transport: Transport) => Transport;
  readonly courier?: (courier: Courier) => Courier;
  readonly engine?: (engine: Engine) => Engine;
  readonly chain?: (chain: ChainSource) => ChainSource;
  readonly fault?: (commit: number) => MemoryFault | null;
  /** Called as a burn begins, before `fault` is asked about it. */
  readonly burning?: () => void;
}

/**
 * A whole cluster in one process: real machines, real FROST and reduced-level CGGMP24, envelopes and votes; memory for network,
 * disks and chain.
 */
export class InProcessCluster {
  readonly hub: MemoryHub;
  readonly chain = new MemoryChainSource();
  readonly manifest: Manifest;
  readonly requester = Ed25519Signer.generate();
  readonly approvers: readonly Ed25519Signer[];
  readonly nodes = new Map<NodeIndex, InProcessNode>();
  readonly failures: unknown[] = [];
  readonly #policy: Policy;
  readonly #options: InProcessClusterOptions;
  readonly #identities: readonly Ed25519Signer[];
  readonly #sealings: readonly SealingKey[];
  readonly #operators: readonly Ed25519Signer[];
  readonly #disks: MemoryDisk[];
  readonly #epochs = new Map<NodeIndex, number>();
  readonly #dir: string;

  private constructor(options: InProcessClusterOptions, dir: string) {
    const total = options.total ?? 5;
    const each = <T>(make: () => T): T[] => Array.from({ length: total }, make);
    this.#options = options;
    this.#dir = dir;
    this.#identities = each(() => Ed25519Signer.generate());
    this.#sealings = each(() => SealingKey.generate());
    this.#operators = each(() => Ed25519Signer.generate());
    this.#disks = each(() => new MemoryDisk());
    const { approvals } = options;
    this.approvers = Array.from({ length: approvals?.of ?? 0 }, () => Ed25519Signer.generate());
    const approvers = this.approvers.map(({ publicKey }) => publicKey);
    this.#policy = openPolicy({
      ...options.policy,
      ...(approvals === undefined
        ? {}
        : { approvals: { m: approvals.m, keys: approvers, aboveSats: approvals.aboveSats as Sats } }),
    });
    this.manifest = testManifest(
      this.#identities.map((identity, at) => ({
        identity: identity.publicKey,
        sealing: this.#sealings[at]?.publicKey,
        operator: this.#operators[at]?.publicKey,
      })),
      {
        nonce: randomBytes(32).toString("hex"),
        threshold: options.threshold ?? 4,
        requesters: [this.requester.publicKey],
        approvers,
        policy: policyHash(this.#policy),
        checkpointAnchors: options.checkpointAnchors ?? false,
        createdAt: 0,
      },
    );
    this.hub = new MemoryHub(
      { members: this.manifest.members.map(({ index }) => index) },
      { clock: systemClock },
    );
  }

  static async start(options: InProcessClusterOptions = {}): Promise<InProcessCluster> {
    const dir = await mkdtemp(join(tmpdir(), "cairn-in-process-"));
    const cluster = new InProcessCluster(options, dir);
    await Promise.all(cluster.manifest.members.map(({ index }) => cluster.startNode(index)));
    return cluster;
  }

  /** Starts a node, or starts it again over what its disk holds. */
  async startNode(index: NodeIndex): Promise<InProcessNode> {
    const at = index - 1;
    const signer = this.#identities[at];
    const sealing = this.#sealings[at];
    const disk = this.#disks[at];
    if (signer === undefined || sealing === undefined || disk === undefined)
      throw new RangeError(`no node ${index}`);
    const epoch = this.#epochs.get(index) ?? 0;
    const { cluster } = this.manifest;
    const keyFile = join(this.#dir, `${index}.key`);
    await writeFile(keyFile, randomBytes(32), { mode: 0o600, flag: "wx" }).catch(
      (cause: NodeJS.ErrnoException) => {
        if (cause.code !== "EEXIST") throw cause;
      },
    );
    const { engine } = await createReducedEngine({
      clusterId: cluster,
      me: index,
      dataDir: join(this.#dir, `node-${index}`),
      keySource: { kind: "file", path: keyFile },
      threads: 2,
      primes: { target: this.#options.presignatures === undefined ? 0 : 4 },
    });
    const tampering = this.#options.tampering?.(index) ?? {};
    const store: NodeStore =
      (await this.#options.openStore?.(index, cluster)) ??
      openMemoryStore({
        disk,
        ...(tampering.fault === undefined ? {} : { fault: tampering.fault }),
      });
    const { burning } = tampering;
    if (burning !== undefined) {
      const burn = store.burn.bind(store);
      store.burn = (...item) => {
        burning();
        return burn(...item);
      };
    }
    const joined = this.hub.join(index);
    const transport = tampering.transport?.(joined) ?? joined;
    const report = (cause: unknown) => void this.failures.push(cause);
    const plain = createCourier(
      { me: index, epoch, resendAfterMs: 500 },
      { transport, store, clock: systemClock, signer, sealing, manifest: () => this.manifest, report },
    );
    const courier = tampering.courier?.(plain) ?? plain;
    const audit = await AuditLog.create({ cluster, node: index }, { store, signer, clock: systemClock });
    const timeouts = {
      ...{ ackMs: 3_000, startMs: 4_000, roundMs: 20_000, sessionMs: 60_000 },
      ...this.#options.timeouts,
    };
    const runtime = await NodeRuntime.start(
      {
        me: index,
        manifest: this.manifest,
        policy: this.#policy,
        protocolVersions: [1],
        epoch,
        clockSkewMs: 30_000,
        roundMs: 3_000,
        recheckMs: this.#options.recheckMs ?? 200,
        pollMs: 100,
        grantWaitMs: 2_000,
        attempts: {
          slotMs: 2_000,
          patienceMs: 2_000,
          downPatienceMs: 100,
          backoffMs: 100,
          maxBackoffMs: 2_000,
          ...this.#options.attempts,
        },
        timeouts,
        keygenTimeouts: {
          ...timeouts,
          roundMs: 120_000,
          sessionMs: 240_000,
          ...this.#options.keygenTimeouts,
        },
        inventory: {
          target: this.#options.presignatures ?? 0,
          refillBelow: this.#options.presignatures ?? 0,
          batch: 4,
          checkMs: 1_000,
        },
        audit: {
          fenceMs: 1_000,
          checkpointMs: 600_000,
          checkpointEntries: 1_000,
          anchorMs: 0,
          ...this.#options.audit,
        },
      },
      {
        store,
        audit,
        courier,
        chain: tampering.chain?.(this.chain) ?? this.chain,
        authorisation: quorumAuthorisation,
        driver: initiatorDriver,
        engine: tampering.engine?.(engine) ?? engine,
        signer,
        clock: systemClock,
        random: systemRandom,
        ...(this.#options.coinAdvice === undefined ? {} : { coinAdvice: this.#options.coinAdvice }),
        inForce: () => {},
        report,
      },
    );
    const node: InProcessNode = {
      index,
      runtime,
      store,
      engine,
      stop: async () => {
        this.nodes.delete(index);
        await runtime.close();
        await courier.close();
        await transport.close();
        await engine.close();
        await store.close();
      },
      crash: async () => {
        this.nodes.delete(index);
        await transport.close();
        const fails = (cause: unknown) => report(cause);
        await runtime.close().catch(fails);
        await courier.close().catch(fails);
        await engine.close();
        await store.close();
      },
    };
    this.nodes.set(index, node);
    return node;
  }

  /** A copy of a node's disk as it is now. */
  snapshotOf(index: number): MemoryDisk {
    const disk = this.#disks[index - 1];
    if (disk === undefined) throw new RangeError(`no node ${index}`);
    return disk.snapshot();
  }

  /** What a node starts from next. */
  restore(index: number, from: { readonly disk?: MemoryDisk; readonly epoch?: number }): void {
    if (from.disk !== undefined) this.#disks[index - 1] = from.disk;
    if (from.epoch !== undefined) this.#epochs.set(index as NodeIndex, from.epoch);
  }

  /** The key of a node's operator. */
  operatorOf(index: number): Ed25519Signer {
    const signer = this.#operators[index - 1];
    if (signer === undefined) throw new RangeError(`no operator ${index}`);
    return signer;
  }

  /** The identity of a node, for those who act in its name. */
  signerOf(index: number): Ed25519Signer {
    const signer = this.#identities[index - 1];
    if (signer === undefined) throw new RangeError(`no node ${index}`);
    return signer;
  }

  node(index: number): InProcessNode {
    const node = this.nodes.get(index as NodeIndex);
    if (node === undefined) throw new RangeError(`node ${index} is not running`);
    return node;
  }

  keygenRequest(protocol: KeygenRequest["protocol"], label: string): SignedKeygenRequest {
    return signedKeygen({ manifest: this.manifest, operators: this.#operators }, { protocol, label });
  }

  /** Makes a key and waits until every running node has its wallet. */
  async makeWallet(protocol: KeygenRequest["protocol"]): Promise<WalletRecord> {
    const keyId = await this.node(1).runtime.generateKey(this.keygenRequest(protocol, protocol));
    await this.until(
      () =>
        [...this.nodes.values()].every(({ runtime }) =>
          runtime.keys.list().some(({ row }) => row.keyId === keyId && row.status !== "generating"),
        ),
      120_000,
      () =>
        `the key is at ${[...this.nodes.values()].map(({ runtime }) => runtime.keys.list().map(({ stage, row }) => `${stage}/${row.reason}`))}`,
    );
    const made = () =>
      this.node(1)
        .runtime.wallets.all()
        .find(({ row }) => row.keyId === keyId);
    // A key is told of before the store holds its wallet.
    await this.until(
      () => made() !== undefined,
      20_000,
      () => `no wallet: ${this.node(1).runtime.keys.list()[0]?.row.reason}`,
    );
    const wallet = made();
    if (wallet === undefined) throw new Error("the wallet is gone again");
    return wallet.signed.record;
  }

  spendRequest(record: WalletRecord, change: Partial<SpendRequest>): SignedSpendRequest {
    const now = Date.now();
    const body = spendRequestSchema.parse({
      version: 1,
      cluster: this.manifest.cluster,
      network: "regtest",
      wallet: record.wallet,
      maxFeeSats: 20_000n,
      feeRateSatsPerKvb: 2_000,
      nonce: toHex(randomBytes(32)),
      createdAt: now as UnixMs,
      expiry: (now + 120_000) as UnixMs,
      replaces: null,
      requester: this.requester.publicKey,
      ...change,
    });
    return signBody("cairn/spend-request/v1", body, this.requester);
  }

  /** An approver's consent to a request, for as long as the request lasts. */
  approval(
    request: SpendRequest,
    approver: Ed25519Signer,
    change: Partial<SpendApproval> = {},
  ): SignedSpendApproval {
    const approval = {
      version: 1,
      cluster: this.manifest.cluster,
      requestHash: spendRequestHash(request),
      approver: approver.publicKey,
      createdAt: Date.now() as UnixMs,
      expiry: request.expiry,
      ...change,
    } as const;
    return signSpendApproval(approval, approver);
  }

  /** Waits until `holds`; fails with what `describe` says after `timeoutMs`. */
  async until(
    holds: () => boolean | Promise<boolean>,
    timeoutMs: number,
    describe: () => string,
  ): Promise<void> {
    const end = Date.now() + timeoutMs;
    while (!(await holds())) {
      if (Date.now() > end)
        throw new Error(`${describe()}; reported: ${this.failures.slice(-5).map(String).join(" | ")}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.nodes.values()].map((node) => node.stop()));
    await rm(this.#dir, { recursive: true, force: true });
  }
}
