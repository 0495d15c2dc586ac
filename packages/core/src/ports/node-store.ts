import type {
  Ed25519PublicKey,
  ExecutionId,
  GrantId,
  HashHex,
  IntentHash,
  KeyId,
  KeyPath,
  LineageId,
  ManifestHash,
  NodeIndex,
  Outpoint,
  PresignatureId,
  Protocol,
  RequestHash,
  Sats,
  SessionId,
  SignatureHex,
  Txid,
  UnixMs,
  WalletId,
} from "../ids.ts";

/**
 * What a node must not forget. Every change is one {@link NodeStore.commit}: all of its writes are durable when it resolves, or
 * none ever happened. Signed structures are kept as their canonical bytes; columns beside them exist to be searched by.
 */
export interface NodeStore {
  /**
   * Applies `writes` atomically, in order; commits happen in the order of the calls. After `storage-failed` or
   * `storage-corrupt` the store refuses everything: only a restart shows whether that commit is kept.
   * @throws CairnError `storage-full`, `storage-failed`, `storage-corrupt`, `presignature-used`, `wrong-state`, `replayed`, `closed`
   */
  commit(writes: readonly StoreWrite[]): Promise<void>;

  /** A value of {@link StoreWrite} `meta`, or null. */
  meta(key: string): Promise<Uint8Array | null>;
  manifests(): Promise<readonly ManifestRow[]>;

  change(proposal: HashHex): Promise<ChangeRow | null>;
  /** Proposed changes of the cluster, newest first. */
  changes(query: ChangeQuery): Promise<readonly ChangeRow[]>;
  /** Ascending by node. */
  changeVotes(proposal: HashHex): Promise<readonly ChangeVoteRow[]>;

  /** Of several intents around one unsigned transaction, the one that is signed, else the first seen. */
  transaction(by: { readonly intent: IntentHash } | { readonly txid: Txid }): Promise<TransactionRow | null>;
  /** Newest first. */
  transactions(query: TransactionQuery): Promise<readonly TransactionRow[]>;
  /** First seen first. */
  transactionsOfLineage(lineage: LineageId): Promise<readonly TransactionRow[]>;
  /** The transaction made from this request, or null; of several, the one that is signed, else the first seen. */
  transactionOfRequest(request: RequestHash): Promise<TransactionRow | null>;
  /** What there is, in the order in which it last changed here: from just after `after` on. */
  transactionMarks(query: TransactionMarkQuery): Promise<readonly TransactionMark[]>;
  votes(intent: IntentHash): Promise<readonly VoteRow[]>;
  votingRounds(intent: IntentHash): Promise<readonly VotingRoundRow[]>;
  voids(intent: IntentHash): Promise<readonly VoidRow[]>;
  /** People's approvals of one request, or of all requests: ascending by request, then approver. */
  approvals(request?: RequestHash): Promise<readonly ApprovalRow[]>;
  reservation(lineage: LineageId): Promise<ReservationRow | null>;
  /** Reservations that are not freed. */
  openReservations(): Promise<readonly ReservationRow[]>;
  /** Freed reservations that were made after `since`: ascending by the time of reserving, then lineage; those behind `after`. */
  endedReservations(query: {
    readonly since: UnixMs;
    readonly after?: Pick<ReservationRow, "reservedAt" | "lineage">;
    readonly limit: number;
  }): Promise<readonly ReservationRow[]>;

  keys(): Promise<readonly KeyRow[]>;
  key(keyId: KeyId): Promise<KeyRow | null>;
  wallets(): Promise<readonly WalletRow[]>;
  /** Sealed auxiliary information, by hash of the party set, or null. */
  auxiliary(parties: HashHex): Promise<Uint8Array | null>;

  presignature(id: PresignatureId): Promise<PresignatureRow | null>;
  /** Oldest first and all of them, or the `newest` ones, newest first. */
  presignatures(query: PresignatureQuery): Promise<readonly PresignatureRow[]>;
  /**
   * Burns a ready presignature: durable when it resolves, and only once in its life.
   * @returns the ever-rising count of burns, for the engine's receipt
   * @throws CairnError `presignature-used` (burned or discarded before), `wrong-state` (still pending), `not-found`
   */
  burn(id: PresignatureId, session: SessionId, at: UnixMs): Promise<number>;
  burnCounter(): Promise<number>;

