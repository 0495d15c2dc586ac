import type { SessionView } from "@cairn/client";
import { CairnError, type SessionRow, sessionIdSchema } from "@cairn/core";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import { readCursor, writeCursor } from "../page-cursor.ts";
import { timeText, timeTextOrNull } from "../time-text.ts";

/** Endpoints of protocol sessions. */
export function sessionHandlers({ store }: ApiModules): Pick<Handlers, "listSessions" | "getSession"> {
  return {
    async listSessions({ query }) {
      const cursor = query.cursor === undefined ? null : readCursor(query.cursor, sessionIdSchema);
      const rows = await store.sessions({
        limit: query.limit + 1,
        ...(cursor === null ? {} : { before: { startedAt: cursor.at, session: cursor.id } }),
        ...(query.purpose === undefined ? {} : { purpose: query.purpose }),
        ...(query.since === undefined ? {} : { since: query.since }),
        ...(query.until === undefined ? {} : { until: query.until }),
        ...(query.subject === undefined ? {} : { subject: query.subject }),
        ...(query.live === undefined ? {} : { live: query.live }),
      });
      const page = rows.slice(0, query.limit);
      const last = page.at(-1);
      return {
        sessions: page.map(viewOf),
        next:
          rows.length > page.length && last !== undefined ? writeCursor(last.startedAt, last.session) : null,
      };
    },

    async getSession({ params }) {
      const row = await store.session(sessionIdSchema.parse(params.session));
      if (row === null) {
        throw new CairnError("not-found", "this node took part in no such session", {
          session: params.session,
        });
      }
      return viewOf(row);
    },
  };
}

function viewOf(row: SessionRow): SessionView {
  return {
    session: row.session,
    purpose: row.purpose,
    subject: row.subject,
    attempt: row.attempt,
    initiator: row.initiator,
    signers: [...row.signers],
    state: row.state,
    failure: row.failure,
    startedAt: timeText(row.startedAt),
    endedAt: timeTextOrNull(row.endedAt),
  };
}
