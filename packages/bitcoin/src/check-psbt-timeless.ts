import type { Checkpoint, SpendRequest, WalletRecord } from "@cairn/core";
import { type CheckedSpend, checkPsbtInTurns, type PsbtRules } from "./check-psbt.ts";
import { parseDescriptor } from "./descriptor.ts";

/** The rules of `checkPsbt` that no height of the chain and no index of the wallet can excuse. */
export function timelessRules(
  { descriptor, network }: Pick<WalletRecord, "descriptor" | "network">,
  request: Pick<SpendRequest, "network" | "wallet" | "outputs" | "maxFeeSats">,
  anchor: Checkpoint | null,
): PsbtRules {
  return {
    descriptor: parseDescriptor(descriptor, network),
    request,
    tipHeight: 499_999_999,
    nextChangeIndex: 0x7fffffff,
    anchor,
  };
}

/**
 * Reads a spend's PSBT as anybody reads it, now and later, without a chain: the same answer everywhere. What only a node can say (locktime,
 * the gap, unspent coins) is not looked at.
 * @param anchor the checkpoint that the intent is to anchor, or null
 * @throws CairnError as `checkPsbt` does
 */
export function checkPsbtTimeless(
  psbt: Uint8Array,
  wallet: Pick<WalletRecord, "descriptor" | "network">,
  request: Pick<SpendRequest, "network" | "wallet" | "outputs" | "maxFeeSats">,
  anchor: Checkpoint | null,
): Promise<CheckedSpend> {
  return checkPsbtInTurns(psbt, timelessRules(wallet, request, anchor));
}
