import {
  type AnchorRow,
  type ApprovalRow,
  AUDIT_ROOT,
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
  type PresignatureState,
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
import { copyRow } from "./copy-row.ts";
import { MemoryDisk, type MemoryTables } from "./memory-disk.ts";

/**
 * What befalls a commit (a burn is one): `lost` leaves the disk as it was, `unacknowledged` writes and then fails, as a
 * machine does that stops between the two; either way the store has failed and must be opened anew. `full` refuses this
 * commit alone.
 */
export type MemoryFault = "lost" | "unacknowledged" | "full";

export interface MemoryStoreOptions {
  /** Kept over the life of several stores; a new one by default. */
  readonly disk?: MemoryDisk;
  /** Asked at each commit with its number, from 1; null lets it pass. */
  readonly fault?: (commit: number) => MemoryFault | null;
}

/**
 * A {@link NodeStore} in memory: the twin of the sqlite store for simulation and tests. Each call takes effect when it is
 * made and settles in the next microtask, so a run depends on nothing but the order of calls.
 * @throws CairnError `storage-locked` while another store holds the disk
 */
export function openMemoryStore(options: MemoryStoreOptions = {}): NodeStore {
  return new MemoryStore(options.disk ?? new MemoryDisk(), options.fault ?? (() => null));
}

class MemoryStore implements NodeStore {
  readonly #tables: MemoryTables;
  readonly #release: () => void;
  readonly #fault: (commit: number) => MemoryFault | null;
  #commits = 0;
  #stopped: CairnError | null = null;

  constructor(disk: MemoryDisk, fault: (commit: number) => MemoryFault | null) {
    const { tables, release } = disk.hold();
    this.#tables = tables;
    this.#release = release;
    this.#fault = fault;
    // No session outlives its process, so nobody can still need the secret half of what was burned.
    for (const [id, row] of tables.presignatures) {
      if (row.state === "burned") tables.presignatures.set(id, { ...row, sealed: new Uint8Array() });
    }
  }

  async commit(writes: readonly StoreWrite[]): Promise<void> {
    if (writes.length === 0) return this.#read(() => undefined);
    this.#atomically((change) => {
      for (const write of writes) apply(change, copyRow(write));
    });
  }

  async burn(id: PresignatureId, session: SessionId, at: UnixMs): Promise<number> {
    return this.#atomically((change) => {
      const row = this.#tables.presignatures.get(id);
      if (row === undefined) {
        throw new CairnError("not-found", "there is no such presignature at this node", { presignature: id });
      }
      if (this.#tables.presignatureUsage.has(id) || row.state === "burned" || row.state === "discarded") {
        throw new CairnError(
          "presignature-used",
          "this presignature was burned or discarded before: take another",
          {
            presignature: id,
          },
        );
      }
      if (row.state === "pending") {
        throw new CairnError(
          "wrong-state",
          "the presignature is not ready: its signers have not all confirmed it",
          {
            presignature: id,
          },
        );
      }
      const counter = change.next("burn");
      change.set(this.#tables.presignatures, id, {
        ...row,
        state: "burned",
        usedBy: session,
        burnCounter: counter,
        burnedAt: at,
      });
      change.set(this.#tables.presignatureUsage, id, { counter });
      return counter;
    });
  }

  async meta(key: string): Promise<Uint8Array | null> {
    return this.#read((tables) => tables.meta.get(key)?.value ?? null);
  }

  async manifests(): Promise<readonly ManifestRow[]> {
    return this.#read((tables) => sorted(tables.manifests, (row) => [row.sequence]));
  }

  async change(proposal: HashHex): Promise<ChangeRow | null> {
    return this.#read((tables) => tables.changes.get(proposal) ?? null);
  }

  async changes({ states, limit }: ChangeQuery): Promise<readonly ChangeRow[]> {
    return this.#read((tables) =>
      sorted(
        [...tables.changes.values()].filter((row) => states === undefined || states.includes(row.state)),
        (row) => [row.createdAt, row.proposal],
      )
        .reverse()
        .slice(0, limit),
    );
  }

  async changeVotes(proposal: HashHex): Promise<readonly ChangeVoteRow[]> {
    return this.#read((tables) =>
      sorted(
        [...tables.changeVotes.values()].filter((row) => row.proposal === proposal),
        (row) => [row.node],
      ),
    );
  }

  async transaction(
    by: { readonly intent: IntentHash } | { readonly txid: Txid },
  ): Promise<TransactionRow | null> {
    return this.#read((tables) => {
      if ("intent" in by) return tables.transactions.get(by.intent) ?? null;
      const same = [...tables.transactions.values()].filter((row) => row.txid === by.txid);
      return sorted(same, signedFirst)[0] ?? null;
    });
  }

  async transactions(query: TransactionQuery): Promise<readonly TransactionRow[]> {
    return this.#read((tables) => {
      const { wallet, states, since, until, before } = query;
      const found = [...tables.transactions.values()].filter(
        (row) =>
          (wallet === undefined || row.wallet === wallet) &&
          (states === undefined || states.includes(row.state)) &&
          (since === undefined || row.createdAt >= since) &&
          (until === undefined || row.createdAt < until) &&
          (before === undefined ||
            compare([row.createdAt, row.intent], [before.createdAt, before.intent]) < 0),
      );
      return sorted(found, (row) => [row.createdAt, row.intent])
        .reverse()
        .slice(0, query.limit);
    });
  }

  async transactionsOfLineage(lineage: LineageId): Promise<readonly TransactionRow[]> {
    return this.#read((tables) =>
      sorted(
        [...tables.transactions.values()].filter((row) => row.lineage === lineage),
        firstSeen,
      ),
    );
  }

  async transactionMarks({ after, limit }: TransactionMarkQuery): Promise<readonly TransactionMark[]> {
    return this.#read((tables) => {
      const order = (row: Pick<TransactionRow, "updatedAt" | "intent">): Key => [row.updatedAt, row.intent];
      const left = [...tables.transactions.values()].filter(
        (row) => after === null || compare(order(row), order(after)) > 0,
      );
      return sorted(left, order)
        .slice(0, limit)
        .map(({ intent, updatedAt, certificate, signedTx }) => ({
          intent,
          updatedAt,
          certified: certificate !== null,
          signed: signedTx !== null,
        }));
    });
  }

  async transactionOfRequest(request: RequestHash): Promise<TransactionRow | null> {
    return this.#read((tables) => {
      const same = [...tables.transactions.values()].filter((row) => row.request === request);
      return sorted(same, signedFirst)[0] ?? null;
    });
  }

  async votes(intent: IntentHash): Promise<readonly VoteRow[]> {
    return this.#read((tables) =>
      sorted(
        [...tables.votes.values()].filter((row) => row.intent === intent),
        (row) => [row.round, row.voter],
      ),
    );
  }

  async votingRounds(intent: IntentHash): Promise<readonly VotingRoundRow[]> {
    return this.#read((tables) =>
      sorted(
        [...tables.votingRounds.values()].filter((row) => row.intent === intent),
        (row) => [row.round],
      ),
    );
  }

  async voids(intent: IntentHash): Promise<readonly VoidRow[]> {
    return this.#read((tables) =>
      sorted(
        [...tables.voids.values()].filter((row) => row.intent === intent),
        (row) => [row.node],
      ),
    );
  }

  async approvals(request?: RequestHash): Promise<readonly ApprovalRow[]> {
    return this.#read((tables) =>
      sorted(
        [...tables.approvals.values()].filter((row) => request === undefined || row.request === request),
        (row) => [row.request, row.approver],
      ),
    );
  }

  async reservation(lineage: LineageId): Promise<ReservationRow | null> {
    return this.#read((tables) => tables.reservations.get(lineage) ?? null);
  }

  async openReservations(): Promise<readonly ReservationRow[]> {
    return this.#read((tables) =>
      sorted(
        [...tables.reservations.values()].filter((row) => row.freedAt === null),
        (row) => [row.reservedAt, row.lineage],
      ),
    );
  }

  async endedReservations(query: {
    readonly since: UnixMs;
    readonly after?: Pick<ReservationRow, "reservedAt" | "lineage">;
    readonly limit: number;
  }): Promise<readonly ReservationRow[]> {
    const { since, after, limit } = query;
    return this.#read((tables) =>
      sorted(
        [...tables.reservations.values()].filter(
          (row) =>
            row.freedAt !== null &&
            row.reservedAt > since &&
            (after === undefined ||
              compare([row.reservedAt, row.lineage], [after.reservedAt, after.lineage]) > 0),
        ),
        (row) => [row.reservedAt, row.lineage],
      ).slice(0, limit),
    );
  }

  async keys(): Promise<readonly KeyRow[]> {
    return this.#read((tables) => sorted(tables.keys, (row) => [row.createdAt, row.keyId]));
  }

  async key(keyId: KeyId): Promise<KeyRow | null> {
    return this.#read((tables) => tables.keys.get(keyId) ?? null);
  }

  async wallets(): Promise<readonly WalletRow[]> {
    return this.#read((tables) => sorted(tables.wallets, (row) => [row.createdAt, row.wallet]));
  }

  async auxiliary(parties: HashHex): Promise<Uint8Array | null> {
    return this.#read((tables) => tables.auxiliary.get(parties)?.sealed ?? null);
  }

  async presignature(id: PresignatureId): Promise<PresignatureRow | null> {
    return this.#read((tables) => tables.presignatures.get(id) ?? null);
  }

  async presignatures(query: PresignatureQuery): Promise<readonly PresignatureRow[]> {
    return this.#read((tables) => {
      const { keyId, path, state, newest } = query;
      const found = [...tables.presignatures.values()].filter(
        (row) =>
          (keyId === undefined || row.keyId === keyId) &&
          (path === undefined || (row.path[0] === path[0] && row.path[1] === path[1])) &&
          (state === undefined || row.state === state),
      );
      const oldestFirst = sorted(found, (row) => [row.createdAt, row.id]);
      if (newest === undefined) return oldestFirst;
      const { before, limit } = newest;
      return oldestFirst
        .filter(
          (row) =>
            before === undefined || compare([row.createdAt, row.id], [before.createdAt, before.id]) < 0,
        )
        .reverse()
        .slice(0, limit);
    });
  }

  async burnCounter(): Promise<number> {
    return this.#read((tables) => tables.counters.get("burn") ?? 0);
  }

  async session(id: SessionId): Promise<SessionRow | null> {
    return this.#read((tables) => tables.sessions.get(id) ?? null);
  }

  async sessions(query: SessionQuery): Promise<readonly SessionRow[]> {
    return this.#read((tables) => {
      const { subject, live, purpose, since, until, before, limit } = query;
      const found = [...tables.sessions.values()].filter(
        (row) =>
          (subject === undefined || row.subject === subject) &&
          (live === undefined || (row.endedAt === null) === live) &&
          (purpose === undefined || row.purpose === purpose) &&
          (since === undefined || row.startedAt >= since) &&
          (until === undefined || row.startedAt < until) &&
          (before === undefined ||
            compare([row.startedAt, row.session], [before.startedAt, before.session]) < 0),
      );
      return sorted(found, (row) => [row.startedAt, row.session])
        .reverse()
        .slice(0, limit);
    });
  }

  async outbox(query: {
    readonly to?: NodeIndex;
    readonly limit: number;
    readonly after?: number;
  }): Promise<readonly OutboxRow[]> {
    return this.#read((tables) => {
      const { to, after } = query;
      const found = [...tables.outbox.values()].filter(
        (row) => (to === undefined || row.to === to) && (after === undefined || row.seq > after),
      );
      return sorted(found, (row) => [row.seq]).slice(0, query.limit);
    });
  }

  async violations(query: {
    readonly id?: HashHex;
    readonly node?: NodeIndex;
    readonly limit: number;
  }): Promise<readonly ViolationRow[]> {
    return this.#read((tables) => {
      const found = [...tables.violations.values()].filter(
        (row) =>
          (query.id === undefined || row.id === query.id) &&
          (query.node === undefined || row.node === query.node),
      );
      return sorted(found, (row) => [row.detectedAt, row.id])
        .reverse()
        .slice(0, query.limit);
    });
  }

  async bans(): Promise<readonly BanRow[]> {
    return this.#read((tables) => sorted(tables.bans, (row) => [row.from, row.node, row.violation]));
  }

  async nodeStatuses(): Promise<readonly NodeStatusRow[]> {
    return this.#read((tables) => sorted(tables.nodeStatus, (row) => [row.node]));
  }

  async idempotency(scope: string, key: string): Promise<IdempotencyRow | null> {
    return this.#read((tables) => tables.idempotency.get(keyText(scope, key)) ?? null);
  }

  async tokens(): Promise<readonly TokenRow[]> {
    return this.#read((tables) => sorted(tables.tokens, (row) => [row.createdAt, row.hash]));
  }

  async checkpointHead(): Promise<CheckpointRow | null> {
    return (await this.#read((tables) => sorted(tables.checkpoints, (row) => [row.sequence]))).at(-1) ?? null;
  }

  async checkpoints({
    from,
    limit,
  }: {
    readonly from: number;
    readonly limit: number;
  }): Promise<readonly CheckpointRow[]> {
    const rows = await this.#read((tables) => sorted(tables.checkpoints, (row) => [row.sequence]));
    return rows.filter(({ sequence }) => sequence >= from).slice(0, limit);
  }

  async anchors({
    from = 0,
    since,
    limit,
  }: {
    readonly from?: number;
    readonly since?: UnixMs;
    readonly limit: number;
  }): Promise<readonly AnchorRow[]> {
    const rows = await this.#read((tables) =>
      sorted(tables.anchors, (row) => [row.sequence, row.createdAt, row.intent]),
    );
    return rows
      .filter((row) => row.sequence >= from && (since === undefined || row.createdAt >= since))
      .slice(0, limit);
  }

  async auditHead(): Promise<AuditRow | null> {
    return this.#read((tables) => tables.auditLog.get(String(tables.auditLog.size - 1)) ?? null);
  }

  async audit(query: {
    readonly from: number;
    readonly limit: number;
    readonly kind?: string;
  }): Promise<readonly AuditRow[]> {
    return this.#read((tables) =>
      sorted(
        [...tables.auditLog.values()].filter(
          (row) => row.seq >= query.from && (query.kind === undefined || row.kind === query.kind),
        ),
        (row) => [row.seq],
      ).slice(0, query.limit),
    );
  }

  async close(): Promise<void> {
    this.#stopped ??= new CairnError("closed", "the store is closed", {});
    this.#release();
  }

  #read<T>(read: (tables: MemoryTables) => T): T {
    if (this.#stopped !== null) throw this.#stopped;
    return copyRow(read(this.#tables));
  }

  #atomically<T>(run: (change: Change) => T): T {
    if (this.#stopped !== null) throw this.#stopped;
    this.#commits += 1;
    const fault = this.#fault(this.#commits);
    if (fault === "full") {
      throw new CairnError("storage-full", "the disk is full: free space for the node's database", {});
    }
    if (fault === "lost") throw this.#fail();
    const change = new Change(this.#tables);
    let result: T;
    try {
      result = run(change);
    } catch (cause) {
      change.undo();
      throw cause;
    }
    if (fault === "unacknowledged") throw this.#fail();
    return result;
  }

  #fail(): CairnError {
    this.#stopped = new CairnError(
      "storage-failed",
      "the disk failed while writing: whether the last commit is kept shows when the node starts again",
      {},
    );
    return this.#stopped;
  }
}

