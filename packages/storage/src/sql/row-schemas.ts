import {
  type AnchorRow,
  type ApprovalRow,
  type AuditRow,
  type BanRow,
  type ChangeRow,
  type ChangeVoteRow,
  changeStates,
  ed25519PublicKeySchema,
  executionIdSchema,
  grantIdSchema,
  hashHexSchema,
  type IdempotencyRow,
  intentHashSchema,
  type KeyRow,
  keyIdSchema,
  keyPathSchema,
  lineageIdSchema,
  type ManifestRow,
  manifestHashSchema,
  type NodeStatusRow,
  nodeIndexSchema,
  type OutboxRow,
  outpointSchema,
  type PresignatureRow,
  presignatureIdSchema,
  protocolSchema,
  type ReservationRow,
  requestHashSchema,
  type SessionRow,
  satsSchema,
  sessionIdSchema,
  signatureHexSchema,
  type TokenRow,
  type TransactionMark,
  type TransactionRow,
  transactionStates,
  txidSchema,
  unixMsSchema,
  type ViolationRow,
  type VoidRow,
  type VoteRow,
  type VotingRoundRow,
  type WalletRow,
  walletIdSchema,
} from "@cairn/core";
import { z } from "zod";

/**
 * Shapes of the rows that a database answers with, and what they become. A database is an outside: its file may be damaged or
 * edited.
 */
const bytes = z.instanceof(Uint8Array);
const integer = z.number().int();
const truth = z.literal([0, 1]).transform((value) => value === 1);

/** A text column that holds JSON of the shape `schema`. */
function json<Schema extends z.ZodType>(schema: Schema) {
  return z
    .string()
    .transform((text, context): unknown => {
      try {
        return JSON.parse(text);
      } catch (cause) {
        context.addIssue({ code: "custom", message: `no JSON: ${String(cause)}` });
        return z.NEVER;
      }
    })
    .pipe(schema);
}

const signers = json(z.array(nodeIndexSchema));

export const metaRow = z.object({ value: bytes }).transform((row) => row.value);

export const manifestRow = z
  .object({ sequence: integer, hash: manifestHashSchema, body: bytes })
  .transform((row): ManifestRow => row);

export const changeRow = z
  .object({
    id: hashHexSchema,
    change_type: z.enum(["manifest", "ban-lift", "refresh"]),
    state: z.enum(changeStates),
    body: bytes,
    certificate: bytes.nullable(),
    created_at: unixMsSchema,
    expires_at: unixMsSchema,
    first_seen_at: unixMsSchema,
    effective_at: unixMsSchema.nullable(),
    updated_at: unixMsSchema,
  })
  .transform(
    (row): ChangeRow => ({
      proposal: row.id,
      type: row.change_type,
      state: row.state,
      body: row.body,
      commit: row.certificate,
      createdAt: row.created_at,
      expiry: row.expires_at,
      firstSeenAt: row.first_seen_at,
      effectiveAt: row.effective_at,
      updatedAt: row.updated_at,
    }),
  );

export const changeVoteRow = z
  .object({ change_id: hashHexSchema, node_id: nodeIndexSchema, body: bytes, received_at: unixMsSchema })
  .transform(
    (row): ChangeVoteRow => ({
      proposal: row.change_id,
      node: row.node_id,
      body: row.body,
      receivedAt: row.received_at,
    }),
  );

export const transactionMarkRow = z
  .object({ id: intentHashSchema, updated_at: unixMsSchema, certified: truth, signed: truth })
  .transform(
    (row): TransactionMark => ({
      intent: row.id,
      updatedAt: row.updated_at,
      certified: row.certified,
      signed: row.signed,
    }),
  );

export const transactionRow = z
  .object({
    id: intentHashSchema,
    txid: txidSchema,
    request: requestHashSchema,
    lineage: lineageIdSchema,
    wallet: walletIdSchema,
    state: z.enum(transactionStates),
    reason: z.string().nullable(),
    unsigned_tx: bytes,
    certificate: bytes.nullable(),
    signed_tx: z.string().nullable(),
    recipient: z.string(),
    amount_sats: satsSchema,
    fee_sats: satsSchema,
    outpoints: json(z.array(outpointSchema)),
    metadata: z.string(),
    created_at: unixMsSchema,
    updated_at: unixMsSchema,
    expires_at: unixMsSchema,
    first_seen_at: unixMsSchema,
    confirmed_at: unixMsSchema.nullable(),
    confirmations: integer,
    block_height: integer.nullable(),
    block_hash: z.string().nullable(),
  })
  .transform(
    (row): TransactionRow => ({
      intent: row.id,
      txid: row.txid,
      request: row.request,
      lineage: row.lineage,
      wallet: row.wallet,
      state: row.state,
      reason: row.reason,
      intentBody: row.unsigned_tx,
      certificate: row.certificate,
      signedTx: row.signed_tx,
      recipient: row.recipient,
      amountSats: row.amount_sats,
      feeSats: row.fee_sats,
      outpoints: row.outpoints,
      metadata: row.metadata,
      createdAt: row.created_at,
      updatedAt: row.updated_at,
      expiry: row.expires_at,
      firstSeenAt: row.first_seen_at,
      confirmedAt: row.confirmed_at,
      confirmations: row.confirmations,
      blockHeight: row.block_height,
      blockHash: row.block_hash,
    }),
  );

