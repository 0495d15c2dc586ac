import { decodeAddress } from "@cairn/bitcoin";
import { type CairnClient, type RequestView, spendRequestJsonSchema } from "@cairn/client";
import {
  CairnError,
  type Manifest,
  parseShape,
  type SpendRequest,
  spendRequestHash,
  verifyOwner,
} from "@cairn/core";
import { checkSpendAnswer } from "./check-spend-answer.ts";

/** A request whose hash was computed here, signed by a requester of the pinned manifest, and what a node makes of it. */
export interface TrustedRequest {
  readonly request: SpendRequest;
  readonly transaction: RequestView["transaction"];
}

/**
 * The request that a node names by `id`: the hash of a request, of an intent, or a transaction id. Of the last two the node alone
 * says which request they are for, so people must read what it asks.
 * @throws CairnError `not-found`; `peer-disagrees` when the node's words contradict the signed request; `unsigned-request`,
 * `unknown-requester`, `signature-invalid`
 */
export async function trustedRequest(
  client: Pick<CairnClient, "call">,
  manifest: Manifest,
  id: string,
): Promise<TrustedRequest> {
  const view = await client.call("getRequest", { params: { request: id } });
  const { transaction, signature } = view;
  const request = parseShape(spendRequestJsonSchema, view.body);
  const hash = spendRequestHash(request);
  if (hash !== view.request || (id !== hash && id !== transaction.intent && id !== transaction.txid))
    throw disagrees("is not the one that was asked for", id);
  if (request.cluster !== manifest.cluster || request.network !== manifest.network)
    throw disagrees("is for another cluster", id);
  for (const { address } of request.outputs) decodeAddress(address, manifest.network);
  checkSpendAnswer(transaction, request);
  verifyOwner(request, signature, manifest);
  return { request, transaction };
}

function disagrees(what: string, id: string): CairnError {
  return new CairnError(
    "peer-disagrees",
    `the request that the node shows ${what}: approve nothing; ask another node with --endpoint URL and tell the operators`,
    { id },
  );
}