  session(id: SessionId): Promise<SessionRow | null>;
  /** Newest first. */
  sessions(query: SessionQuery): Promise<readonly SessionRow[]>;

  /** In the order of posting. */
  outbox(query: {
    readonly to?: NodeIndex;
    readonly limit: number;
    readonly after?: number;
  }): Promise<readonly OutboxRow[]>;

  /** Newest first. */
  violations(query: {
    readonly id?: HashHex;
    readonly node?: NodeIndex;
    readonly limit: number;
  }): Promise<readonly ViolationRow[]>;
  /** All that ever were, oldest first: also those that ended or were lifted. */
  bans(): Promise<readonly BanRow[]>;
  nodeStatuses(): Promise<readonly NodeStatusRow[]>;

  idempotency(scope: string, key: string): Promise<IdempotencyRow | null>;
  tokens(): Promise<readonly TokenRow[]>;

  /** The newest checkpoint, or null. */
  checkpointHead(): Promise<CheckpointRow | null>;
  /** From the sequence number `from` on, in order. */
  checkpoints(query: { readonly from: number; readonly limit: number }): Promise<readonly CheckpointRow[]>;

  /**
   * Anchors of checkpoints that intents carry, in order of their checkpoints, then of their creation: of checkpoints from the sequence
   * number `from` on, made at `since` or later.
   */
  anchors(query: {
    readonly from?: number;
    readonly since?: UnixMs;
    readonly limit: number;
  }): Promise<readonly AnchorRow[]>;

  /** The newest entry of the audit log, or null. */
  auditHead(): Promise<AuditRow | null>;
  /** From the sequence number `from` on, in order; of one kind where it is given. */
  audit(query: {
    readonly from: number;
    readonly limit: number;
    readonly kind?: string;
  }): Promise<readonly AuditRow[]>;

  close(): Promise<void>;
}

export type StoreWrite =
  | { readonly write: "meta"; readonly key: string; readonly value: Uint8Array }
  /** Inserts; the same again changes nothing, another with its sequence number is `wrong-state`. */
  | { readonly write: "manifest"; readonly row: ManifestRow }
  /** Inserts or replaces by proposal, but for `firstSeenAt`, which never changes. */
  | { readonly write: "change"; readonly row: ChangeRow }
  /** Inserts; a second word of a node on one proposal is `wrong-state`. */
  | { readonly write: "change-vote"; readonly row: ChangeVoteRow }
  /** Inserts or replaces by intent. */
  | { readonly write: "transaction"; readonly row: TransactionRow }
  | { readonly write: "voting-round"; readonly row: VotingRoundRow }
  /** Inserts; a second vote of a voter for one (intent, round) is `wrong-state`. */
  | { readonly write: "vote"; readonly row: VoteRow }
  | { readonly write: "void"; readonly row: VoidRow }
  /** Inserts or replaces by request and approver. */
  | { readonly write: "approval"; readonly row: ApprovalRow }
  /** Deletes approvals that expired at this time or before. */
  | { readonly write: "approval-expiry"; readonly at: UnixMs }
  /** Inserts or replaces by lineage. */
  | { readonly write: "reservation"; readonly row: ReservationRow }
  | { readonly write: "key"; readonly row: KeyRow }
  | { readonly write: "wallet"; readonly row: WalletRow }
  | { readonly write: "auxiliary"; readonly parties: HashHex; readonly sealed: Uint8Array }
  /** Inserts one that is pending or ready; an id that exists, in whatever state, is `wrong-state`. */
  | { readonly write: "presignature"; readonly row: PresignatureRow }
  /**
   * `pending → ready`, with the words of all its signers on the hash of its public data, or `pending | ready → discarded`, which
   * removes the sealed part. Burning is {@link NodeStore.burn} alone,
   * and the sealed part of a burned one is removed at the next start.
   */
  | {
      readonly write: "presignature-state";
      readonly id: PresignatureId;
      readonly state: "ready";
      /** Canonical list of `SignedPublicDataAcceptance`, ascending by node. */
      readonly acceptances: Uint8Array;
    }
  | {
      readonly write: "presignature-state";
      readonly id: PresignatureId;
      readonly state: "discarded";
    }
  /** Inserts or replaces by session; an execution that another session has is `replayed`. */
  | { readonly write: "session"; readonly row: SessionRow }
  /** Inserts; while a message to this node with this id waits, a second changes nothing. */
  | { readonly write: "outbox"; readonly row: Omit<OutboxRow, "seq"> }
  | { readonly write: "outbox-done"; readonly to: NodeIndex; readonly id: string }
  | { readonly write: "violation"; readonly row: ViolationRow }
  /** Inserts or replaces by node and violation. */
  | { readonly write: "ban"; readonly row: BanRow }
  | { readonly write: "node-status"; readonly row: NodeStatusRow }
  | { readonly write: "idempotency"; readonly row: IdempotencyRow }
  /** Deletes rows that were made before this time. */
  | { readonly write: "idempotency-expiry"; readonly before: UnixMs }
  | { readonly write: "token"; readonly row: TokenRow }
  /** Inserts or replaces by sequence number. */
  | { readonly write: "checkpoint"; readonly row: CheckpointRow }
  /** Inserts or replaces by intent. */
  | { readonly write: "anchor"; readonly row: AnchorRow }
  /** Appends; `seq` must be the next and `previous` the head's hash, or the commit is `wrong-state`. */
  | { readonly write: "audit"; readonly row: AuditRow };

