import { intentSchema, lineageOf } from "@cairn/consensus";
import {
  CairnError,
  decodeCanonical,
  type LineageId,
  type NodeStore,
  type RequestHash,
  type SpendRequest,
} from "@cairn/core";

/**
 * The lineage of a request: itself and all that it replaces, as far as this node's store tells.
 * @throws CairnError `not-found` when what the request replaces is not known here
 */
export async function findLineage(
  request: SpendRequest,
  store: Pick<NodeStore, "transactionOfRequest">,
): Promise<LineageId> {
  const known = new Map<RequestHash, SpendRequest>();
  for (;;) {
    const lineage = lineageOf(request, (hash) => known.get(hash));
    if (lineage.kind === "known") return lineage.lineage;
    const row = await store.transactionOfRequest(lineage.missing);
    if (row === null) {
      throw new CairnError(
        "not-found",
        "the request replaces one that this node does not know; ask the node that took it",
        { replaces: lineage.missing },
      );
    }
    known.set(lineage.missing, decodeCanonical(intentSchema, row.intentBody).request.body);
  }
}
