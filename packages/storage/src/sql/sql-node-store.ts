import {
  type AnchorRow,
  type ApprovalRow,
  type AuditRow,
  type BanRow,
  CairnError,
  type ChangeQuery,
  type ChangeRow,
  type ChangeVoteRow,
  type CheckpointRow,
  type HashHex,
  type IdempotencyRow,
  type IntentHash,
  type KeyId,
  type KeyRow,
  type LineageId,
  type ManifestRow,
  type NodeIndex,
  type NodeStatusRow,
  type NodeStore,
  type OutboxRow,
  type PresignatureId,
  type PresignatureQuery,
  type PresignatureRow,
  type RequestHash,
  type ReservationRow,
  type SessionId,
  type SessionQuery,
  type SessionRow,
  type StoreWrite,
  type TokenRow,
  type TransactionMark,
  type TransactionMarkQuery,
  type TransactionQuery,
  type TransactionRow,
  type Txid,
  type UnixMs,
  type ViolationRow,
  type VoidRow,
  type VoteRow,
  type VotingRoundRow,
  type WalletRow,
} from "@cairn/core";
import type { z } from "zod";
import { compile, queries } from "./query-compiler.ts";
import * as shapes from "./row-schemas.ts";
import type { SqlExecutor, SqlRow } from "./sql-executor.ts";
import { IMPORTING, MOVED } from "./store-marks.ts";
import { burnStatements, wipeStatement, writeStatements } from "./write-statements.ts";

type Query = Parameters<typeof compile>[0];

/** The port in SQL, over whichever database runs it. */
export class SqlNodeStore implements NodeStore {
  readonly #database: SqlExecutor;

  private constructor(database: SqlExecutor) {
    this.#database = database;
  }

  /**
   * Takes over `database`, which is closed again should that fail.
   * @throws CairnError `wrong-state` for a database that was moved away, or is not wholly filled
   */
  static async create(database: SqlExecutor): Promise<SqlNodeStore> {
    try {
      await refuseMarked(database);
      await database.commit([wipeStatement()]);
    } catch (cause) {
      await database.close();
      throw cause;
    }
    return new SqlNodeStore(database);
  }

  async commit(writes: readonly StoreWrite[]): Promise<void> {
    await this.#database.commit(writes.flatMap(writeStatements));
  }

  async burn(id: PresignatureId, session: SessionId, at: UnixMs): Promise<number> {
    const rows = await this.#database.commit(burnStatements(id, session, at));
    return one(shapes.counterRow, rows);
  }

  meta(key: string): Promise<Uint8Array | null> {
    return this.#first(shapes.metaRow, queries.selectFrom("meta").select("value").where("key", "=", key));
  }

  manifests(): Promise<readonly ManifestRow[]> {
    return this.#all(shapes.manifestRow, queries.selectFrom("manifests").selectAll().orderBy("sequence"));
  }

