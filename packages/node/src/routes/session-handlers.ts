import type { SessionView } from "@cairn/client";
import { CairnError, type SessionRow, sessionIdSchema } from "@cairn/core";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import { timeText, timeTextOrNull } from "../time-text.ts";

/** Endpoints of protocol sessions. */
export function sessionHandlers({ store }: ApiModules): Pick<Handlers, "listSessions" | "getSession"> {
  return {
    async listSessions({ query }) {
      const rows = await store.sessions({
        limit: query.limit,
        ...(query.subject === undefined ? {} : { subject: query.subject }),
        ...(query.live === undefined ? {} : { live: query.live }),
      });
      return { sessions: rows.map(viewOf) };
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
