import {
  buildPsbt,
  createDescriptor,
  decodeAddress,
  deriveKey,
  encodePsbt,
  MemoryChainSource,
  scanWallet,
  unsignedTransactionId,
} from "@cairn/bitcoin";
import { formCertificate, type Intent, intentHash, signKeygenApproval, signVote } from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  type Courier,
  encodeCanonical,
  fromHex,
  type HashHex,
  type KeyId,
  keygenRequestHash,
  lineageIdSchema,
  manifestHash,
  type NodeIndex,
  type NodeStore,
  nodeIndexSchema,
  type PeerMessage,
  type PeerStatus,
  publicPackageHash,
  type SignatureHex,
  type SignedKeygenRequest,
  type SignedSpendApproval,
  type SignedWalletRecord,
  type SpendRequest,
  type StoreWrite,
  satsSchema,
  spendRequestHash,
  type TransactionRow,
  txidSchema,
  type UnixMs,
  verifySignature,
  verifySpendApproval,
  walletIdOf,
} from "@cairn/core";
import { evaluate, PaidWindow } from "@cairn/policy";
import {
  BackupDesk,
  ChangeDesk,
  GrantDesk,
  type KeyProgress,
  Loop,
  ManifestBook,
  type NodeEvent,
  type SyncStatus,
  writeMetadata,
} from "@cairn/runtime";
import type { Alert } from "../src/alert-desk.ts";
import type { MadeBackup } from "../src/backup/backup-maker.ts";
import type { FacadeWallet, KeyStock, NodeFacade } from "../src/index.ts";
import type { TestCluster } from "./node-folder.ts";

/** secp256k1's base point, for want of a key that anyone made. */
const BASE_POINT = fromHex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");

/** Stands for a runtime: its wallet, chain, PSBTs and rows are real, what needs other nodes is not there. */
export class FakeNode implements NodeFacade {
  readonly #cluster: TestCluster;
  readonly #store: NodeStore;
  readonly #clock: Clock;
  readonly #listeners = new Set<(event: NodeEvent) => void>();
  readonly chainSource = new MemoryChainSource();
  readonly #keys: KeyProgress[] = [];
  readonly wallet: FacadeWallet;
  readonly #descriptor = createDescriptor("wpkh", "regtest", BASE_POINT, new Uint8Array(32).fill(7));
  /** Spends that reached the runtime. */
  submissions = 0;
  /** Called before a submission goes on. */
  beforeSubmit: () => Promise<void> = async () => {};
  /** What the runtime refuses everything with while it is set. */
  refusal: CairnError | null = null;
  peersNow: PeerStatus[] = [];
  stock: KeyStock[] = [];
  alerts: Alert[] = [];
  /** Verified backups, in memory; nothing leaves them. */
  readonly backups: NodeFacade["backups"];
  /** Keys that lack backups, in place of what follows from the keys made here. */
  unbackedNow: ReturnType<NodeFacade["backups"]["unbacked"]> | null = null;

  makeBackup(): MadeBackup {
    this.#refuse();
    return {
      backup: "b".repeat(64) as HashHex,
      createdAt: 1_800_000_000_000 as UnixMs,
      keys: [],
      recipients: ["age1…"],
      file: new Uint8Array([1, 2]),
    };
  }
  /** Spends that were looked for at the chain. */
  readonly lookedFor: string[] = [];
  readonly chain: NodeFacade["chain"] = {
    tipHeight: 101,
    refresh: async (intent) => {
      this.#refuse();
      this.lookedFor.push(intent);
    },
  };
  readonly manifests: ManifestBook;
  readonly changes: NodeFacade["changes"];
  readonly grants: GrantDesk;

  /** Its book and desk of changes are real, but nothing leaves them. */
  static async open(
    cluster: TestCluster,
    modules: { readonly store: NodeStore; readonly clock: Clock },
  ): Promise<FakeNode> {
    return new FakeNode(cluster, modules, await ManifestBook.open(cluster, modules.store));
  }

  /** What {@link record} was told. */
  readonly recorded: string[] = [];