export interface ManifestRow {
  readonly sequence: number;
  readonly hash: ManifestHash;
  /** Canonical `SignedManifest`. */
  readonly body: Uint8Array;
}

/**
 * States of a proposed change: `open` to votes; `committed` by a quorum, and waiting for its time; `in-force`, for good; or ended:
 * `rejected` by so many that no quorum is left, `expired`, or `overtaken` by another change of the same manifest.
 */
export const changeStates = ["open", "committed", "in-force", "rejected", "expired", "overtaken"] as const;
export type ChangeState = (typeof changeStates)[number];

export interface ChangeRow {
  /** The proposal's hash. */
  readonly proposal: HashHex;
  readonly type: "manifest" | "ban-lift" | "refresh";
  readonly state: ChangeState;
  /** Canonical `SignedChangeProposal`. */
  readonly body: Uint8Array;
  /** Canonical `ChangeCommit`, once there is one. */
  readonly commit: Uint8Array | null;
  readonly createdAt: UnixMs;
  readonly expiry: UnixMs;
  /** Node's own first sight, which delays are held from. */
  readonly firstSeenAt: UnixMs;
  /** When it takes effect at this node, or took it; null before there is a commit. */
  readonly effectiveAt: UnixMs | null;
  readonly updatedAt: UnixMs;
}

export interface ChangeQuery {
  readonly states?: readonly ChangeState[];
  readonly limit: number;
}

export interface ChangeVoteRow {
  readonly proposal: HashHex;
  readonly node: NodeIndex;
  /** Canonical `SignedChangeVote`. */
  readonly body: Uint8Array;
  readonly receivedAt: UnixMs;
}

/** States of a transaction as people see them. */
export const transactionStates = [
  "pending",
  "voting",
  "approved",
  "signing",
  "signed",
  "broadcasting",
  "confirmed",
  "rejected",
  "expired",
  "failed",
  "replaced",
  "aborted-byzantine",
  "aborted-timeout",
] as const;
export type TransactionState = (typeof transactionStates)[number];

export interface TransactionRow {
  readonly intent: IntentHash;
  /** Of the unsigned transaction: stable for segwit, and so its public name. */
  readonly txid: Txid;
  readonly request: RequestHash;
  readonly lineage: LineageId;
  readonly wallet: WalletId;
  readonly state: TransactionState;
  /** Why it ended or waits: an error code, or null. */
  readonly reason: string | null;
  /** Canonical `Intent`. */
  readonly intentBody: Uint8Array;
  /** Canonical `Certificate`, once there is one. */
  readonly certificate: Uint8Array | null;
  /** Signed raw transaction, hex. */
  readonly signedTx: string | null;
  /** First recipient and total to recipients, for lists. */
  readonly recipient: string;
  readonly amountSats: Sats;
  readonly feeSats: Sats;
  readonly outpoints: readonly Outpoint[];
  /** Free for the receiving node: label, signers, timings. JSON. */
  readonly metadata: string;
  readonly createdAt: UnixMs;
  readonly updatedAt: UnixMs;
  readonly expiry: UnixMs;
  /** Node's own first sight, which time locks are held from as well. */
  readonly firstSeenAt: UnixMs;
  readonly confirmedAt: UnixMs | null;
  readonly confirmations: number;
  readonly blockHeight: number | null;
  readonly blockHash: string | null;
}

