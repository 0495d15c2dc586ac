import {
  type Checkpoint,
  type ErrorCode,
  isCairnError,
  type SpendRequest,
  type WalletRecord,
} from "@cairn/core";
import { bitcoinErrorReason } from "./bitcoin-error.ts";
import { checkPsbt } from "./check-psbt.ts";
import { parseDescriptor } from "./descriptor.ts";

/** Protocol versions whose rules {@link psbtFault} applies. */
export const psbtRuleVersions: readonly number[] = [1];

/**
 * A fault of a spend's PSBT that no height of the chain and no index of the wallet could excuse, or null: the same answer everywhere and for
 * ever, so that whoever approved it can be held to account.
 * @param anchor the checkpoint that its last output is to anchor, or null
 */
export function psbtFault(
  psbt: Uint8Array,
  { descriptor, network }: Pick<WalletRecord, "descriptor" | "network">,
  request: Pick<SpendRequest, "network" | "wallet" | "outputs" | "maxFeeSats">,
  anchor: Checkpoint | null,
): ErrorCode | null {
  try {
    checkPsbt(psbt, {
      descriptor: parseDescriptor(descriptor, network),
      request,
      anchor,
      tipHeight: 499_999_999,
      nextChangeIndex: 0x7fffffff,
    });
    return null;
  } catch (error) {
    if (!isCairnError(error) || bitcoinErrorReason(error) === undefined) throw error;
    return error.code;
  }
}
