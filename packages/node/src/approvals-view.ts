import type { TransactionView } from "@cairn/client";
import type { TransactionRow } from "@cairn/core";
import { readMetadata } from "@cairn/runtime";
import type { NodeFacade } from "./node-facade.ts";
import type { SpendFacts } from "./spend-facts-cache.ts";

/** How the approvals of people stand that policy asks of a spend; null where it asks for none. */
export function approvalsView(
  node: Pick<NodeFacade, "spends">,
  row: TransactionRow,
  facts: Pick<SpendFacts, "outputs">,
): TransactionView["approvals"] {
  const standing = node.spends.approvals(row.request, facts);
  if (standing === null) return null;
  // Those that opened voting are remembered longer than they count.
  const opened = readMetadata(row.metadata).approvers;
  const given = standing.keys.filter((key) => standing.given.includes(key) || opened.includes(key));
  return {
    needed: standing.needed,
    given,
    missing: standing.keys.filter((key) => !given.includes(key)),
  };
}
