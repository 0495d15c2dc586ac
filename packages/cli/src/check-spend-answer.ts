import { decodeAddress, deriveKey, parseTransaction } from "@cairn/bitcoin";
import type { TransactionDetail, TransactionView } from "@cairn/client";
import { CairnError, equalBytes, fromHex, type SpendRequest, spendRequestHash, toHex } from "@cairn/core";
import type { TrustedWallet } from "./trusted-wallet.ts";

/** Change addresses among which a transaction's own change output is looked for. */
const CHANGE_SEARCHED = 1_000;

/**
 * Checks that a node took the request that was signed, and says of the transaction what was typed.
 * @throws CairnError `peer-disagrees`
 */
export function checkSpendAnswer(view: TransactionView, request: SpendRequest): void {
  const typed = request.outputs;
  const same =
    view.outputs.length === typed.length &&
    view.outputs.every(
      ({ address, amountSats }, position) =>
        address === typed[position]?.address && amountSats === typed[position]?.amountSats.toString(),
    );
  const total = typed.reduce((sum, { amountSats }) => sum + amountSats, 0n);
  if (view.request !== spendRequestHash(request)) throw disagrees("names another request", view);
  if (view.wallet !== request.wallet) throw disagrees("names another wallet", view);
  if (!same || view.amountSats !== total.toString()) throw disagrees("has other recipients or amounts", view);
  if (view.maxFeeSats !== request.maxFeeSats.toString() || BigInt(view.feeSats) > request.maxFeeSats) {
    throw disagrees("pays a higher fee", view);
  }
}

/**
 * Checks a signed transaction by its bytes: the id is the one that was announced, it pays every recipient what was typed, and
 * whatever else it pays goes to one change address of the wallet.
 * @throws CairnError `peer-disagrees`
 */
export function checkSignedTransaction(
  detail: TransactionDetail,
  request: SpendRequest,
  { descriptor }: TrustedWallet,
): void {
  if (detail.rawTx === null) return;
  const transaction = parseTransaction(fromHex(detail.rawTx));
  if (transaction.txid !== detail.txid) throw disagrees("has another id", detail);
  const rest = [...transaction.outputs];
  for (const { address, amountSats } of request.outputs) {
    const { script } = decodeAddress(address, request.network);
    const at = rest.findIndex(
      (output) => output.amountSats === amountSats && equalBytes(output.script, script),
    );
    if (at < 0) throw disagrees(`does not pay ${amountSats} sat to ${address}`, detail);
    rest.splice(at, 1);
  }
  const [change, ...more] = rest;
  if (more.length > 0) throw disagrees("has more outputs than were asked for", detail);
  if (change === undefined) return;
  for (let index = 0; index < CHANGE_SEARCHED; index++) {
    if (toHex(deriveKey(descriptor, [1, index]).script) === toHex(change.script)) return;
  }
  throw disagrees("sends its change to an address that is not the wallet's", detail);
}

function disagrees(what: string, view: TransactionView): CairnError {
  return new CairnError(
    "peer-disagrees",
    `the transaction that the node names ${what}; it is not what was signed: ask another node with \`cairn tx status ${view.txid} --endpoint URL\` and tell the operators. ` +
      "The signed request itself lets honest nodes pay nothing but what it says",
    { txid: view.txid },
  );
}
