/** Columns of every table, as they are written. Times are milliseconds since the Unix epoch, truth is 0 or 1, lists are JSON. */
export interface Tables {
  readonly meta: { readonly key: string; readonly value: Uint8Array };
  readonly manifests: { readonly sequence: number; readonly hash: string; readonly body: Uint8Array };
  readonly changes: {
    /** Hash of the proposal. */
    readonly id: string;
    readonly change_type: string;
    readonly state: string;
    /** Canonical `SignedChangeProposal`. */
    readonly body: Uint8Array;
    /** Canonical `ChangeCommit`. */
    readonly certificate: Uint8Array | null;
    readonly created_at: number;
    readonly expires_at: number;
    readonly first_seen_at: number;
    readonly effective_at: number | null;
    readonly updated_at: number;
  };
  readonly change_votes: {
    readonly change_id: string;
    readonly node_id: number;
    /** Canonical `SignedChangeVote`. */
    readonly body: Uint8Array;
    readonly received_at: number;
  };
  readonly transactions: {
    /** Intent hash. */
    readonly id: string;
    readonly txid: string;
    readonly request: string;
    readonly lineage: string;
    readonly wallet: string;
    readonly state: string;
    readonly reason: string | null;
    /** Canonical `Intent`, which carries the PSBT. */
    readonly unsigned_tx: Uint8Array;
    readonly certificate: Uint8Array | null;
    readonly signed_tx: string | null;
    readonly recipient: string;
    readonly amount_sats: bigint;
    readonly fee_sats: bigint;
    readonly outpoints: string;
    readonly metadata: string;
    readonly created_at: number;
    readonly updated_at: number;
    readonly expires_at: number;
    readonly first_seen_at: number;
    readonly confirmed_at: number | null;
    readonly confirmations: number;
    readonly block_height: number | null;
    readonly block_hash: string | null;
  };
  readonly voting_rounds: {
    readonly tx_id: string;
    readonly round: number;
    readonly opened_at: number;
    readonly deadline: number;
    readonly outcome: string;
  };
  readonly votes: {
    readonly tx_id: string;
    readonly round: number;
    readonly node_id: number;
    readonly approve: number;
    readonly reason: string | null;
    /** Canonical `Signed<Vote>`. */
    readonly value: Uint8Array;
    readonly signature: string;
    readonly received_at: number;
  };
  readonly voids: { readonly tx_id: string; readonly node_id: number; readonly body: Uint8Array };
  readonly spend_approvals: {
    readonly request: string;
    readonly approver: string;
    /** Canonical `Signed<SpendApproval>`. */
    readonly body: Uint8Array;
    readonly expires_at: number;
  };
  readonly reservations: {
    readonly lineage: string;
    readonly wallet: string;
    readonly amount_sats: bigint;
    readonly destinations: string;
    readonly intents: string;
    readonly reserved_at: number;
    readonly freed_at: number | null;
  };
  readonly keys: {
    readonly id: string;
    readonly protocol: string;
    readonly purpose: string;
    readonly epoch: number;
    readonly status: string;
    readonly request: Uint8Array;
    readonly public_package: Uint8Array | null;
    readonly sealed_share: Uint8Array | null;
    readonly reason: string | null;
    readonly created_at: number;
    readonly updated_at: number;
  };
  readonly wallets: {
    readonly id: string;
    readonly key_id: string;
    readonly label: string;
    readonly record: Uint8Array;
    readonly created_at: number;
  };
  readonly auxiliary: { readonly parties: string; readonly sealed: Uint8Array };
  readonly presignatures: {
    readonly id: string;
    readonly key_id: string;
    readonly path_change: number;
    readonly path_index: number;
    readonly epoch: number;
    readonly signers: string;
    readonly state: string;
    readonly sealed: Uint8Array;
    readonly public_data: Uint8Array;
    readonly acceptances: Uint8Array | null;
    readonly session: string;
    readonly used_by: string | null;
    readonly burn_counter: number | null;
    readonly created_at: number;
    readonly burned_at: number | null;
  };
  /** One row a burn, for ever. */
  readonly presignature_usage: {
    readonly counter: number;
    readonly presignature_id: string;
    readonly session: string;
    readonly burned_at: number;
  };
  readonly sessions: {
    readonly id: string;
    readonly purpose: string;
    readonly subject: string;
    readonly attempt: number;
    readonly initiator: number;
    readonly signers: string;
    readonly state: string;
    readonly execution: string | null;
    readonly failure: string | null;
    readonly started_at: number;
    readonly ended_at: number | null;
  };
  readonly outbox: {
    /** Given by the database, rising, never given twice. */
    readonly seq: number;
    readonly node_id: number;
    readonly message_id: string;
    readonly kind: string;
    readonly message: Uint8Array;
    readonly created_at: number;
  };
  readonly byzantine_violations: {
    readonly id: string;
    readonly node_id: number;
    readonly violation_type: string;
    readonly tx_id: string | null;
    readonly evidence: Uint8Array;
    readonly action_taken: string;
    readonly detected_at: number;
  };
  readonly bans: {
    readonly node_id: number;
    readonly violation: string;
    readonly banned_from: number;
    readonly banned_until: number | null;
    readonly scope: string;
    readonly count: number;
    readonly lifted_at: number | null;
  };
  readonly node_status: {
    readonly node_id: number;
    readonly last_seen: number | null;
    readonly epoch: number;
    readonly burn_counter: number;
    readonly audit_length: number;
    readonly audit_head: string;
    /** Canonical `SignedFenceAnswer`. */
    readonly answer: Uint8Array;
  };
  readonly checkpoints: {
    readonly sequence: number;
    readonly hash: string;
    /** Canonical `SignedCheckpoint`. */
    readonly body: Uint8Array;
  };
  readonly anchors: {
    readonly intent: string;
    readonly txid: string;
    readonly sequence: number;
    readonly checkpoint: string;
    readonly created_at: number;
  };
  readonly idempotency: {
    readonly scope: string;
    readonly key: string;
    readonly request: string;
    readonly status: number;
    readonly response: string;
    readonly created_at: number;
  };
  readonly tokens: {
    readonly hash: string;
    readonly name: string;
    readonly role: string;
    readonly created_at: number;
    readonly expires_at: number | null;
    readonly revoked_at: number | null;
  };
  readonly audit_log: {
    readonly seq: number;
    readonly at: number;
    readonly kind: string;
    readonly grant_id: string | null;
    readonly body: Uint8Array;
    readonly previous: string;
    readonly hash: string;
    readonly signature: string;
  };
}
