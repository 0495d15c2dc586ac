import type { NodeStore, RequestHash, TransactionRow } from "@cairn/core";
import { isUnderWay } from "./stored-spends.ts";

/**
 * The spend that a request stands for now, of several intents of it: the one that is signed, else the one that is certified, else the
 * newest that is under way, else whichever was certified, else the newest.
 */
export async function spendOfRequest(
  store: Pick<NodeStore, "transactionOfRequest" | "transactionsOfLineage">,
  request: RequestHash,
): Promise<TransactionRow | null> {
  const first = await store.transactionOfRequest(request);
  if (first === null || first.signedTx !== null) return first;
  const all = (await store.transactionsOfLineage(first.lineage)).filter((row) => row.request === request);
  const open = all.filter(({ state }) => isUnderWay(state));
  const certified = (row: TransactionRow): boolean => row.certificate !== null;
  return open.find(certified) ?? open.at(-1) ?? all.find(certified) ?? all.at(-1) ?? first;
}