export const votingRoundRow = z
  .object({
    tx_id: intentHashSchema,
    round: integer,
    opened_at: unixMsSchema,
    deadline: unixMsSchema,
    outcome: z.enum(["open", "certified", "rejected", "deferred", "timeout", "byzantine"]),
  })
  .transform(
    (row): VotingRoundRow => ({
      intent: row.tx_id,
      round: row.round,
      openedAt: row.opened_at,
      deadline: row.deadline,
      outcome: row.outcome,
    }),
  );

export const voteRow = z
  .object({
    tx_id: intentHashSchema,
    round: integer,
    node_id: nodeIndexSchema,
    approve: truth,
    reason: z.string().nullable(),
    value: bytes,
    signature: signatureHexSchema,
    received_at: unixMsSchema,
  })
  .transform(
    (row): VoteRow => ({
      intent: row.tx_id,
      round: row.round,
      voter: row.node_id,
      approve: row.approve,
      reason: row.reason,
      signature: row.signature,
      body: row.value,
      receivedAt: row.received_at,
    }),
  );

export const voidRow = z
  .object({ tx_id: intentHashSchema, node_id: nodeIndexSchema, body: bytes })
  .transform((row): VoidRow => ({ intent: row.tx_id, node: row.node_id, body: row.body }));

export const approvalRow = z
  .object({
    request: requestHashSchema,
    approver: ed25519PublicKeySchema,
    body: bytes,
    expires_at: unixMsSchema,
  })
  .transform(
    ({ request, approver, body, expires_at }): ApprovalRow => ({
      request,
      approver,
      body,
      expiry: expires_at,
    }),
  );

export const reservationRow = z
  .object({
    lineage: lineageIdSchema,
    wallet: walletIdSchema,
    amount_sats: satsSchema,
    destinations: json(z.array(z.strictObject({ address: z.string(), amountSats: satsSchema }))),
    intents: json(
      z.array(
        z.strictObject({ intent: intentHashSchema, outpoints: z.array(outpointSchema), dead: z.boolean() }),
      ),
    ),
    reserved_at: unixMsSchema,
    freed_at: unixMsSchema.nullable(),
  })
  .transform(
    (row): ReservationRow => ({
      lineage: row.lineage,
      wallet: row.wallet,
      amountSats: row.amount_sats,
      destinations: row.destinations,
      intents: row.intents,
      reservedAt: row.reserved_at,
      freedAt: row.freed_at,
    }),
  );

export const keyRow = z
  .object({
    id: keyIdSchema,
    protocol: protocolSchema,
    purpose: z.string(),
    epoch: integer,
    status: z.enum(["generating", "active", "rotating", "retired", "failed"]),
    request: bytes,
    public_package: bytes.nullable(),
    sealed_share: bytes.nullable(),
    reason: z.string().nullable(),
    created_at: unixMsSchema,
    updated_at: unixMsSchema,
  })
  .transform(
    (row): KeyRow => ({
      keyId: row.id,
      protocol: row.protocol,
      purpose: row.purpose,
      epoch: row.epoch,
      status: row.status,
      request: row.request,
      publicPackage: row.public_package,
      sealedShare: row.sealed_share,
      reason: row.reason,
      createdAt: row.created_at,
      updatedAt: row.updated_at,
    }),
  );

export const walletRow = z
  .object({
    id: walletIdSchema,
    key_id: keyIdSchema,
    label: z.string(),
    record: bytes,
    created_at: unixMsSchema,
  })
  .transform(
    (row): WalletRow => ({
      wallet: row.id,
      keyId: row.key_id,
      label: row.label,
      record: row.record,
      createdAt: row.created_at,
    }),
  );

export const auxiliaryRow = z.object({ sealed: bytes }).transform((row) => row.sealed);

export const presignatureRow = z
  .object({
    id: presignatureIdSchema,
    key_id: keyIdSchema,
    path_change: integer,
    path_index: integer,
    epoch: integer,
    signers,
    state: z.enum(["pending", "ready", "burned", "discarded"]),
    sealed: bytes,
    public_data: bytes,
    acceptances: bytes.nullable(),
    session: sessionIdSchema,
    used_by: sessionIdSchema.nullable(),
    burn_counter: integer.nullable(),
    created_at: unixMsSchema,
    burned_at: unixMsSchema.nullable(),
  })
  .transform(
    (row): PresignatureRow => ({
      id: row.id,
      keyId: row.key_id,
      path: keyPathSchema.parse([row.path_change, row.path_index]),
      epoch: row.epoch,
      signers: row.signers,
      state: row.state,
      sealed: row.sealed,
      publicData: row.public_data,
      acceptances: row.acceptances,
      session: row.session,
      usedBy: row.used_by,
      burnCounter: row.burn_counter,
      createdAt: row.created_at,
      burnedAt: row.burned_at,
    }),
  );