export interface TransactionQuery {
  readonly wallet?: WalletId;
  readonly states?: readonly TransactionState[];
  /** Made at or after, and before, these times. */
  readonly since?: UnixMs;
  readonly until?: UnixMs;
  /** Only older than this transaction (newest first). */
  readonly before?: { readonly createdAt: UnixMs; readonly intent: IntentHash };
  readonly limit: number;
}

/** As much of a transaction as says whether another node lacks some of it. */
export interface TransactionMark {
  readonly intent: IntentHash;
  readonly updatedAt: UnixMs;
  /** Whether there is a certificate. */
  readonly certified: boolean;
  readonly signed: boolean;
}

export interface TransactionMarkQuery {
  /** Null is for the beginning. Of those that changed at one time, ascending by intent. */
  readonly after: Pick<TransactionMark, "intent" | "updatedAt"> | null;
  readonly limit: number;
}

export interface VotingRoundRow {
  readonly intent: IntentHash;
  readonly round: number;
  readonly openedAt: UnixMs;
  readonly deadline: UnixMs;
  readonly outcome: "open" | "certified" | "rejected" | "deferred" | "timeout" | "byzantine";
}

export interface VoteRow {
  readonly intent: IntentHash;
  readonly round: number;
  readonly voter: NodeIndex;
  readonly approve: boolean;
  readonly reason: string | null;
  readonly signature: SignatureHex;
  /** Canonical `Signed<Vote>`. */
  readonly body: Uint8Array;
  readonly receivedAt: UnixMs;
}

export interface VoidRow {
  readonly intent: IntentHash;
  readonly node: NodeIndex;
  /** Canonical `Signed<Void>`. */
  readonly body: Uint8Array;
}

/** A person's consent to one spend request, which may not be here yet. */
export interface ApprovalRow {
  readonly request: RequestHash;
  readonly approver: Ed25519PublicKey;
  /** Canonical `Signed<SpendApproval>`. */
  readonly body: Uint8Array;
  readonly expiry: UnixMs;
}

/** What one lineage holds at this node: its limits once, and the coins of every intent this node approved. */
export interface ReservationRow {
  readonly lineage: LineageId;
  readonly wallet: WalletId;
  /** The most that the lineage can pay out, fee included. */
  readonly amountSats: Sats;
  readonly destinations: readonly { readonly address: string; readonly amountSats: Sats }[];
  readonly intents: readonly {
    readonly intent: IntentHash;
    readonly outpoints: readonly Outpoint[];
    readonly dead: boolean;
  }[];
  readonly reservedAt: UnixMs;
  /** When all intents of the lineage were dead, or null while any may still be paid. */
  readonly freedAt: UnixMs | null;
}

export type KeyStatus = "generating" | "active" | "rotating" | "retired" | "failed";

export interface KeyRow {
  readonly keyId: KeyId;
  readonly protocol: Protocol;
  readonly purpose: string;
  readonly epoch: number;
  readonly status: KeyStatus;
  /** Canonical signed `KeygenRequest`. */
  readonly request: Uint8Array;
  readonly publicPackage: Uint8Array | null;
  readonly sealedShare: Uint8Array | null;
  /** Why generation failed, or null. */
  readonly reason: string | null;
  readonly createdAt: UnixMs;
  readonly updatedAt: UnixMs;
}

export interface WalletRow {
  readonly wallet: WalletId;
  readonly keyId: KeyId;
  readonly label: string;
  /** Canonical `SignedWalletRecord`. */
  readonly record: Uint8Array;
  readonly createdAt: UnixMs;
}

export type PresignatureState = "pending" | "ready" | "burned" | "discarded";

export interface PresignatureRow {
  readonly id: PresignatureId;
  readonly keyId: KeyId;
  readonly path: KeyPath;
  readonly epoch: number;
  readonly signers: readonly NodeIndex[];
  readonly state: PresignatureState;
  readonly sealed: Uint8Array;
  readonly publicData: Uint8Array;
  /** What proves a wrong partial to third parties: the signers' words on `publicData`; null until it is ready. */
  readonly acceptances: Uint8Array | null;
  readonly session: SessionId;
  /** Session that burned it, or null. */
  readonly usedBy: SessionId | null;
  readonly burnCounter: number | null;
  readonly createdAt: UnixMs;
  readonly burnedAt: UnixMs | null;
}

