import type { Migration } from "../sql/schema-history.ts";

/**
 * The sqlite schema. `transactions.txid` is no unique column: a Byzantine receiver can wrap one unsigned transaction into two
 * intents, and the second must be storable to be judged.
 */
export const migrations: readonly Migration[] = [
  {
    version: 1,
    name: "node-state",
    sql: `
create table meta (
  key text primary key,
  value blob not null
) strict, without rowid;

create table manifests (
  sequence integer primary key,
  hash text not null,
  body blob not null
) strict;

create table transactions (
  id text primary key,
  txid text not null,
  request text not null,
  lineage text not null,
  wallet text not null,
  state text not null,
  reason text,
  unsigned_tx blob not null,
  certificate blob,
  signed_tx text,
  bitcoin_txid text generated always as (case when signed_tx is null then null else txid end) virtual,
  recipient text not null,
  amount_sats integer not null,
  fee_sats integer not null,
  outpoints text not null,
  metadata text not null,
  created_at integer not null,
  updated_at integer not null,
  expires_at integer not null,
  first_seen_at integer not null,
  confirmed_at integer,
  confirmations integer not null,
  block_height integer,
  block_hash text
) strict;
create index transactions_by_txid on transactions (txid);
create index transactions_by_request on transactions (request);
create index transactions_by_lineage on transactions (lineage);
create index transactions_by_age on transactions (created_at, id);
create index transactions_by_state on transactions (state, created_at, id);

create table voting_rounds (
  tx_id text not null,
  round integer not null,
  opened_at integer not null,
  deadline integer not null,
  outcome text not null,
  primary key (tx_id, round)
) strict, without rowid;

create table votes (
  tx_id text not null,
  round integer not null,
  node_id integer not null,
  approve integer not null check (approve in (0, 1)),
  reason text,
  value blob not null,
  signature text not null,
  received_at integer not null,
  primary key (tx_id, round, node_id)
) strict, without rowid;

create table voids (
  tx_id text not null,
  node_id integer not null,
  body blob not null,
  primary key (tx_id, node_id)
) strict, without rowid;

create table reservations (
  lineage text primary key,
  wallet text not null,
  amount_sats integer not null,
  destinations text not null,
  intents text not null,
  reserved_at integer not null,
  freed_at integer
) strict;
create index reservations_by_end on reservations (freed_at);

create table keys (
  id text primary key,
  protocol text not null,
  purpose text not null,
  epoch integer not null,
  status text not null,
  request blob not null,
  public_package blob,
  sealed_share blob,
  reason text,
  created_at integer not null,
  updated_at integer not null
) strict;

create table wallets (
  id text primary key,
  key_id text not null,
  label text not null,
  record blob not null,
  created_at integer not null
) strict;

create table auxiliary (
  parties text primary key,
  sealed blob not null
) strict;

create table presignatures (
  id text primary key,
  key_id text not null,
  path_change integer not null,
  path_index integer not null,
  epoch integer not null,
  signers text not null,
  state text not null check (state in ('pending', 'ready', 'burned', 'discarded')),
  sealed blob not null,
  public_data blob not null,
  acceptances blob,
  session text not null,
  used_by text,
  burn_counter integer,
  created_at integer not null,
  burned_at integer,
  check ((state = 'burned') = (burn_counter is not null))
) strict;
create index presignatures_by_key on presignatures (key_id, path_change, path_index, state);
create index presignatures_by_state on presignatures (state);

create table presignature_usage (
  counter integer primary key,
  presignature_id text not null unique references presignatures (id),
  session text not null,
  burned_at integer not null
) strict;

create trigger presignatures_end before update of state on presignatures
when old.state in ('burned', 'discarded')
begin select raise(abort, 'a presignature that is burned or discarded stays so'); end;
create trigger presignature_usage_fixed before update on presignature_usage
begin select raise(abort, 'the record of a burn never changes'); end;
create trigger presignature_usage_kept before delete on presignature_usage
begin select raise(abort, 'the record of a burn is kept for ever'); end;

create table sessions (
  id text primary key,
  purpose text not null,
  subject text not null,
  attempt integer not null,
  initiator integer not null,
  signers text not null,
  state text not null,
  execution text,
  failure text,
  started_at integer not null,
  ended_at integer
) strict;
create index sessions_by_subject on sessions (subject);
create index sessions_by_age on sessions (started_at, id);
create index sessions_live on sessions (started_at) where ended_at is null;

create table outbox (
  seq integer primary key autoincrement,
  node_id integer not null,
  message_id text not null,
  kind text not null,
  message blob not null,
  created_at integer not null,
  unique (node_id, message_id)
) strict;
create index outbox_by_node on outbox (node_id, seq);

create table byzantine_violations (
  id text primary key,
  node_id integer not null,
  violation_type text not null,
  tx_id text,
  evidence blob not null,
  action_taken text not null,
  detected_at integer not null
) strict;
create index byzantine_violations_by_age on byzantine_violations (detected_at, id);
create index byzantine_violations_by_node on byzantine_violations (node_id, detected_at, id);

create table bans (
  node_id integer not null,
  violation text not null,
  banned_from integer not null,
  banned_until integer,
  scope text not null,
  count integer not null,
  lifted_at integer,
  primary key (node_id, violation)
) strict, without rowid;

create table node_status (
  node_id integer primary key,
  last_seen integer,
  epoch integer not null,
  burn_counter integer not null,
  audit_length integer not null
) strict;

create table idempotency (
  scope text not null,
  key text not null,
  request text not null,
  status integer not null,
  response text not null,
  created_at integer not null,
  primary key (scope, key)
) strict, without rowid;

create table tokens (
  hash text primary key,
  name text not null,
  role text not null,
  created_at integer not null,
  expires_at integer,
  revoked_at integer
) strict;

create table audit_log (
  seq integer primary key,
  at integer not null,
  kind text not null,
  grant_id text,
  body blob not null,
  previous text not null,
  hash text not null,
  signature text not null
) strict;
create index audit_log_by_grant on audit_log (grant_id) where grant_id is not null;

create trigger audit_log_fixed before update on audit_log
begin select raise(abort, 'the audit log only grows'); end;
create trigger audit_log_kept before delete on audit_log
begin select raise(abort, 'the audit log only grows'); end;
`,
  },
  {
    version: 2,
    name: "lists-by-age",
    sql: `
create index presignatures_by_age on presignatures (created_at, id);
create index idempotency_by_age on idempotency (created_at);
create index audit_log_by_kind on audit_log (kind, seq);
`,
  },
  {
    version: 3,
    name: "spend-approvals",
    sql: `
create table spend_approvals (
  request text not null,
  approver text not null,
  body blob not null,
  expires_at integer not null,
  primary key (request, approver)
) strict, without rowid;
create index spend_approvals_by_end on spend_approvals (expires_at);
`,
  },
  {
    version: 4,
    name: "changes",
    sql: `
create table changes (
  id text primary key,
  change_type text not null,
  state text not null,
  body blob not null,
  certificate blob,
  created_at integer not null,
  expires_at integer not null,
  first_seen_at integer not null,
  effective_at integer,
  updated_at integer not null
) strict;
create index changes_by_age on changes (created_at, id);

create table change_votes (
  change_id text not null,
  node_id integer not null,
  body blob not null,
  received_at integer not null,
  primary key (change_id, node_id)
) strict, without rowid;
`,
  },
  {
    version: 5,
    name: "fences-and-checkpoints",
    sql: `
drop table node_status;
create table node_status (
  node_id integer primary key,
  last_seen integer,
  epoch integer not null,
  burn_counter integer not null,
  audit_length integer not null,
  audit_head text not null,
  answer blob not null
) strict;

create table checkpoints (
  sequence integer primary key,
  hash text not null,
  body blob not null
) strict;
`,
  },
  {
    version: 6,
    name: "transactions-by-change",
    sql: "create index transactions_by_change on transactions (updated_at, id);",
  },
  {
    version: 7,
    name: "anchors",
    sql: `
create table anchors (
  intent text primary key,
  txid text not null,
  sequence integer not null,
  checkpoint text not null,
  created_at integer not null
) strict, without rowid;
create index anchors_by_checkpoint on anchors (sequence, created_at, intent);
`,
  },
  {
    version: 8,
    name: "reservations-by-age",
    sql: `
create index reservations_by_age on reservations (reserved_at, lineage);
create index sessions_by_execution on sessions (execution) where execution is not null;
`,
  },
];
