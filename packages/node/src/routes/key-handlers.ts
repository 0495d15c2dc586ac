import type { KeyView } from "@cairn/client";
import { CairnError } from "@cairn/core";
import type { KeyProgress } from "@cairn/runtime";
import type { ApiModules } from "../api-modules.ts";
import type { Handlers } from "../handler.ts";
import { timeText } from "../time-text.ts";

/** Endpoints of keys. */
export function keyHandlers({ node }: ApiModules): Pick<Handlers, "createKey" | "listKeys" | "getKey"> {
  const find = (keyId: string): KeyView => {
    const found = node.keys.list().find(({ row }) => row.keyId === keyId);
    if (found !== undefined) return viewOf(found);
    throw new CairnError("not-found", "this node has no such key; `cairn dkg status` lists the keys", {
      keyId,
    });
  };
  return {
    createKey: async ({ body }) => find(await node.generateKey(body)),
    listKeys: async ({ query: { status, protocol } }) => ({
      keys: node.keys
        .list()
        .filter(({ row }) => status === undefined || row.status === status)
        .filter(({ row }) => protocol === undefined || row.protocol === protocol)
        .map(viewOf),
    }),
    getKey: async ({ params }) => find(params.keyId),
  };
}

function viewOf({ row, stage, progress, approvals }: KeyProgress): KeyView {
  return {
    keyId: row.keyId,
    protocol: row.protocol,
    purpose: row.purpose,
    epoch: row.epoch,
    status: row.status,
    stage,
    progress,
    reason: row.reason,
    approvals: approvals.map(({ body: { node, approve, reason } }) => ({ node, approve, reason })),
    createdAt: timeText(row.createdAt),
    updatedAt: timeText(row.updatedAt),
  };
}
