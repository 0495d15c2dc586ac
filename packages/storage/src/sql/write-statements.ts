import {
  AUDIT_ROOT,
  type AuditRow,
  type ExecutionId,
  type PresignatureId,
  type PresignatureRow,
  type PresignatureState,
  type SessionId,
  type StoreWrite,
  type UnixMs,
} from "@cairn/core";
import { type RawBuilder, sql } from "kysely";
import { compile, fixedText, queries, upsert } from "./query-compiler.ts";
import type { SqlStatement } from "./sql-executor.ts";

/** What one write of the port is in SQL. */
export function writeStatements(write: StoreWrite): readonly SqlStatement[] {
  switch (write.write) {
    case "meta":
      return [upsert("meta", ["key"], { key: write.key, value: write.value })];
    case "manifest": {
      const { sequence, hash, body } = write.row;
      return [
        compile(
          queries
            .insertInto("manifests")
            .values({ sequence, hash, body })
            .onConflict((conflict) => conflict.column("sequence").doNothing()),
        ),
        compile(
          queries
            .selectFrom("manifests")
            .select("sequence")
            .where("sequence", "=", sequence)
            .where("hash", "=", hash),
          {
            rows: 1,
            code: "wrong-state",
            message: "another manifest already has this sequence number",
            data: { sequence },
          },
        ),
      ];
    }
    case "change": {
      const { row } = write;
      return [
        upsert(
          "changes",
          ["id"],
          {
            id: row.proposal,
            change_type: row.type,
            state: row.state,
            body: row.body,
            certificate: row.commit,
            created_at: row.createdAt,
            expires_at: row.expiry,
            first_seen_at: row.firstSeenAt,
            effective_at: row.effectiveAt,
            updated_at: row.updatedAt,
          },
          ["first_seen_at"],
        ),
      ];
    }
    case "change-vote": {
      const { proposal, node, body, receivedAt } = write.row;
      return [
        compile(
          queries
            .insertInto("change_votes")
            .values({ change_id: proposal, node_id: node, body, received_at: receivedAt })
            .onConflict((conflict) => conflict.columns(["change_id", "node_id"]).doNothing())
            .returning("change_id"),
          {
            rows: 1,
            code: "wrong-state",
            message: "this node's word on this proposal is already recorded",
            data: { proposal, node },
          },
        ),
      ];
    }
    case "transaction": {
      const { row } = write;
      return [
        upsert("transactions", ["id"], {
          id: row.intent,
          txid: row.txid,
          request: row.request,
          lineage: row.lineage,
          wallet: row.wallet,
          state: row.state,
          reason: row.reason,
          unsigned_tx: row.intentBody,
          certificate: row.certificate,
          signed_tx: row.signedTx,
          recipient: row.recipient,
          amount_sats: row.amountSats,
          fee_sats: row.feeSats,
          outpoints: JSON.stringify(row.outpoints),
          metadata: row.metadata,
          created_at: row.createdAt,
          updated_at: row.updatedAt,
          expires_at: row.expiry,
          first_seen_at: row.firstSeenAt,
          confirmed_at: row.confirmedAt,
          confirmations: row.confirmations,
          block_height: row.blockHeight,
          block_hash: row.blockHash,
        }),
      ];
    }
    case "voting-round": {
      const { row } = write;
      return [
        upsert("voting_rounds", ["tx_id", "round"], {
          tx_id: row.intent,
          round: row.round,
          opened_at: row.openedAt,
          deadline: row.deadline,
          outcome: row.outcome,
        }),
      ];
    }
    case "vote": {
      const { row } = write;
      return [
        compile(
          queries
            .insertInto("votes")
            .values({
              tx_id: row.intent,
              round: row.round,
              node_id: row.voter,
              approve: row.approve ? 1 : 0,
              reason: row.reason,
              value: row.body,
              signature: row.signature,
              received_at: row.receivedAt,
            })
            .onConflict((conflict) => conflict.columns(["tx_id", "round", "node_id"]).doNothing())
            .returning("tx_id"),
          {
            rows: 1,
            code: "wrong-state",
            message: "this node's vote in this round is already recorded",
            data: { intent: row.intent, round: row.round, voter: row.voter },
          },
        ),
      ];
    }
    case "void": {
      const { row } = write;
      return [
        upsert("voids", ["tx_id", "node_id"], { tx_id: row.intent, node_id: row.node, body: row.body }),
      ];
    }
    case "approval": {
      const { request, approver, body, expiry } = write.row;
      return [
        upsert("spend_approvals", ["request", "approver"], { request, approver, body, expires_at: expiry }),
      ];
    }
    case "approval-expiry":
      return [compile(queries.deleteFrom("spend_approvals").where("expires_at", "<=", write.at))];
    case "reservation": {
      const { row } = write;
      return [
        upsert("reservations", ["lineage"], {
          lineage: row.lineage,
          wallet: row.wallet,
          amount_sats: row.amountSats,
          // MAX_MONEY is below 2⁵³: a JSON number holds every amount exactly.
          destinations: JSON.stringify(
            row.destinations.map(({ address, amountSats }) => ({ address, amountSats: Number(amountSats) })),
          ),
          intents: JSON.stringify(row.intents),
          reserved_at: row.reservedAt,
          freed_at: row.freedAt,
        }),
      ];
    }
    case "key": {
      const { row } = write;
      return [
        upsert("keys", ["id"], {
          id: row.keyId,
          protocol: row.protocol,
          purpose: row.purpose,
          epoch: row.epoch,
          status: row.status,
          request: row.request,
          public_package: row.publicPackage,
          sealed_share: row.sealedShare,
          reason: row.reason,
          created_at: row.createdAt,
          updated_at: row.updatedAt,
        }),
      ];
    }
    case "wallet": {
      const { row } = write;
      return [
        upsert("wallets", ["id"], {
          id: row.wallet,
          key_id: row.keyId,
          label: row.label,
          record: row.record,
          created_at: row.createdAt,
        }),
      ];
    }
    case "auxiliary":
      return [upsert("auxiliary", ["parties"], { parties: write.parties, sealed: write.sealed })];
    case "presignature":
      return [presignatureInsert(write.row)];
    case "presignature-state":
      return presignatureStateChange(write);
    case "session": {
      const { row } = write;
      return [
        ...(row.execution === null ? [] : [executionUnused(row.session, row.execution)]),
        upsert("sessions", ["id"], {
          id: row.session,
          purpose: row.purpose,
          subject: row.subject,
          attempt: row.attempt,
          initiator: row.initiator,
          signers: JSON.stringify(row.signers),
          state: row.state,
          execution: row.execution,
          failure: row.failure,
          started_at: row.startedAt,
          ended_at: row.endedAt,
        }),
      ];
    }
    case "outbox": {
      const { to, id, kind, message, createdAt } = write.row;
      // Raw, because the database gives `seq`.
      const insert = () => sql`insert into outbox (node_id, message_id, kind, message, created_at)
values (${to}, ${id}, ${kind}, ${message}, ${createdAt})
on conflict (node_id, message_id) do nothing`;
      return [fixedText("outbox", insert, [to, id, kind, message, createdAt])];
    }
    case "outbox-done": {
      const { to, id } = write;
      const remove = () =>
        queries.deleteFrom("outbox").where("node_id", "=", to).where("message_id", "=", id);
      return [fixedText("outbox-done", remove, [to, id])];
    }
    case "violation": {
      const { row } = write;
      return [
        upsert("byzantine_violations", ["id"], {
          id: row.id,
          node_id: row.node,
          violation_type: row.type,
          tx_id: row.subject,
          evidence: row.evidence,
          action_taken: row.action,
          detected_at: row.detectedAt,
        }),
      ];
    }
    case "ban": {
      const { row } = write;
      return [
        upsert("bans", ["node_id", "violation"], {
          node_id: row.node,
          violation: row.violation,
          banned_from: row.from,
          banned_until: row.until,
          scope: row.scope,
          count: row.count,
          lifted_at: row.liftedAt,
        }),
      ];
    }
    case "node-status": {
      const { row } = write;
      return [
        upsert("node_status", ["node_id"], {
          node_id: row.node,
          last_seen: row.lastSeen,
          epoch: row.epoch,
          burn_counter: row.burnCounter,
          audit_length: row.auditLength,
          audit_head: row.auditHead,
          answer: row.answer,
        }),
      ];
    }
    case "checkpoint":
      return [upsert("checkpoints", ["sequence"], { ...write.row })];
    case "anchor": {
      const { createdAt, ...row } = write.row;
      return [upsert("anchors", ["intent"], { ...row, created_at: createdAt })];
    }
    case "idempotency": {
      const { row } = write;
      return [
        upsert("idempotency", ["scope", "key"], {
          scope: row.scope,
          key: row.key,
          request: row.request,
          status: row.status,
          response: row.response,
          created_at: row.createdAt,
        }),
      ];
    }
    case "idempotency-expiry":
      return [compile(queries.deleteFrom("idempotency").where("created_at", "<", write.before))];
    case "token": {
      const { row } = write;
      return [
        upsert("tokens", ["hash"], {
          hash: row.hash,
          name: row.name,
          role: row.role,
          created_at: row.createdAt,
          expires_at: row.expiresAt,
          revoked_at: row.revokedAt,
        }),
      ];
    }
    case "audit":
      return [auditAppend(write.row)];
  }
}

