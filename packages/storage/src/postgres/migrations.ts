import type { Migration } from "../sql/schema-history.ts";

/**
 * The Postgres schema: the tables of sqlite's, with what Postgres can say more exactly.
 *
 * - Times stay milliseconds since the Unix epoch, and signed structures stay bytes: evidence as `jsonb` would not be what was signed.
 * - `json` rather than `jsonb`: it keeps the text as it was written.
 * - `votes.round_id` is no foreign key: a vote may come before this node opens the round.
 * - Ids that lists are ordered by compare by code point, whatever the database's own collation.
 */
export const migrations: readonly Migration[] = [
  {
    version: 1,
    name: "node-state",
    sql: `
create type transaction_state as enum (
  'pending',
  'voting',
  'approved',
  'signing',
  'signed',
  'broadcasting',
  'confirmed',
  'rejected',
  'expired',
  'failed',
  'replaced',
  'aborted-byzantine',
  'aborted-timeout'
);

create table meta (
  key text primary key,
  value bytea not null
);

create table manifests (
  sequence bigint primary key,
  hash text not null,
  body bytea not null
);

create table transactions (
  id text collate "C" primary key,
  txid text not null,
  request text not null,
  lineage text collate "C" not null,
  wallet text not null,
  state transaction_state not null,
  reason text,
  unsigned_tx bytea not null,
  certificate bytea,
  signed_tx text,
  bitcoin_txid text generated always as (case when signed_tx is null then null else txid end) stored,
  recipient text not null,
  amount_sats bigint not null,
  fee_sats bigint not null,
  outpoints json not null,
  metadata json not null,
  created_at bigint not null,
  updated_at bigint not null,
  expires_at bigint not null,
  first_seen_at bigint not null,
  confirmed_at bigint,
  confirmations bigint not null,
  block_height bigint,
  block_hash text
);
create index transactions_by_txid on transactions (txid);
create index transactions_by_request on transactions (request);
create index transactions_by_lineage on transactions (lineage);
create index transactions_by_age on transactions (created_at, id);
create index transactions_by_state on transactions (state, created_at, id);

create table voting_rounds (
  id text generated always as (tx_id || '/' || round::text) stored,
  tx_id text not null,
  round bigint not null,
  opened_at bigint not null,
  deadline bigint not null,
  outcome text not null,
  primary key (tx_id, round)
);

create table votes (
  id bigint generated always as identity,
  round_id text generated always as (tx_id || '/' || round::text) stored,
  tx_id text not null,
  round bigint not null,
  node_id bigint not null,
  approve boolean not null,
  reason text,
  value bytea not null,
  signature text not null,
  received_at bigint not null,
  primary key (tx_id, round, node_id)
);

create table voids (
  tx_id text not null,
  node_id bigint not null,
  body bytea not null,
  primary key (tx_id, node_id)
);

create table reservations (
  lineage text collate "C" primary key,
  wallet text not null,
  amount_sats bigint not null,
  destinations json not null,
  intents json not null,
  reserved_at bigint not null,
  freed_at bigint
);
create index reservations_by_end on reservations (freed_at);

create table keys (
  id text collate "C" primary key,
  protocol text not null,
  purpose text not null,
  epoch bigint not null,
  status text not null,
  request bytea not null,
  public_package bytea,
  sealed_share bytea,
  reason text,
  created_at bigint not null,
  updated_at bigint not null
);

create table wallets (
  id text collate "C" primary key,
  key_id text not null,
  label text not null,
  record bytea not null,
  created_at bigint not null
);

create table auxiliary (
  parties text primary key,
  sealed bytea not null
);

create table presignatures (
  id text collate "C" primary key,
  key_id text not null,
  path_change bigint not null,
  path_index bigint not null,
  epoch bigint not null,
  signers json not null,
  state text not null check (state in ('pending', 'ready', 'burned', 'discarded')),
  sealed bytea not null,
  public_data bytea not null,
  acceptances bytea,
  session text not null,
  used_by text,
  burn_counter bigint,
  created_at bigint not null,
  burned_at bigint,
  check ((state = 'burned') = (burn_counter is not null))
);
create index presignatures_by_key on presignatures (key_id, path_change, path_index, state);
create index presignatures_by_state on presignatures (state);
create index presignatures_by_age on presignatures (created_at, id);

create table presignature_usage (
  counter bigint primary key,
  presignature_id text not null unique references presignatures (id),
  session text not null,
  burned_at bigint not null
);

create function forbid() returns trigger language plpgsql as $$
begin raise exception '%', tg_argv[0]; end $$;
create trigger presignatures_end before update of state on presignatures
for each row when (old.state in ('burned', 'discarded'))
execute function forbid('a presignature that is burned or discarded stays so');
create trigger presignature_usage_fixed before update or delete on presignature_usage
for each row execute function forbid('the record of a burn never changes');
create trigger presignature_usage_kept before truncate on presignature_usage
execute function forbid('the record of a burn is kept for ever');

create table sessions (
  id text collate "C" primary key,
  purpose text not null,
  subject text not null,
  attempt bigint not null,
  initiator bigint not null,
  signers json not null,
  state text not null,
  execution text,
  failure text,
  started_at bigint not null,
  ended_at bigint
);
create index sessions_by_subject on sessions (subject);
create index sessions_by_age on sessions (started_at, id);
create index sessions_live on sessions (started_at) where ended_at is null;

create table outbox (
  seq bigint generated by default as identity primary key,
  node_id bigint not null,
  message_id text not null,
  kind text not null,
  message bytea not null,
  created_at bigint not null,
  unique (node_id, message_id)
);
create index outbox_by_node on outbox (node_id, seq);

create table byzantine_violations (
  id text collate "C" primary key,
  node_id bigint not null,
  violation_type text not null,
  tx_id text,
  evidence bytea not null,
  action_taken text not null,
  detected_at bigint not null
);
create index byzantine_violations_by_age on byzantine_violations (detected_at, id);
create index byzantine_violations_by_node on byzantine_violations (node_id, detected_at, id);

create table bans (
  node_id bigint not null,
  violation text collate "C" not null,
  banned_from bigint not null,
  banned_until bigint,
  scope text not null,
  count bigint not null,
  lifted_at bigint,
  primary key (node_id, violation)
);

create table node_status (
  node_id bigint primary key,
  last_seen bigint,
  epoch bigint not null,
  burn_counter bigint not null,
  audit_length bigint not null,
  audit_head text not null,
  answer bytea not null
);

create table checkpoints (
  sequence bigint primary key,
  hash text not null,
  body bytea not null
);

create table idempotency (
  scope text not null,
  key text not null,
  request text not null,
  status bigint not null,
  response text not null,
  created_at bigint not null,
  primary key (scope, key)
);
create index idempotency_by_age on idempotency (created_at);

create table tokens (
  hash text collate "C" primary key,
  name text not null,
  role text not null,
  created_at bigint not null,
  expires_at bigint,
  revoked_at bigint
);

create table audit_log (
  seq bigint primary key,
  at bigint not null,
  kind text not null,
  grant_id text,
  body bytea not null,
  previous text not null,
  hash text not null,
  signature text not null
);
create index audit_log_by_grant on audit_log (grant_id) where grant_id is not null;
create index audit_log_by_kind on audit_log (kind, seq);

create trigger audit_log_fixed before update or delete on audit_log
for each row execute function forbid('the audit log only grows');
create trigger audit_log_kept before truncate on audit_log
execute function forbid('the audit log only grows');

create table spend_approvals (
  request text collate "C" not null,
  approver text collate "C" not null,
  body bytea not null,
  expires_at bigint not null,
  primary key (request, approver)
);
create index spend_approvals_by_end on spend_approvals (expires_at);

create table changes (
  id text collate "C" primary key,
  change_type text not null,
  state text not null,
  body bytea not null,
  certificate bytea,
  created_at bigint not null,
  expires_at bigint not null,
  first_seen_at bigint not null,
  effective_at bigint,
  updated_at bigint not null
);
create index changes_by_age on changes (created_at, id);

create table change_votes (
  change_id text not null,
  node_id bigint not null,
  body bytea not null,
  received_at bigint not null,
  primary key (change_id, node_id)
);
`,
  },
  {
    version: 2,
    name: "transactions-by-change",
    sql: "create index transactions_by_change on transactions (updated_at, id);",
  },
  {
    version: 3,
    name: "anchors",
    sql: `
create table anchors (
  intent text collate "C" primary key,
  txid text not null,
  sequence bigint not null,
  checkpoint text not null,
  created_at bigint not null
);
create index anchors_by_checkpoint on anchors (sequence, created_at, intent);
`,
  },
  {
    version: 4,
    name: "reservations-by-age",
    sql: `
create index reservations_by_age on reservations (reserved_at, lineage);
create index sessions_by_execution on sessions (execution) where execution is not null;
`,
  },
];
