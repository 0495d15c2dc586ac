import {
  type AnchorRow,
  type ApprovalRow,
  type AuditRow,
  type BanRow,
  CairnError,
  type ChangeRow,
  type ChangeVoteRow,
  type CheckpointRow,
  type IdempotencyRow,
  type KeyRow,
  type ManifestRow,
  type NodeStatusRow,
  type OutboxRow,
  type PresignatureRow,
  type ReservationRow,
  type SessionRow,
  type TokenRow,
  type TransactionRow,
  type ViolationRow,
  type VoidRow,
  type VoteRow,
  type VotingRoundRow,
  type WalletRow,
} from "@cairn/core";
import { copyRow } from "./copy-row.ts";

/** Every table of a {@link MemoryDisk}, by the text of its primary key. */
export interface MemoryTables {
  readonly meta: Map<string, { readonly key: string; readonly value: Uint8Array }>;
  readonly manifests: Map<string, ManifestRow>;
  readonly changes: Map<string, ChangeRow>;
  readonly changeVotes: Map<string, ChangeVoteRow>;
  readonly transactions: Map<string, TransactionRow>;
  readonly votingRounds: Map<string, VotingRoundRow>;
  readonly votes: Map<string, VoteRow>;
  readonly voids: Map<string, VoidRow>;
  readonly approvals: Map<string, ApprovalRow>;
  readonly reservations: Map<string, ReservationRow>;
  readonly keys: Map<string, KeyRow>;
  readonly wallets: Map<string, WalletRow>;
  readonly auxiliary: Map<string, { readonly sealed: Uint8Array }>;
  readonly presignatures: Map<string, PresignatureRow>;
  readonly presignatureUsage: Map<string, { readonly counter: number }>;
  readonly sessions: Map<string, SessionRow>;
  /** Session of each execution. */
  readonly executions: Map<string, Pick<SessionRow, "session">>;
  readonly outbox: Map<string, OutboxRow>;
  readonly violations: Map<string, ViolationRow>;
  readonly bans: Map<string, BanRow>;
  readonly nodeStatus: Map<string, NodeStatusRow>;
  readonly idempotency: Map<string, IdempotencyRow>;
  readonly tokens: Map<string, TokenRow>;
  readonly checkpoints: Map<string, CheckpointRow>;
  readonly anchors: Map<string, AnchorRow>;
  readonly auditLog: Map<string, AuditRow>;
  /** Last values of rising numbers. */
  readonly counters: Map<string, number>;
}

/**
 * What a memory store keeps its rows on: it outlives the store, as a disk outlives a process, and one store at a time may
 * hold it. Rows on it are never changed in place, so {@link MemoryDisk.snapshot} is a whole earlier state of the machine.
 */
export class MemoryDisk {
  #tables: MemoryTables = emptyTables();
  #held = false;

  /**
   * Gives the tables to one holder, until it calls `release`.
   * @throws CairnError `storage-locked` while another holds them
   */
  hold(): { readonly tables: MemoryTables; readonly release: () => void } {
    if (this.#held) {
      throw new CairnError("storage-locked", "another store holds this disk: close it first", {});
    }
    this.#held = true;
    let released = false;
    return {
      tables: this.#tables,
      release: () => {
        if (!released) this.#held = false;
        released = true;
      },
    };
  }

  /** A copy of everything as it is now, on a disk that nobody holds. */
  snapshot(): MemoryDisk {
    const copy = new MemoryDisk();
    copy.#tables = copyTables(this.#tables);
    return copy;
  }
}

function emptyTables(): MemoryTables {
  return {
    meta: new Map(),
    manifests: new Map(),
    changes: new Map(),
    changeVotes: new Map(),
    transactions: new Map(),
    votingRounds: new Map(),
    votes: new Map(),
    voids: new Map(),
    approvals: new Map(),
    reservations: new Map(),
    keys: new Map(),
    wallets: new Map(),
    auxiliary: new Map(),
    presignatures: new Map(),
    presignatureUsage: new Map(),
    sessions: new Map(),
    executions: new Map(),
    outbox: new Map(),
    violations: new Map(),
    bans: new Map(),
    nodeStatus: new Map(),
    idempotency: new Map(),
    tokens: new Map(),
    checkpoints: new Map(),
    anchors: new Map(),
    auditLog: new Map(),
    counters: new Map(),
  };
}

function copyTables(tables: MemoryTables): MemoryTables {
  const copy = <Row>(table: ReadonlyMap<string, Row>): Map<string, Row> =>
    new Map([...table].map(([key, row]) => [key, copyRow(row)]));
  return {
    meta: copy(tables.meta),
    manifests: copy(tables.manifests),
    changes: copy(tables.changes),
    changeVotes: copy(tables.changeVotes),
    transactions: copy(tables.transactions),
    votingRounds: copy(tables.votingRounds),
    votes: copy(tables.votes),
    voids: copy(tables.voids),
    approvals: copy(tables.approvals),
    reservations: copy(tables.reservations),
    keys: copy(tables.keys),
    wallets: copy(tables.wallets),
    auxiliary: copy(tables.auxiliary),
    presignatures: copy(tables.presignatures),
    presignatureUsage: copy(tables.presignatureUsage),
    sessions: copy(tables.sessions),
    executions: copy(tables.executions),
    outbox: copy(tables.outbox),
    violations: copy(tables.violations),
    bans: copy(tables.bans),
    nodeStatus: copy(tables.nodeStatus),
    idempotency: copy(tables.idempotency),
    tokens: copy(tables.tokens),
    checkpoints: copy(tables.checkpoints),
    anchors: copy(tables.anchors),
    auditLog: copy(tables.auditLog),
    counters: copy(tables.counters),
  };
}