function executionUnused(session: SessionId, execution: ExecutionId): SqlStatement {
  const others = queries.selectFrom("sessions").select("id").where("execution", "=", execution);
  return compile(others.where("id", "!=", session), {
    rows: 0,
    code: "replayed",
    message: "an earlier session had this execution",
    data: { session, execution },
  });
}

/** Burns a presignature; the last statement returns the `counter` of the burn. */
export function burnStatements(id: PresignatureId, session: SessionId, at: UnixMs): readonly SqlStatement[] {
  const data = { presignature: id };
  const found = queries.selectFrom("presignatures").select("id").where("id", "=", id);
  return [
    compile(found, {
      rows: 1,
      code: "not-found",
      message: "there is no such presignature at this node",
      data,
    }),
    compile(found.where("state", "in", ["burned", "discarded"]), {
      rows: 0,
      code: "presignature-used",
      message: "this presignature was burned or discarded before: take another",
      data,
    }),
    compile(
      queries
        .updateTable("presignatures")
        .set({ state: "burned", used_by: session, burned_at: at, burn_counter: nextBurn })
        .where("id", "=", id)
        .where("state", "=", "ready")
        .returning("id"),
      {
        rows: 1,
        code: "wrong-state",
        message: "the presignature is not ready: its signers have not all confirmed it",
        data,
      },
    ),
    compile(
      queries
        .insertInto("presignature_usage")
        .values({ counter: nextBurn, presignature_id: id, session, burned_at: at })
        .returning("counter"),
    ),
  ];
}

