import type { ChainSource } from "@cairn/bitcoin";
import { intentSchema } from "@cairn/consensus";
import {
  type AnchorRow,
  AUDIT_ROOT,
  type AuditAnchor,
  auditAnchorLine,
  auditCheckpointLine,
  auditEntryLine,
  auditEntrySchema,
  auditHeaderLine,
  auditManifestLine,
  decodeCanonical,
  type IntentHash,
  type NodeStore,
  signedCheckpointSchema,
} from "@cairn/core";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import { timeText } from "../time-text.ts";

/** Lines of one page of an export. */
const EXPORT_PAGE = 1_000;
const EXPORT_CHECKPOINTS = 100;
/** The chain source is asked for each. */
const EXPORT_ANCHORS = 20;
const ANCHORS_PAGE = 200;
/** Anchors of one checkpoint, which stand on one page. */
const MAX_TOGETHER = 1_000;

/** Endpoints of the audit log. */
export function auditHandlers({
  store,
  me,
  manifest,
  chain,
}: Pick<ApiModules, "store" | "me" | "manifest" | "chain">): Pick<
  Handlers,
  "listAudit" | "listAnchors" | "exportAudit"
> {
  return {
    async listAudit({ query }) {
      const found = await store.audit({
        from: query.from,
        limit: query.limit + 1,
        ...(query.kind === undefined ? {} : { kind: query.kind }),
      });
      const rows = found.slice(0, query.limit);
      return {
        entries: rows.map(({ seq, at, kind, body, hash }) => {
          const { subject, data } = decodeCanonical(auditEntrySchema, body);
          return { seq, at: timeText(at), kind, subject, data, hash };
        }),
        next: found[query.limit]?.seq ?? null,
      };
    },

    async listAnchors({ query: { from } }) {
      const { rows, next } = await anchorPage(store, from, ANCHORS_PAGE);
      const found = await Promise.all(
        rows.map(async (row) => ({ row, transaction: await store.transaction({ intent: row.intent }) })),
      );
      return {
        anchors: found.flatMap(({ row, transaction }) =>
          transaction === null
            ? []
            : {
                sequence: row.sequence,
                checkpoint: row.checkpoint,
                txid: row.txid,
                createdAt: timeText(row.createdAt),
                state: transaction.state,
                confirmations: transaction.confirmations,
                blockHeight: transaction.blockHeight,
                blockHash: transaction.blockHash,
              },
        ),
        next,
      };
    },

    async exportAudit({ query: { part, from, length = Number.MAX_SAFE_INTEGER } }) {
      switch (part) {
        case "header": {
          const head = await store.auditHead();
          const line = auditHeaderLine({
            cluster: manifest.cluster,
            node: me,
            length: head === null ? 0 : head.seq + 1,
            head: head?.hash ?? AUDIT_ROOT,
          });
          return { lines: [line], next: null };
        }
        case "manifests":
          return { lines: (await store.manifests()).map(auditManifestLine), next: null };
        case "checkpoints": {
          const rows = await store.checkpoints({ from, limit: EXPORT_CHECKPOINTS });
          const within = rows.filter(({ body }) => {
            const { checkpoint } = decodeCanonical(signedCheckpointSchema, body);
            return (checkpoint.heads[me - 1]?.length ?? 0) <= length;
          });
          const last = rows.at(EXPORT_CHECKPOINTS - 1);
          return {
            lines: within.map(auditCheckpointLine),
            next: last === undefined ? null : last.sequence + 1,
          };
        }
        case "anchors": {
          const { rows, next } = await anchorPage(store, from, EXPORT_ANCHORS);
          const found = await Promise.all(rows.map(({ intent }) => exportedAnchor(store, chain, intent)));
          const within = found.filter(
            (anchor) =>
              anchor !== null && (anchor.checkpoint.checkpoint.heads[me - 1]?.length ?? 0) <= length,
          );
          return {
            lines: within.flatMap((anchor) => (anchor === null ? [] : auditAnchorLine(anchor))),
            next,
          };
        }
        case "entries": {
          const limit = Math.min(EXPORT_PAGE, length - from);
          const rows = limit <= 0 ? [] : await store.audit({ from, limit });
          const next = from + rows.length;
          return { lines: rows.map(auditEntryLine), next: rows.length === 0 || next >= length ? null : next };
        }
      }
    },
  };
}

/** Rows from a checkpoint on, whole checkpoints at a time. */
async function anchorPage(
  store: Pick<NodeStore, "anchors">,
  from: number,
  limit: number,
): Promise<{ readonly rows: readonly AnchorRow[]; readonly next: number | null }> {
  const rows = await store.anchors({ from, limit: limit + MAX_TOGETHER });
  const last = rows[limit - 1];
  const beyond = last === undefined ? undefined : rows.find(({ sequence }) => sequence > last.sequence);
  if (beyond === undefined) return { rows, next: null };
  return { rows: rows.filter(({ sequence }) => sequence < beyond.sequence), next: beyond.sequence };
}

/** A signed transaction's anchor with what proves its block, as far as the chain source can say; null for a transaction that is not signed. */
async function exportedAnchor(
  store: Pick<NodeStore, "transaction">,
  chain: Pick<ChainSource, "inclusion">,
  intent: IntentHash,
): Promise<AuditAnchor | null> {
  const row = await store.transaction({ intent });
  if (row === null || row.signedTx === null) return null;
  const { anchor } = decodeCanonical(intentSchema, row.intentBody);
  if (anchor === null) return null;
  const found = await chain.inclusion(row.txid);
  const inclusion = found === undefined ? null : { ...found, siblings: [...found.siblings] };
  return { checkpoint: anchor, txid: row.txid, transaction: row.signedTx, inclusion };
}