  change(proposal: HashHex): Promise<ChangeRow | null> {
    return this.#first(
      shapes.changeRow,
      queries.selectFrom("changes").selectAll().where("id", "=", proposal),
    );
  }

  async changes({ states, limit }: ChangeQuery): Promise<readonly ChangeRow[]> {
    if (states?.length === 0) return [];
    let query = queries.selectFrom("changes").selectAll();
    if (states !== undefined) query = query.where("state", "in", states);
    return this.#all(
      shapes.changeRow,
      query.orderBy("created_at", "desc").orderBy("id", "desc").limit(limit),
    );
  }

  changeVotes(proposal: HashHex): Promise<readonly ChangeVoteRow[]> {
    return this.#all(
      shapes.changeVoteRow,
      queries.selectFrom("change_votes").selectAll().where("change_id", "=", proposal).orderBy("node_id"),
    );
  }

  transaction(by: { readonly intent: IntentHash } | { readonly txid: Txid }): Promise<TransactionRow | null> {
    const query = queries.selectFrom("transactions").selectAll();
    return this.#first(
      shapes.transactionRow,
      "intent" in by
        ? query.where("id", "=", by.intent)
        : query
            .where("txid", "=", by.txid)
            .orderBy((row) => row("signed_tx", "is", null))
            .orderBy("first_seen_at")
            .orderBy("id")
            .limit(1),
    );
  }

  async transactions({
    wallet,
    states,
    since,
    until,
    before,
    limit,
  }: TransactionQuery): Promise<readonly TransactionRow[]> {
    if (states?.length === 0) return [];
    let query = queries.selectFrom("transactions").selectAll();
    if (wallet !== undefined) query = query.where("wallet", "=", wallet);
    if (states !== undefined) query = query.where("state", "in", states);
    if (since !== undefined) query = query.where("created_at", ">=", since);
    if (until !== undefined) query = query.where("created_at", "<", until);
    if (before !== undefined) {
      query = query.where(({ eb, refTuple, tuple }) =>
        eb(refTuple("created_at", "id"), "<", tuple(before.createdAt, before.intent)),
      );
    }
    return this.#all(
      shapes.transactionRow,
      query.orderBy("created_at", "desc").orderBy("id", "desc").limit(limit),
    );
  }

  transactionsOfLineage(lineage: LineageId): Promise<readonly TransactionRow[]> {
    return this.#all(
      shapes.transactionRow,
      queries
        .selectFrom("transactions")
        .selectAll()
        .where("lineage", "=", lineage)
        .orderBy("first_seen_at")
        .orderBy("id"),
    );
  }

  transactionOfRequest(request: RequestHash): Promise<TransactionRow | null> {
    return this.#first(
      shapes.transactionRow,
      queries
        .selectFrom("transactions")
        .selectAll()
        .where("request", "=", request)
        .orderBy((row) => row("signed_tx", "is", null))
        .orderBy("first_seen_at")
        .orderBy("id")
        .limit(1),
    );
  }

  transactionMarks({ after, limit }: TransactionMarkQuery): Promise<readonly TransactionMark[]> {
    let query = queries
      .selectFrom("transactions")
      .select(["id", "updated_at"])
      .select((row) => [
        row("certificate", "is not", null).as("certified"),
        row("signed_tx", "is not", null).as("signed"),
      ]);
    if (after !== null) {
      query = query.where(({ eb, refTuple, tuple }) =>
        eb(refTuple("updated_at", "id"), ">", tuple(after.updatedAt, after.intent)),
      );
    }
    return this.#all(shapes.transactionMarkRow, query.orderBy("updated_at").orderBy("id").limit(limit));
  }

  votes(intent: IntentHash): Promise<readonly VoteRow[]> {
    return this.#all(
      shapes.voteRow,
      queries.selectFrom("votes").selectAll().where("tx_id", "=", intent).orderBy("round").orderBy("node_id"),
    );
  }

  votingRounds(intent: IntentHash): Promise<readonly VotingRoundRow[]> {
    return this.#all(
      shapes.votingRoundRow,
      queries.selectFrom("voting_rounds").selectAll().where("tx_id", "=", intent).orderBy("round"),
    );
  }

  voids(intent: IntentHash): Promise<readonly VoidRow[]> {
    return this.#all(
      shapes.voidRow,
      queries.selectFrom("voids").selectAll().where("tx_id", "=", intent).orderBy("node_id"),
    );
  }

  approvals(request?: RequestHash): Promise<readonly ApprovalRow[]> {
    let query = queries.selectFrom("spend_approvals").selectAll();
    if (request !== undefined) query = query.where("request", "=", request);
    return this.#all(shapes.approvalRow, query.orderBy("request").orderBy("approver"));
  }

  reservation(lineage: LineageId): Promise<ReservationRow | null> {
    return this.#first(
      shapes.reservationRow,
      queries.selectFrom("reservations").selectAll().where("lineage", "=", lineage),
    );
  }

  openReservations(): Promise<readonly ReservationRow[]> {
    return this.#all(
      shapes.reservationRow,
      queries
        .selectFrom("reservations")
        .selectAll()
        .where("freed_at", "is", null)
        .orderBy("reserved_at")
        .orderBy("lineage"),
    );
  }

  endedReservations({
    since,
    after,
    limit,
  }: {
    readonly since: UnixMs;
    readonly after?: Pick<ReservationRow, "reservedAt" | "lineage">;
    readonly limit: number;
  }): Promise<readonly ReservationRow[]> {
    let query = queries
      .selectFrom("reservations")
      .selectAll()
      .where("reserved_at", ">", since)
      .where("freed_at", "is not", null);
    if (after !== undefined) {
      query = query.where(({ eb, refTuple, tuple }) =>
        eb(refTuple("reserved_at", "lineage"), ">", tuple(after.reservedAt, after.lineage)),
      );
    }
    return this.#all(shapes.reservationRow, query.orderBy("reserved_at").orderBy("lineage").limit(limit));
  }

  keys(): Promise<readonly KeyRow[]> {
    return this.#all(
      shapes.keyRow,
      queries.selectFrom("keys").selectAll().orderBy("created_at").orderBy("id"),
    );
  }

  key(keyId: KeyId): Promise<KeyRow | null> {
    return this.#first(shapes.keyRow, queries.selectFrom("keys").selectAll().where("id", "=", keyId));
  }

  wallets(): Promise<readonly WalletRow[]> {
    return this.#all(
      shapes.walletRow,
      queries.selectFrom("wallets").selectAll().orderBy("created_at").orderBy("id"),
    );
  }

  auxiliary(parties: HashHex): Promise<Uint8Array | null> {
    return this.#first(
      shapes.auxiliaryRow,
      queries.selectFrom("auxiliary").select("sealed").where("parties", "=", parties),
    );
  }

  presignature(id: PresignatureId): Promise<PresignatureRow | null> {
    return this.#first(
      shapes.presignatureRow,
      queries.selectFrom("presignatures").selectAll().where("id", "=", id),
    );
  }

  presignatures({ keyId, path, state, newest }: PresignatureQuery): Promise<readonly PresignatureRow[]> {
    let query = queries.selectFrom("presignatures").selectAll();
    if (keyId !== undefined) query = query.where("key_id", "=", keyId);
    if (path !== undefined) {
      query = query.where("path_change", "=", path[0]).where("path_index", "=", path[1]);
    }
    if (state !== undefined) query = query.where("state", "=", state);
    if (newest === undefined) {
      return this.#all(shapes.presignatureRow, query.orderBy("created_at").orderBy("id"));
    }
    const { before, limit } = newest;
    if (before !== undefined) {
      query = query.where(({ eb, refTuple, tuple }) =>
        eb(refTuple("created_at", "id"), "<", tuple(before.createdAt, before.id)),
      );
    }
    return this.#all(
      shapes.presignatureRow,
      query.orderBy("created_at", "desc").orderBy("id", "desc").limit(limit),
    );
  }

  async burnCounter(): Promise<number> {
    const last = queries
      .selectFrom("presignature_usage")
      .select("counter")
      .orderBy("counter", "desc")
      .limit(1);
    return (await this.#first(shapes.counterRow, last)) ?? 0;
  }

  session(id: SessionId): Promise<SessionRow | null> {
    return this.#first(shapes.sessionRow, queries.selectFrom("sessions").selectAll().where("id", "=", id));
  }

  sessions({
    subject,
    live,
    purpose,
    since,
    until,
    before,
    limit,
  }: SessionQuery): Promise<readonly SessionRow[]> {
    let query = queries.selectFrom("sessions").selectAll();
    if (subject !== undefined) query = query.where("subject", "=", subject);
    if (live !== undefined) query = query.where("ended_at", live ? "is" : "is not", null);
    if (purpose !== undefined) query = query.where("purpose", "=", purpose);
    if (since !== undefined) query = query.where("started_at", ">=", since);
    if (until !== undefined) query = query.where("started_at", "<", until);
    if (before !== undefined) {
      query = query.where(({ eb, refTuple, tuple }) =>
        eb(refTuple("started_at", "id"), "<", tuple(before.startedAt, before.session)),
      );
    }
    if (limit !== undefined) query = query.limit(limit);
    return this.#all(shapes.sessionRow, query.orderBy("started_at", "desc").orderBy("id", "desc"));
  }

  outbox({
    to,
    limit,
    after,
  }: {
    readonly to?: NodeIndex;
    readonly limit: number;
    readonly after?: number;
  }): Promise<readonly OutboxRow[]> {
    let query = queries.selectFrom("outbox").selectAll();
    if (to !== undefined) query = query.where("node_id", "=", to);
    if (after !== undefined) query = query.where("seq", ">", after);
    return this.#all(shapes.outboxRow, query.orderBy("seq").limit(limit));
  }

  violations({
    id,
    node,
    limit,
  }: {
    readonly id?: HashHex;
    readonly node?: NodeIndex;
    readonly limit: number;
  }): Promise<readonly ViolationRow[]> {
    let query = queries.selectFrom("byzantine_violations").selectAll();
    if (id !== undefined) query = query.where("id", "=", id);
    if (node !== undefined) query = query.where("node_id", "=", node);
    return this.#all(
      shapes.violationRow,
      query.orderBy("detected_at", "desc").orderBy("id", "desc").limit(limit),
    );
  }

  bans(): Promise<readonly BanRow[]> {
    return this.#all(
      shapes.banRow,
      queries.selectFrom("bans").selectAll().orderBy("banned_from").orderBy("node_id").orderBy("violation"),
    );
  }

  nodeStatuses(): Promise<readonly NodeStatusRow[]> {
    return this.#all(shapes.nodeStatusRow, queries.selectFrom("node_status").selectAll().orderBy("node_id"));
  }

  idempotency(scope: string, key: string): Promise<IdempotencyRow | null> {
    return this.#first(
      shapes.idempotencyRow,
      queries.selectFrom("idempotency").selectAll().where("scope", "=", scope).where("key", "=", key),
    );
  }

  tokens(): Promise<readonly TokenRow[]> {
    return this.#all(
      shapes.tokenRow,
      queries.selectFrom("tokens").selectAll().orderBy("created_at").orderBy("hash"),
    );
  }

  checkpointHead(): Promise<CheckpointRow | null> {
    return this.#first(
      shapes.checkpointRow,
      queries.selectFrom("checkpoints").selectAll().orderBy("sequence", "desc").limit(1),
    );
  }

  checkpoints({
    from,
    limit,
  }: {
    readonly from: number;
    readonly limit: number;
  }): Promise<readonly CheckpointRow[]> {
    return this.#all(
      shapes.checkpointRow,
      queries
        .selectFrom("checkpoints")
        .selectAll()
        .where("sequence", ">=", from)
        .orderBy("sequence")
        .limit(limit),
    );
  }

  anchors({
    from = 0,
    since,
    limit,
  }: {
    readonly from?: number;
    readonly since?: UnixMs;
    readonly limit: number;
  }): Promise<readonly AnchorRow[]> {
    let query = queries.selectFrom("anchors").selectAll().where("sequence", ">=", from);
    if (since !== undefined) query = query.where("created_at", ">=", since);
    return this.#all(
      shapes.anchorRow,
      query.orderBy("sequence").orderBy("created_at").orderBy("intent").limit(limit),
    );
  }

  auditHead(): Promise<AuditRow | null> {
    return this.#first(
      shapes.auditRow,
      queries.selectFrom("audit_log").selectAll().orderBy("seq", "desc").limit(1),
    );
  }

  audit({
    from,
    limit,
    kind,
  }: {
    readonly from: number;
    readonly limit: number;
    readonly kind?: string;
  }): Promise<readonly AuditRow[]> {
    let query = queries.selectFrom("audit_log").selectAll().where("seq", ">=", from);
    if (kind !== undefined) query = query.where("kind", "=", kind);
    return this.#all(shapes.auditRow, query.orderBy("seq").limit(limit));
  }

  close(): Promise<void> {
    return this.#database.close();
  }

  async #all<Shape extends z.ZodType>(shape: Shape, query: Query): Promise<readonly z.output<Shape>[]> {
    const rows = await this.#database.query(compile(query));
    return rows.map((row) => read(shape, row));
  }

  async #first<Shape extends z.ZodType>(shape: Shape, query: Query): Promise<z.output<Shape> | null> {
    const [row] = await this.#database.query(compile(query));
    return row === undefined ? null : read(shape, row);
  }
}

async function refuseMarked(database: SqlExecutor): Promise<void> {
  const marks = queries.selectFrom("meta").selectAll().where("key", "in", [MOVED, IMPORTING]);
  const [mark] = await database.query(compile(marks));
  if (mark === undefined) return;
  throw new CairnError(
    "wrong-state",
    mark.key === MOVED
      ? `the node has moved to ${new TextDecoder().decode(shapes.metaRow.parse(mark))}: started from this database, it would repeat votes and presignatures`
      : "a move into this database did not end: empty it, and move the node again",
  );
}

function one<Shape extends z.ZodType>(shape: Shape, rows: readonly SqlRow[]): z.output<Shape> {
  return read(shape, rows[0]);
}

function read<Shape extends z.ZodType>(shape: Shape, row: SqlRow | undefined): z.output<Shape> {
  const parsed = shape.safeParse(row);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new CairnError(
    "storage-corrupt",
    `the database holds a row that no node wrote (column ${issue?.path.join(".") || "unknown"}): restore the node from a backup`,
    { column: issue?.path.join(".") ?? "" },
  );
}
