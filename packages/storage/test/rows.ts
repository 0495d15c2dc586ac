import {
  type ApprovalRow,
  AUDIT_ROOT,
  type AuditRow,
  type ChangeRow,
  type ChangeVoteRow,
  type ExecutionId,
  ed25519PublicKeySchema,
  executionIdSchema,
  type HashHex,
  hashHexSchema,
  type IntentHash,
  intentHashSchema,
  type KeyId,
  keyIdSchema,
  type LineageId,
  lineageIdSchema,
  type ManifestRow,
  manifestHashSchema,
  type NodeIndex,
  nodeIndexSchema,
  type PresignatureId,
  type PresignatureRow,
  presignatureIdSchema,
  type RequestHash,
  requestHashSchema,
  type Sats,
  type SessionId,
  type SessionRow,
  satsSchema,
  sessionIdSchema,
  sha256Hex,
  signatureHexSchema,
  type TransactionRow,
  type Txid,
  txidSchema,
  type UnixMs,
  unixMsSchema,
  type VoteRow,
  type WalletId,
  walletIdSchema,
} from "@cairn/core";

/** 32 bytes of hex that `name` alone stands for. */
export function hash(name: string): HashHex {
  return hashHexSchema.parse(sha256Hex(Buffer.from(name)));
}
export const intentOf = (name: string): IntentHash => intentHashSchema.parse(hash(`intent ${name}`));
export const txidOf = (name: string): Txid => txidSchema.parse(hash(`txid ${name}`));
export const requestOf = (name: string): RequestHash => requestHashSchema.parse(hash(`request ${name}`));
export const lineageOf = (name: string): LineageId => lineageIdSchema.parse(hash(`lineage ${name}`));
export const walletOf = (name: string): WalletId => walletIdSchema.parse(hash(`wallet ${name}`));
export const keyOf = (name: string): KeyId => keyIdSchema.parse(hash(`key ${name}`));
export const sessionOf = (name: string): SessionId => sessionIdSchema.parse(hash(`session ${name}`));
export const executionOf = (name: string): ExecutionId => executionIdSchema.parse(hash(`execution ${name}`));
export const presignatureOf = (name: string): PresignatureId =>
  presignatureIdSchema.parse(hash(`presignature ${name}`));
export const node = (index: number): NodeIndex => nodeIndexSchema.parse(index);
export const at = (time: number): UnixMs => unixMsSchema.parse(time);
export const sats = (amount: bigint): Sats => satsSchema.parse(amount);
export const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));

export function changeRow(name: string, changes: Partial<ChangeRow> = {}): ChangeRow {
  return {
    proposal: hash(`change ${name}`),
    type: "manifest",
    state: "open",
    body: bytes(`change ${name}`),
    commit: null,
    createdAt: at(1_000),
    expiry: at(2_000),
    firstSeenAt: at(1_001),
    effectiveAt: null,
    updatedAt: at(1_001),
    ...changes,
  };
}

export function changeVoteRow(name: string, voter: number): ChangeVoteRow {
  return {
    proposal: hash(`change ${name}`),
    node: node(voter),
    body: bytes(`word of ${voter} on ${name}`),
    receivedAt: at(1_002),
  };
}

export function transactionRow(name: string, changes: Partial<TransactionRow> = {}): TransactionRow {
  return {
    intent: intentOf(name),
    txid: txidOf(name),
    request: requestOf(name),
    lineage: lineageOf(name),
    wallet: walletOf("main"),
    state: "pending",
    reason: null,
    intentBody: bytes(`intent of ${name}`),
    certificate: null,
    signedTx: null,
    recipient: "bcrt1qexample",
    amountSats: sats(50_000n),
    feeSats: sats(141n),
    outpoints: [{ txid: txidOf("coin"), vout: 1 }],
    metadata: '{"label":"rent"}',
    createdAt: at(1_000),
    updatedAt: at(1_000),
    expiry: at(90_000),
    firstSeenAt: at(1_000),
    confirmedAt: null,
    confirmations: 0,
    blockHeight: null,
    blockHash: null,
    ...changes,
  };
}

export function voteRow(name: string, voter: number, changes: Partial<VoteRow> = {}): VoteRow {
  return {
    intent: intentOf(name),
    round: 0,
    voter: node(voter),
    approve: true,
    reason: null,
    signature: signatureHexSchema.parse("ab".repeat(64)),
    body: bytes(`vote of ${voter}`),
    receivedAt: at(2_000),
    ...changes,
  };
}

export function approvalRow(request: string, approver: string, expiry: number): ApprovalRow {
  return {
    request: requestOf(request),
    approver: ed25519PublicKeySchema.parse(hash(`approver ${approver}`)),
    body: bytes(`${approver} approves ${request} until ${expiry}`),
    expiry: at(expiry),
  };
}

export function presignatureRow(name: string, changes: Partial<PresignatureRow> = {}): PresignatureRow {
  return {
    id: presignatureOf(name),
    keyId: keyOf("main"),
    path: [0, 7],
    epoch: 0,
    signers: [node(1), node(2), node(3), node(5)],
    state: "ready",
    sealed: bytes(`sealed ${name}`),
    publicData: bytes(`public ${name}`),
    acceptances: null,
    session: sessionOf("presign"),
    usedBy: null,
    burnCounter: null,
    createdAt: at(3_000),
    burnedAt: null,
    ...changes,
  };
}

export function sessionRow(name: string, changes: Partial<SessionRow> = {}): SessionRow {
  return {
    session: sessionOf(name),
    purpose: "sign",
    subject: "grant",
    attempt: 0,
    initiator: node(1),
    signers: [node(1), node(2)],
    state: "created",
    execution: null,
    failure: null,
    startedAt: at(4_000),
    endedAt: null,
    ...changes,
  };
}

/** A row that a store accepts as the `seq`-th; the signature is not a store's concern. */
export function auditRow(
  seq: number,
  previous: HashHex = seq === 0 ? AUDIT_ROOT : hash(`audit ${seq - 1}`),
): AuditRow {
  return {
    seq,
    at: at(5_000 + seq),
    kind: "vote-cast",
    grant: null,
    body: bytes(`entry ${seq}`),
    previous,
    hash: hash(`audit ${seq}`),
    signature: signatureHexSchema.parse("cd".repeat(64)),
  };
}

export function manifestRow(name: string, sequence: number): ManifestRow {
  return { sequence, hash: manifestHashSchema.parse(hash(`manifest ${name}`)), body: bytes(name) };
}
