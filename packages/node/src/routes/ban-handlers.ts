import { CairnError, hashHexSchema } from "@cairn/core";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import { timeText, timeTextOrNull } from "../time-text.ts";

/** Endpoints of faults and bans. */
export function banHandlers({ node, store }: ApiModules): Pick<Handlers, "listBans" | "getViolation"> {
  return {
    async listBans() {
      const inForce = new Set(node.bans.bans().map((ban) => `${ban.node}/${ban.violation}`));
      const rows = await store.bans();
      return {
        bans: rows.map((row) => ({
          node: row.node,
          violation: row.violation,
          scope: row.scope,
          count: row.count,
          from: timeText(row.from),
          until: timeTextOrNull(row.until),
          liftedAt: timeTextOrNull(row.liftedAt),
          inForce: inForce.has(`${row.node}/${row.violation}`),
        })),
      };
    },

    async getViolation({ params }) {
      const [row] = await store.violations({ id: hashHexSchema.parse(params.violation), limit: 1 });
      if (row === undefined) throw new CairnError("not-found", "this node has no record of that violation");
      return {
        violation: row.id,
        node: row.node,
        type: row.type,
        subject: row.subject,
        action: row.action,
        detectedAt: timeText(row.detectedAt),
        evidence: row.evidence.length === 0 ? null : Buffer.from(row.evidence).toString("base64"),
      };
    },
  };
}
