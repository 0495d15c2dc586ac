import {
  type Checkpoint,
  type ErrorCode,
  isCairnError,
  type SpendRequest,
  type WalletRecord,
} from "@cairn/core";
import { bitcoinErrorReason } from "./bitcoin-error.ts";
import { checkPsbt } from "./check-psbt.ts";
import { timelessRules } from "./check-psbt-timeless.ts";

/** Protocol versions whose rules {@link psbtFault} applies. */
export const psbtRuleVersions: readonly number[] = [1];

/**
 * A fault of a spend's PSBT that no height of the chain and no index of the wallet could excuse, or null: the same answer everywhere and for
 * ever, so that whoever approved it can be held to account.
 * @param anchor the checkpoint that its last output is to anchor, or null
 */
export function psbtFault(
  psbt: Uint8Array,
  wallet: Pick<WalletRecord, "descriptor" | "network">,
  request: Pick<SpendRequest, "network" | "wallet" | "outputs" | "maxFeeSats">,
  anchor: Checkpoint | null,
): ErrorCode | null {
  try {
    checkPsbt(psbt, timelessRules(wallet, request, anchor));
    return null;
  } catch (error) {
    if (!isCairnError(error) || bitcoinErrorReason(error) === undefined) throw error;
    return error.code;
  }
}
