import type { WalletView } from "@cairn/bitcoin";
import type {
  BanRow,
  ErrorData,
  IntentHash,
  KeyId,
  KeyPath,
  PeerStatus,
  RequestHash,
  SignatureHex,
  SignedKeygenRequest,
  SignedSpendApproval,
  SignedWalletRecord,
  SpendOutput,
  SpendRequest,
  StoreWrite,
  TransactionRow,
  WalletId,
} from "@cairn/core";
import type { PolicyVerdict } from "@cairn/policy";
import type {
  ApprovalStanding,
  BackupDesk,
  ChainWatch,
  ChangeDesk,
  GrantDesk,
  KeyProgress,
  ManifestBook,
  SyncStatus,
} from "@cairn/runtime";

/** What the API needs of the runtime: `NodeRuntime` is one. */
export interface NodeFacade {
  submit(request: SpendRequest, signature: SignatureHex | null): Promise<TransactionRow>;
  generateKey(request: SignedKeygenRequest): Promise<KeyId>;
  takeApproval(signed: SignedSpendApproval): Promise<void>;
  dryRun(request: Pick<SpendRequest, "outputs" | "maxFeeSats">, hash: RequestHash | null): PolicyVerdict;
  /** Makes a change of this node durable together with its audit entry. */
  record(
    write: StoreWrite,
    entry: { readonly kind: string; readonly subject: string; readonly data: ErrorData },
  ): Promise<void>;
  peers(): readonly PeerStatus[];
  readonly sync: { status(): SyncStatus };
  readonly wallets: {
    all(): readonly FacadeWallet[];
    /** @throws CairnError `not-found` */
    select(wallet: WalletId | undefined): FacadeWallet;
    view(wallet: WalletId, maxAgeMs: number): Promise<WalletView>;
    nextAddress(wallet: WalletId): Promise<{ readonly address: string; readonly path: KeyPath }>;
  };
  readonly spends: {
    reservedSats(wallet: WalletId): bigint;
    approvals(
      hash: RequestHash,
      request: { readonly outputs: readonly SpendOutput[] },
    ): ApprovalStanding | null;
    get(intent: IntentHash): { readonly voting: { readonly name: string } } | undefined;
  };
  readonly keys: {
    list(): readonly KeyProgress[];
    refuse(keyId: KeyId): Promise<KeyProgress>;
  };
  readonly presignatures: {
    status(): Promise<readonly KeyStock[]>;
    generate(keyId: KeyId, count: number): Promise<number>;
  };
  readonly backups: Pick<BackupDesk, "take" | "words" | "unbacked" | "overridden">;
  readonly bans: { bans(): readonly BanRow[] };
  readonly manifests: Pick<ManifestBook, "chain" | "under">;
  readonly grants: Pick<GrantDesk, "spendOf" | "signing" | "keygen" | "check">;
  readonly changes: Pick<ChangeDesk, "list" | "get" | "propose" | "sign" | "refuse">;
  readonly chain: Pick<ChainWatch, "tipHeight" | "refresh">;
}

export interface FacadeWallet {
  readonly signed: SignedWalletRecord;
}

/** Presignatures of one key. */
export interface KeyStock {
  readonly keyId: KeyId;
  readonly status: {
    readonly ready: number;
    readonly pending: number;
    readonly usable: number;
    readonly wanted: number;
  };
  readonly burned: number;
}