export const counterRow = z.object({ counter: integer }).transform((row) => row.counter);

export const sessionRow = z
  .object({
    id: sessionIdSchema,
    purpose: z.enum(["sign", "presign", "keygen"]),
    subject: z.string(),
    attempt: integer,
    initiator: nodeIndexSchema,
    signers,
    state: z.string(),
    execution: executionIdSchema.nullable(),
    failure: z.string().nullable(),
    started_at: unixMsSchema,
    ended_at: unixMsSchema.nullable(),
  })
  .transform(
    (row): SessionRow => ({
      session: row.id,
      purpose: row.purpose,
      subject: row.subject,
      attempt: row.attempt,
      initiator: row.initiator,
      signers: row.signers,
      state: row.state,
      execution: row.execution,
      failure: row.failure,
      startedAt: row.started_at,
      endedAt: row.ended_at,
    }),
  );

export const outboxRow = z
  .object({
    seq: integer,
    node_id: nodeIndexSchema,
    message_id: z.string(),
    kind: z.string(),
    message: bytes,
    created_at: unixMsSchema,
  })
  .transform(
    (row): OutboxRow => ({
      seq: row.seq,
      to: row.node_id,
      id: row.message_id,
      kind: row.kind,
      message: row.message,
      createdAt: row.created_at,
    }),
  );

export const violationRow = z
  .object({
    id: hashHexSchema,
    node_id: nodeIndexSchema,
    violation_type: z.string(),
    tx_id: z.string().nullable(),
    evidence: bytes,
    action_taken: z.string(),
    detected_at: unixMsSchema,
  })
  .transform(
    (row): ViolationRow => ({
      id: row.id,
      node: row.node_id,
      type: row.violation_type,
      subject: row.tx_id,
      evidence: row.evidence,
      action: row.action_taken,
      detectedAt: row.detected_at,
    }),
  );

export const banRow = z
  .object({
    node_id: nodeIndexSchema,
    violation: hashHexSchema,
    banned_from: unixMsSchema,
    banned_until: unixMsSchema.nullable(),
    scope: z.enum(["local", "cluster"]),
    count: integer,
    lifted_at: unixMsSchema.nullable(),
  })
  .transform(
    (row): BanRow => ({
      node: row.node_id,
      violation: row.violation,
      from: row.banned_from,
      until: row.banned_until,
      scope: row.scope,
      count: row.count,
      liftedAt: row.lifted_at,
    }),
  );

export const nodeStatusRow = z
  .object({
    node_id: nodeIndexSchema,
    last_seen: unixMsSchema.nullable(),
    epoch: integer,
    burn_counter: integer,
    audit_length: integer,
    audit_head: hashHexSchema,
    answer: bytes,
  })
  .transform(
    (row): NodeStatusRow => ({
      node: row.node_id,
      lastSeen: row.last_seen,
      epoch: row.epoch,
      burnCounter: row.burn_counter,
      auditLength: row.audit_length,
      auditHead: row.audit_head,
      answer: row.answer,
    }),
  );

export const checkpointRow = z.object({ sequence: integer, hash: hashHexSchema, body: bytes });

export const anchorRow = z
  .object({
    intent: intentHashSchema,
    txid: txidSchema,
    sequence: integer,
    checkpoint: hashHexSchema,
    created_at: unixMsSchema,
  })
  .transform(({ created_at: createdAt, ...row }): AnchorRow => ({ ...row, createdAt }));

export const idempotencyRow = z
  .object({
    scope: z.string(),
    key: z.string(),
    request: hashHexSchema,
    status: integer,
    response: z.string(),
    created_at: unixMsSchema,
  })
  .transform(
    (row): IdempotencyRow => ({
      scope: row.scope,
      key: row.key,
      request: row.request,
      status: row.status,
      response: row.response,
      createdAt: row.created_at,
    }),
  );

export const tokenRow = z
  .object({
    hash: hashHexSchema,
    name: z.string(),
    role: z.enum(["viewer", "spender", "operator", "admin"]),
    created_at: unixMsSchema,
    expires_at: unixMsSchema.nullable(),
    revoked_at: unixMsSchema.nullable(),
  })
  .transform(
    (row): TokenRow => ({
      hash: row.hash,
      name: row.name,
      role: row.role,
      createdAt: row.created_at,
      expiresAt: row.expires_at,
      revokedAt: row.revoked_at,
    }),
  );

export const auditRow = z
  .object({
    seq: integer,
    at: unixMsSchema,
    kind: z.string(),
    grant_id: grantIdSchema.nullable(),
    body: bytes,
    previous: hashHexSchema,
    hash: hashHexSchema,
    signature: signatureHexSchema,
  })
  .transform(
    (row): AuditRow => ({
      seq: row.seq,
      at: row.at,
      kind: row.kind,
      grant: row.grant_id,
      body: row.body,
      previous: row.previous,
      hash: row.hash,
      signature: row.signature,
    }),
  );
