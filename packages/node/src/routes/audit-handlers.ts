import { auditEntrySchema, decodeCanonical } from "@cairn/core";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import { timeText } from "../time-text.ts";

/** Endpoints of the audit log. */
export function auditHandlers({ store }: ApiModules): Pick<Handlers, "listAudit"> {
  return {
    async listAudit({ query }) {
      const rows = await store.audit({ from: query.from, limit: query.limit });
      const last = rows.at(-1);
      const more = last !== undefined && rows.length === query.limit;
      return {
        entries: rows.map(({ seq, at, kind, body, hash }) => {
          const { subject, data } = decodeCanonical(auditEntrySchema, body);
          return { seq, at: timeText(at), kind, subject, data, hash };
        }),
        next: more ? last.seq + 1 : null,
      };
    },
  };
}