  private constructor(
    cluster: TestCluster,
    modules: { readonly store: NodeStore; readonly clock: Clock },
    book: ManifestBook,
  ) {
    const [signer] = cluster.identities;
    if (signer === undefined) throw new RangeError("the cluster has no node");
    const report = (cause: unknown) => {
      throw cause;
    };
    const courier = {
      posting: (to: NodeIndex, id: string, { kind, payload }: PeerMessage): StoreWrite => ({
        write: "outbox",
        row: { to, id, kind, message: payload, createdAt: modules.clock.now() },
      }),
      kick: () => {},
    } as unknown as Courier;
    const audit = { entries: () => [], committed: () => {}, discarded: () => {} };
    this.manifests = book;
    const loop = new Loop({ store: modules.store, courier, audit, report });
    const backups = new BackupDesk(
      { me: nodeIndexSchema.parse(1), book },
      { loop, store: modules.store, keys: { list: () => this.#keys } },
    );
    this.backups = {
      take: (signed) => {
        this.#refuse();
        return backups.take(signed);
      },
      words: () => backups.words(),
      unbacked: () => this.unbackedNow ?? backups.unbacked(),
      overridden: async (keyId, address, missing) => {
        this.recorded.push(`address-without-backups ${keyId} ${address} ${missing.join()}`);
      },
    };
    const desk = new ChangeDesk(
      { me: nodeIndexSchema.parse(1), clockSkewMs: 30_000 },
      {
        ...modules,
        loop,
        signer,
        book,
        liftBans: () => {},
        inForce: () => {},
        changed: () => {},
        report,
      },
    );
    const unrefused =
      <Arguments extends readonly unknown[], Answer>(run: (...given: Arguments) => Answer) =>
      (...given: Arguments): Answer => {
        this.#refuse();
        return run(...given);
      };
    this.changes = {
      list: () => desk.list(),
      get: (proposal) => desk.get(proposal),
      propose: unrefused((signed) => desk.propose(signed)),
      sign: unrefused((proposal, signature) => desk.sign(proposal, signature)),
      refuse: unrefused((proposal) => desk.refuse(proposal)),
    };
    this.#cluster = cluster;
    this.#store = modules.store;
    this.#clock = modules.clock;
    const { manifest, identities } = cluster;
    const record: SignedWalletRecord["record"] = {
      version: 1,
      cluster: manifest.cluster,
      wallet: walletIdOf(this.#descriptor.text),
      label: "main",
      network: "regtest",
      descriptor: this.#descriptor.text,
      keyId: "ab".repeat(32) as KeyId,
      protocol: "cggmp24",
      publicPackage: publicPackageHash(new Uint8Array(3)),
      birthday: manifest.createdAt,
    };
    const signatures = identities.map((identity, at) => ({
      node: nodeIndexSchema.parse(at + 1),
      signature: identity.sign("cairn/wallet-record/v1", record),
    }));
    this.wallet = { signed: { record, signatures } };
    this.grants = new GrantDesk({
      ...modules,
      book,
      wallets: { get: (wallet) => this.wallets.select(wallet) },
      keys: { list: () => this.#keys },
    });
  }

  /** Pays `sats` to the wallet's first address, confirmed. */
  fund(sats: bigint): void {
    this.chainSource.fund(deriveKey(this.#descriptor, [0, 0]).script, sats);
    this.chainSource.mine();
  }

  emit(event: NodeEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  readonly wallets: NodeFacade["wallets"] = {
    all: () => [this.wallet],
    select: (wallet) => {
      if (wallet === undefined || wallet === this.wallet.signed.record.wallet) return this.wallet;
      throw new CairnError("not-found", "this cluster has no such wallet");
    },
    view: async () => {
      this.#refuse();
      return scanWallet({ descriptor: this.#descriptor }, { chain: this.chainSource });
    },
    nextAddress: async () => {
      this.#refuse();
      return { address: deriveKey(this.#descriptor, [0, 1]).address, path: [0, 1] };
    },
  };
  /** How the approvals of every request stand. */
  standing: ReturnType<NodeFacade["spends"]["approvals"]> = null;
  readonly spends: NodeFacade["spends"] = {
    reservedSats: () => 1_000n,
    approvals: () => this.standing,
    get: () => undefined,
  };
  readonly keys: NodeFacade["keys"] = {
    list: () => this.#keys,
    refuse: async (keyId) => {
      this.#refuse();
      const at = this.#keys.findIndex(({ row }) => row.keyId === keyId);
      const key = this.#keys[at];
      if (key === undefined) throw new CairnError("not-found", "there is no such key", { keyId });
      const refused: KeyProgress = {
        ...key,
        row: { ...key.row, status: "failed", reason: "operator-refused" },
        standing: "rejected",
        stage: "failed",
      };
      this.#keys[at] = refused;
      return refused;
    },
  };
  readonly presignatures: NodeFacade["presignatures"] = {
    status: async () => this.stock,
    generate: async (_keyId, count) => {
      this.#refuse();
      return count;
    },
  };
  readonly bans: NodeFacade["bans"] = { bans: () => [] };

  peers(): readonly PeerStatus[] {
    return this.peersNow;
  }

  subscribe(listener: (event: NodeEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  dryRun(request: Pick<SpendRequest, "outputs" | "maxFeeSats">): ReturnType<NodeFacade["dryRun"]> {
    return evaluate(this.#cluster.policy, {
      history: [],
      paid: new PaidWindow(),
      request,
      lineage: lineageIdSchema.parse("00".repeat(32)),
      feeSats: request.maxFeeSats,
      vbytes: 1_000_000,
      approvals: [],
      now: this.#clock.now(),
    });
  }

  syncStatus: SyncStatus = { recollection: null, abstains: false, peers: [] };
  readonly sync = { status: () => this.syncStatus };

  async takeApproval(signed: SignedSpendApproval): Promise<void> {
    this.#refuse();
    const { requestHash } = signed.body;
    const { manifest } = this.#cluster;
    verifySpendApproval(signed, { manifest, requestHash, now: this.#clock.now(), clockSkewMs: 0 });
  }

  #refuse(): void {
    if (this.refusal !== null) throw this.refusal;
  }

  async record(
    write: StoreWrite,
    { kind, subject }: { readonly kind: string; readonly subject: string },
  ): Promise<void> {
    await this.#store.commit([write]);
    this.recorded.push(`${kind} ${subject}`);
  }

  async generateKey(signed: SignedKeygenRequest): Promise<KeyId> {
    this.#refuse();
    const { body, signature } = signed;
    if (!verifySignature("cairn/keygen-request/v1", body, body.operator, signature)) {
      throw new CairnError("signature-invalid", "the operator's signature does not verify");
    }
    const keyId = keygenRequestHash(body);
    if (this.#keys.some(({ row }) => row.keyId === keyId)) return keyId;
    const now = this.#clock.now();
    const row: KeyProgress["row"] = {
      keyId,
      protocol: body.protocol,
      purpose: "spend",
      epoch: 0,
      status: "generating",
      request: encodeCanonical(signed),
      publicPackage: null,
      sealedShare: null,
      reason: null,
      createdAt: now,
      updatedAt: now,
    };
    this.#keys.push({
      row,
      request: signed,
      standing: "open",
      stage: "approving",
      progress: null,
      approvals: [],
    });
    return keyId;
  }

  /** All nodes approve a key. */
  approveKey(keyId: KeyId): void {
    const { manifest, identities } = this.#cluster;
    const approvals = identities.map((identity, at) =>
      signKeygenApproval(
        {
          version: 1,
          cluster: manifest.cluster,
          keyId,
          node: nodeIndexSchema.parse(at + 1),
          approve: true,
          reason: null,
          auxExecution: null,
        },
        identity,
      ),
    );
    this.#changeKey(keyId, (key) => ({ ...key, approvals, standing: "committed", stage: "keygen" }));
    this.emit({ ...eventOf(1), type: "key", subject: keyId, state: "generating" });
  }

  /** A key is in use, or was given up. */
  endKey(keyId: KeyId, change: Pick<KeyProgress["row"], "status" | "reason">): void {
    const standing = change.status === "active" ? "in-force" : "failed";
    this.#changeKey(keyId, (key) => ({ ...key, row: { ...key.row, ...change }, standing }));
  }

  #changeKey(keyId: KeyId, change: (key: KeyProgress) => KeyProgress): void {
    const at = this.#keys.findIndex(({ row }) => row.keyId === keyId);
    const found = this.#keys[at];
    if (found === undefined) throw new RangeError("no such key");
    this.#keys[at] = change(found);
  }

  /** All nodes approve a spend, as the store holds it from then on. */
  async certify(row: TransactionRow): Promise<TransactionRow> {
    const { manifest, identities } = this.#cluster;
    const votes = identities.map((identity, at) =>
      signVote(
        {
          version: 1,
          cluster: manifest.cluster,
          manifestHash: manifestHash(manifest),
          intentHash: row.intent,
          round: 1,
          voter: nodeIndexSchema.parse(at + 1),
          approve: true,
          reason: null,
        },
        identity,
      ),
    );
    return this.change(row, {
      state: "approved",
      certificate: encodeCanonical(formCertificate(votes, manifest)),
    });
  }

  /** Stores a spend's row anew and says so. */
  async change(row: TransactionRow, change: Partial<TransactionRow>): Promise<TransactionRow> {
    const changed = { ...row, ...change };
    await this.#store.commit([{ write: "transaction", row: changed }]);
    this.emit(eventOf(1, { request: row.request }));
    return changed;
  }

  async submit(request: SpendRequest, signature: SignatureHex | null): Promise<TransactionRow> {
    this.submissions += 1;
    await this.beforeSubmit();
    this.#refuse();
    const known = await this.#store.transactionOfRequest(spendRequestHash(request));
    if (known !== null) return known;
    const { manifest } = this.#cluster;
    const view = await this.wallets.view(request.wallet, 0);
    const [coin] = view.coins;
    const [output] = request.outputs;
    if (coin === undefined || output === undefined) {
      throw new CairnError("insufficient-funds", "the wallet has too little", { missingSats: "1" });
    }
    const psbt = buildPsbt({
      descriptor: this.#descriptor,
      coins: [{ previousTransaction: coin.previousTransaction, vout: coin.outpoint.vout, path: coin.path }],
      recipients: [
        { script: decodeAddress(output.address, "regtest").script, amountSats: output.amountSats },
      ],
      lockTime: this.submissions,
    });
    const now = this.#clock.now();
    const intent: Intent = {
      version: 1,
      cluster: manifest.cluster,
      request: { body: request, signature },
      psbt: new Uint8Array(encodePsbt(psbt)),
      wallet: request.wallet,
      anchor: null,
      manifestHash: manifestHash(manifest),
      policyVersion: 1,
      protocolVersion: 1,
      createdAt: now,
    };
    const row: TransactionRow = {
      intent: intentHash(intent),
      txid: txidSchema.parse(unsignedTransactionId(psbt.transaction)),
      request: spendRequestHash(request),
      lineage: lineageIdSchema.parse(spendRequestHash(request)),
      wallet: request.wallet,
      state: "pending",
      reason: null,
      intentBody: encodeCanonical(intent),
      certificate: null,
      signedTx: null,
      recipient: output.address,
      amountSats: output.amountSats,
      feeSats: satsSchema.parse(coin.amountSats - output.amountSats),
      outpoints: [coin.outpoint],
      metadata: writeMetadata({
        receiver: 1 as NodeIndex,
        signers: [],
        unproven: false,
        approvers: [],
        timings: { voted: 12 },
      }),
      createdAt: now,
      updatedAt: now,
      expiry: request.expiry,
      firstSeenAt: now,
      confirmedAt: null,
      confirmations: 0,
      blockHeight: null,
      blockHash: null,
    };
    await this.#store.commit([{ write: "transaction", row }]);
    return row;
  }
}

/** An event of the kind that a runtime emits. */
export function eventOf(id: number, data: NodeEvent["data"] = {}): NodeEvent {
  return {
    id,
    at: 1_800_000_000_000 as UnixMs,
    type: "transaction",
    subject: "cd".repeat(32),
    state: "voting",
    data,
  };
}
