import { type CheckedSpend, checkPsbtTimeless } from "@cairn/bitcoin";
import type { Intent } from "@cairn/consensus";
import type { WalletRecord } from "@cairn/core";

/** What a node reads in an intent's PSBT by itself, whatever the chain says by now. @throws CairnError as `checkPsbt` does */
export function readSpend({ psbt, request, anchor }: Intent, wallet: WalletRecord): Promise<CheckedSpend> {
  return checkPsbtTimeless(psbt, wallet, request.body, anchor?.checkpoint ?? null);
}
