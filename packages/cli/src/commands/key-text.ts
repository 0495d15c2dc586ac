import type { CairnClient, KeyView } from "@cairn/client";
import { CairnError } from "@cairn/core";
import type { Output } from "../output.ts";

/** Prints keys as a table. */
export function printKeys(output: Output, keys: readonly KeyView[]): void {
  if (keys.length === 0) {
    output.line("No keys yet. `cairn dkg start --protocol frost` has the nodes make one.");
    return;
  }
  output.table(
    ["key", "protocol", "status", "stage", "progress", "approvals", "epoch", "created"],
    keys.map((key) => [
      key.keyId.slice(0, 16),
      key.protocol,
      key.status,
      key.stage ?? "",
      percent(key.progress),
      approvalsText(key),
      String(key.epoch),
      key.createdAt.slice(0, 19).replace("T", " "),
    ]),
  );
}

/** Prints one key with every node's word on it. */
export function printKey(output: Output, key: KeyView): void {
  output.facts([
    ["key", key.keyId],
    ["protocol", key.protocol],
    ["purpose", key.purpose],
    ["status", key.status],
    ...(key.stage === null ? [] : [["stage", key.stage] as const]),
    ...(key.progress === null ? [] : [["progress", percent(key.progress)] as const]),
    ...(key.reason === null ? [] : [["reason", key.reason] as const]),
    ["epoch", String(key.epoch)],
    ["created", key.createdAt],
  ]);
  if (key.approvals.length === 0) return;
  output.line("");
  output.table(
    ["node", "approves", "reason"],
    key.approvals.map(({ node, approve, reason }) => [String(node), approve ? "yes" : "no", reason ?? ""]),
  );
}

function percent(progress: number | null): string {
  return progress === null ? "" : `${Math.floor(progress * 100)}%`;
}

function approvalsText({ approvals }: KeyView): string {
  const against = approvals.filter(({ approve }) => !approve).length;
  return `${approvals.length - against}${against > 0 ? `, ${against} against` : ""}`;
}

/**
 * The id of the key that `name` means: its whole id, or the first digits (at least 8) of one that the node lists.
 * @throws CairnError `not-found`, `malformed` when several fit
 */
export async function findKeyId(client: Pick<CairnClient, "call">, name: string): Promise<string> {
  if (/^[0-9a-f]{64}$/.test(name)) return name;
  const { keys } = await client.call("listKeys", {});
  const matches = /^[0-9a-f]{8,63}$/.test(name) ? keys.filter(({ keyId }) => keyId.startsWith(name)) : [];
  const [first, second] = matches;
  if (first === undefined) {
    throw new CairnError(
      "not-found",
      `no key begins with ${JSON.stringify(name)}; \`cairn key list\` names them`,
    );
  }
  if (second !== undefined)
    throw new CairnError("malformed", "several keys begin like this; give more digits");
  return first.keyId;
}
