import type { PresignatureStatus } from "@cairn/client";
import { keyIdSchema, presignatureIdSchema } from "@cairn/core";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import { readCursor, writeCursor } from "../page-cursor.ts";
import { timeText, timeTextOrNull } from "../time-text.ts";

/** Endpoints of presignatures. */
export function presignatureHandlers({
  node,
  store,
  presignatures: settings,
}: ApiModules): Pick<Handlers, "generatePresignatures" | "listPresignatures" | "getPresignatureStatus"> {
  const status = async (): Promise<PresignatureStatus> => ({
    target: settings.target,
    refillBelow: settings.refill_below,
    batch: settings.batch,
    keys: (await node.presignatures.status()).map((entry) => ({
      keyId: entry.keyId,
      ready: entry.status.ready,
      pending: entry.status.pending,
      burned: entry.burned,
      usable: entry.status.usable,
      wanted: entry.status.wanted,
    })),
  });

  return {
    async generatePresignatures({ body }) {
      await node.presignatures.generate(keyIdSchema.parse(body.keyId), body.count);
      return status();
    },

    async listPresignatures({ query }) {
      const cursor = query.cursor === undefined ? null : readCursor(query.cursor, presignatureIdSchema);
      const rows = await store.presignatures({
        ...(query.keyId === undefined ? {} : { keyId: keyIdSchema.parse(query.keyId) }),
        ...(query.state === undefined ? {} : { state: query.state }),
        newest: {
          limit: query.limit + 1,
          ...(cursor === null ? {} : { before: { createdAt: cursor.at, id: cursor.id } }),
        },
      });
      const page = rows.slice(0, query.limit);
      const last = page.at(-1);
      return {
        next: rows.length > page.length && last !== undefined ? writeCursor(last.createdAt, last.id) : null,
        presignatures: page.map((row) => ({
          id: row.id,
          keyId: row.keyId,
          path: [row.path[0], row.path[1]],
          signers: [...row.signers],
          state: row.state,
          createdAt: timeText(row.createdAt),
          burnedAt: timeTextOrNull(row.burnedAt),
        })),
      };
    },

    getPresignatureStatus: status,
  };
}