/** Removes the secret half of what was burned: no session outlives its process, so nobody can still need it. */
export function wipeStatement(): SqlStatement {
  return compile(sql`update presignatures set sealed = ${new Uint8Array()}
where state = 'burned' and length(sealed) > 0`);
}

const nextBurn: RawBuilder<number> = sql`(select coalesce(max(counter), 0) + 1 from presignature_usage)`;

function presignatureInsert(row: PresignatureRow): SqlStatement {
  const { id } = row;
  const state: PresignatureState | null = row.state === "pending" || row.state === "ready" ? row.state : null;
  const data = { presignature: id };
  if (state === null) {
    return compile(sql`select 1 where 1 = 0`, {
      rows: 1,
      code: "wrong-state",
      message: "a new presignature is pending or ready",
      data,
    });
  }
  return compile(
    queries
      .insertInto("presignatures")
      .values({
        id,
        key_id: row.keyId,
        path_change: row.path[0],
        path_index: row.path[1],
        epoch: row.epoch,
        signers: JSON.stringify(row.signers),
        state,
        sealed: row.sealed,
        public_data: row.publicData,
        acceptances: row.acceptances,
        session: row.session,
        used_by: null,
        burn_counter: null,
        created_at: row.createdAt,
        burned_at: null,
      })
      .onConflict((conflict) => conflict.column("id").doNothing())
      .returning("id"),
    { rows: 1, code: "wrong-state", message: "a presignature with this id exists already", data },
  );
}

function presignatureStateChange(
  write: Extract<StoreWrite, { readonly write: "presignature-state" }>,
): readonly SqlStatement[] {
  const { id, state } = write;
  const data = { presignature: id };
  const from: readonly PresignatureState[] = state === "ready" ? ["pending"] : ["pending", "ready"];
  return [
    compile(
      queries.selectFrom("presignatures").select("id").where("id", "=", id).where("state", "=", "burned"),
      {
        rows: 0,
        code: "presignature-used",
        message: "the presignature is burned: it never changes again",
        data,
      },
    ),
    compile(
      queries
        .updateTable("presignatures")
        .set(
          write.state === "discarded"
            ? { state, sealed: new Uint8Array() }
            : { state, acceptances: write.acceptances },
        )
        .where("id", "=", id)
        .where("state", "in", from)
        .returning("id"),
      { rows: 1, code: "wrong-state", message: `the presignature cannot become ${state}`, data },
    ),
  ];
}

function auditAppend(row: AuditRow): SqlStatement {
  const head = sql`(select hash from audit_log order by seq desc limit 1)`;
  return compile(
    sql`insert into audit_log (seq, at, kind, grant_id, body, previous, hash, signature)
select ${row.seq}, ${row.at}, ${row.kind}, ${row.grant}, ${row.body}, ${row.previous}, ${row.hash}, ${row.signature}
where (select coalesce(max(seq) + 1, 0) from audit_log) = ${row.seq}
and coalesce(${head}, ${AUDIT_ROOT}) = ${row.previous}
returning seq`,
    {
      rows: 1,
      code: "wrong-state",
      message: "the audit entry does not follow the head of the log",
      data: { seq: row.seq },
    },
  );
}