/** Changes of one commit, each with the way back. */
class Change {
  readonly tables: MemoryTables;
  readonly #undo: (() => void)[] = [];

  constructor(tables: MemoryTables) {
    this.tables = tables;
  }

  set<Row>(table: Map<string, Row>, key: string, row: Row): void {
    const before = table.get(key);
    this.#undo.push(() => {
      if (before === undefined) table.delete(key);
      else table.set(key, before);
    });
    table.set(key, row);
  }

  delete<Row>(table: Map<string, Row>, key: string): void {
    const before = table.get(key);
    if (before === undefined) return;
    this.#undo.push(() => table.set(key, before));
    table.delete(key);
  }

  /** The next value of a rising number, from 1. */
  next(counter: string): number {
    const value = (this.tables.counters.get(counter) ?? 0) + 1;
    this.set(this.tables.counters, counter, value);
    return value;
  }

  undo(): void {
    for (const undo of this.#undo.reverse()) undo();
  }
}

function apply(change: Change, write: StoreWrite): void {
  const { tables } = change;
  switch (write.write) {
    case "meta":
      change.set(tables.meta, write.key, { key: write.key, value: write.value });
      return;
    case "manifest": {
      const key = String(write.row.sequence);
      const present = tables.manifests.get(key);
      if (present?.hash === write.row.hash) return;
      if (present !== undefined) {
        throw new CairnError("wrong-state", "another manifest already has this sequence number", {
          sequence: write.row.sequence,
        });
      }
      change.set(tables.manifests, key, write.row);
      return;
    }
    case "change": {
      const { row } = write;
      const known = tables.changes.get(row.proposal);
      change.set(
        tables.changes,
        row.proposal,
        known === undefined ? row : { ...row, firstSeenAt: known.firstSeenAt },
      );
      return;
    }
    case "change-vote": {
      const { proposal, node } = write.row;
      const key = keyText(proposal, node);
      if (tables.changeVotes.has(key)) {
        throw new CairnError("wrong-state", "this node's word on this proposal is already recorded", {
          proposal,
          node,
        });
      }
      change.set(tables.changeVotes, key, write.row);
      return;
    }
    case "transaction":
      change.set(tables.transactions, write.row.intent, write.row);
      return;
    case "voting-round":
      change.set(tables.votingRounds, keyText(write.row.intent, write.row.round), write.row);
      return;
    case "vote": {
      const { intent, round, voter } = write.row;
      const key = keyText(intent, round, voter);
      if (tables.votes.has(key)) {
        throw new CairnError("wrong-state", "this node's vote in this round is already recorded", {
          intent,
          round,
          voter,
        });
      }
      change.set(tables.votes, key, write.row);
      return;
    }
    case "void":
      change.set(tables.voids, keyText(write.row.intent, write.row.node), write.row);
      return;
    case "approval":
      change.set(tables.approvals, keyText(write.row.request, write.row.approver), write.row);
      return;
    case "approval-expiry":
      for (const [key, row] of tables.approvals) {
        if (row.expiry <= write.at) change.delete(tables.approvals, key);
      }
      return;
    case "reservation":
      change.set(tables.reservations, write.row.lineage, write.row);
      return;
    case "key":
      change.set(tables.keys, write.row.keyId, write.row);
      return;
    case "wallet":
      change.set(tables.wallets, write.row.wallet, write.row);
      return;
    case "auxiliary":
      change.set(tables.auxiliary, write.parties, { sealed: write.sealed });
      return;
    case "presignature": {
      const { id, state } = write.row;
      if (tables.presignatures.has(id)) {
        throw new CairnError("wrong-state", "a presignature with this id exists already", {
          presignature: id,
        });
      }
      if (state !== "pending" && state !== "ready") {
        throw new CairnError("wrong-state", "a new presignature is pending or ready", { presignature: id });
      }
      change.set(tables.presignatures, id, {
        ...write.row,
        usedBy: null,
        burnCounter: null,
        burnedAt: null,
      });
      return;
    }
    case "presignature-state": {
      const row = tables.presignatures.get(write.id);
      if (row?.state === "burned") {
        throw new CairnError("presignature-used", "the presignature is burned: it never changes again", {
          presignature: write.id,
        });
      }
      const from: readonly PresignatureState[] = write.state === "ready" ? ["pending"] : ["pending", "ready"];
      if (row === undefined || !from.includes(row.state)) {
        throw new CairnError("wrong-state", `the presignature cannot become ${write.state}`, {
          presignature: write.id,
        });
      }
      const sealed = write.state === "discarded" ? new Uint8Array() : row.sealed;
      const acceptances = write.state === "ready" ? write.acceptances : row.acceptances;
      change.set(tables.presignatures, write.id, { ...row, state: write.state, sealed, acceptances });
      return;
    }
    case "session": {
      const { session, execution } = write.row;
      if (execution !== null) {
        const earlier = tables.executions.get(execution);
        if (earlier !== undefined && earlier.session !== session) {
          throw new CairnError("replayed", "an earlier session had this execution", { session, execution });
        }
        change.set(tables.executions, execution, { session });
      }
      change.set(tables.sessions, session, write.row);
      return;
    }
    case "outbox": {
      const key = keyText(write.row.to, write.row.id);
      if (tables.outbox.has(key)) return;
      change.set(tables.outbox, key, { ...write.row, seq: change.next("outbox") });
      return;
    }
    case "outbox-done":
      change.delete(tables.outbox, keyText(write.to, write.id));
      return;
    case "violation":
      change.set(tables.violations, write.row.id, write.row);
      return;
    case "ban":
      change.set(tables.bans, keyText(write.row.node, write.row.violation), write.row);
      return;
    case "node-status":
      change.set(tables.nodeStatus, String(write.row.node), write.row);
      return;
    case "checkpoint":
      change.set(tables.checkpoints, String(write.row.sequence), write.row);
      return;
    case "anchor":
      change.set(tables.anchors, write.row.intent, write.row);
      return;
    case "idempotency":
      change.set(tables.idempotency, keyText(write.row.scope, write.row.key), write.row);
      return;
    case "idempotency-expiry":
      for (const [key, row] of tables.idempotency) {
        if (row.createdAt < write.before) change.delete(tables.idempotency, key);
      }
      return;
    case "token":
      change.set(tables.tokens, write.row.hash, write.row);
      return;
    case "audit": {
      const head = tables.auditLog.get(String(tables.auditLog.size - 1));
      if (write.row.seq !== tables.auditLog.size || write.row.previous !== (head?.hash ?? AUDIT_ROOT)) {
        throw new CairnError("wrong-state", "the audit entry does not follow the head of the log", {
          seq: write.row.seq,
          length: tables.auditLog.size,
        });
      }
      change.set(tables.auditLog, String(write.row.seq), write.row);
      return;
    }
  }
}

type Key = readonly (string | number)[];

function firstSeen(row: TransactionRow): Key {
  return [row.firstSeenAt, row.intent];
}

/** Of several that mean the same payment, the one that is signed stands for it. */
function signedFirst(row: TransactionRow): Key {
  return [row.signedTx === null ? 1 : 0, ...firstSeen(row)];
}

/** One text for a key of several parts, which no other key shares. */
function keyText(...parts: Key): string {
  return JSON.stringify(parts);
}

function sorted<Row>(rows: Iterable<Row> | ReadonlyMap<string, Row>, key: (row: Row) => Key): Row[] {
  const values = rows instanceof Map ? rows.values() : rows;
  return [...(values as Iterable<Row>)].sort((a, b) => compare(key(a), key(b)));
}

function compare(a: Key, b: Key): number {
  for (let i = 0; i < a.length; i += 1) {
    const left = a[i] ?? "";
    const right = b[i] ?? "";
    if (left !== right) return left < right ? -1 : 1;
  }
  return 0;
}
