import {
  AUDIT_ROOT,
  auditCheckpointLine,
  auditEntryLine,
  auditEntrySchema,
  auditHeaderLine,
  auditManifestLine,
  decodeCanonical,
  signedCheckpointSchema,
} from "@cairn/core";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import { timeText } from "../time-text.ts";

/** Lines of one page of an export. */
const EXPORT_PAGE = 1_000;
const EXPORT_CHECKPOINTS = 100;

/** Endpoints of the audit log. */
export function auditHandlers({
  store,
  me,
  manifest,
}: Pick<ApiModules, "store" | "me" | "manifest">): Pick<Handlers, "listAudit" | "exportAudit"> {
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