export interface PresignatureQuery {
  readonly keyId?: KeyId;
  readonly path?: KeyPath;
  readonly state?: PresignatureState;
  readonly newest?: {
    /** Only older than this one. */
    readonly before?: { readonly createdAt: UnixMs; readonly id: PresignatureId };
    readonly limit: number;
  };
}

export type SessionPurpose = "sign" | "presign" | "keygen" | "refresh";

export interface SessionRow {
  readonly session: SessionId;
  readonly purpose: SessionPurpose;
  /** The grant, presign job or keygen request that justifies it. */
  readonly subject: string;
  readonly attempt: number;
  readonly initiator: NodeIndex;
  readonly signers: readonly NodeIndex[];
  readonly state: string;
  readonly execution: ExecutionId | null;
  readonly failure: string | null;
  readonly startedAt: UnixMs;
  readonly endedAt: UnixMs | null;
}

export interface SessionQuery {
  readonly subject?: string;
  readonly live?: boolean;
  readonly purpose?: SessionPurpose;
  /** Started at or after, and before, these times. */
  readonly since?: UnixMs;
  readonly until?: UnixMs;
  /** Only older than this one (newest first). */
  readonly before?: { readonly startedAt: UnixMs; readonly session: SessionId };
  readonly limit?: number;
}

export interface OutboxRow {
  readonly seq: number;
  readonly to: NodeIndex;
  readonly id: string;
  readonly kind: string;
  /** Encoded `PeerMessage`, not yet sealed: sealing binds the time of sending. */
  readonly message: Uint8Array;
  readonly createdAt: UnixMs;
}

export interface ViolationRow {
  readonly id: HashHex;
  readonly node: NodeIndex;
  readonly type: string;
  readonly subject: string | null;
  /** Canonical evidence document, or empty where none can exist. */
  readonly evidence: Uint8Array;
  readonly action: string;
  readonly detectedAt: UnixMs;
}

export interface BanRow {
  readonly node: NodeIndex;
  /** Violation that it follows from. */
  readonly violation: HashHex;
  readonly from: UnixMs;
  /** Null is for good. */
  readonly until: UnixMs | null;
  /** For this node's own dealings only, or for the cluster (third-party proof). */
  readonly scope: "local" | "cluster";
  readonly count: number;
  readonly liftedAt: UnixMs | null;
}

export interface NodeStatusRow {
  readonly node: NodeIndex;
  readonly lastSeen: UnixMs | null;
  /** Highest epoch, burn counter and audit length that the node ever answered with. */
  readonly epoch: number;
  readonly burnCounter: number;
  readonly auditLength: number;
  /** Hash of the newest audit entry then. */
  readonly auditHead: HashHex;
  /** Canonical `SignedFenceAnswer` that said so. */
  readonly answer: Uint8Array;
}

/** One a sequence number: of two that nodes completed at the same time, the one that the cluster went on from. */
export interface CheckpointRow {
  readonly sequence: number;
  readonly hash: HashHex;
  /** Canonical `SignedCheckpoint`. */
  readonly body: Uint8Array;
}

/** A checkpoint in an output of an intent's transaction: how far that has come, the transaction's own row says. */
export interface AnchorRow {
  readonly intent: IntentHash;
  readonly txid: Txid;
  /** Of the checkpoint. */
  readonly sequence: number;
  /** Hash of the checkpoint. */
  readonly checkpoint: HashHex;
  readonly createdAt: UnixMs;
}

export interface IdempotencyRow {
  readonly scope: string;
  readonly key: string;
  /** SHA-256 of the request's body. */
  readonly request: HashHex;
  readonly status: number;
  readonly response: string;
  readonly createdAt: UnixMs;
}

export interface TokenRow {
  /** SHA-256 of the token; the token itself is never kept. */
  readonly hash: HashHex;
  readonly name: string;
  readonly role: "viewer" | "spender" | "operator" | "admin";
  readonly createdAt: UnixMs;
  readonly expiresAt: UnixMs | null;
  readonly revokedAt: UnixMs | null;
}

export interface AuditRow {
  /** From 0, without gaps. */
  readonly seq: number;
  readonly at: UnixMs;
  readonly kind: string;
  readonly grant: GrantId | null;
  /** Canonical body of the entry. */
  readonly body: Uint8Array;
  readonly previous: HashHex;
  readonly hash: HashHex;
  readonly signature: SignatureHex;
}
