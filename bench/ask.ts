import { setTimeout as sleep } from "node:timers/promises";
import { isCairnError, type Txid } from "@cairn/core";
import type { ClusterOwner, OwnedWallet } from "@cairn/devnet";

const AGAIN_MS = 50;
const LIMIT_MS = 120_000;

/** Asks node `at` for a payment, and again for as long as requests beside it hold the coins that the node would take. */
export async function ask(
  owner: ClusterOwner,
  at: number,
  wallet: OwnedWallet,
  recipient: { readonly address: string; readonly amountSats: bigint },
): Promise<Txid> {
  const end = performance.now() + LIMIT_MS;
  for (;;) {
    try {
      return await owner.submit(at, owner.spendRequest(wallet, [recipient]));
    } catch (error) {
      const held = isCairnError(error, "coin-reserved") || isCairnError(error, "insufficient-funds");
      if (!held || performance.now() > end) throw error;
      await sleep(AGAIN_MS);
    }
  }
}
