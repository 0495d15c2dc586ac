import { auditEntrySchema, decodeCanonical } from "@cairn/core";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import { timeText } from "../time-text.ts";

/** Endpoints of the audit log. */
export function auditHandlers({ store }: ApiModules): Pick<Handlers, "listAudit"> {
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
  };
}
