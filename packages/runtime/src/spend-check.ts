import { bitcoinErrorReason, type ChainSource, type CheckedSpend, checkPsbtInTurns } from "@cairn/bitcoin";
import type { Intent } from "@cairn/consensus";
import { CairnError, isCairnError } from "@cairn/core";
import type { WalletBook } from "./wallet-book.ts";

/** What this node's own look at an intent found. */
export type SpendCheck =
  | { readonly kind: "ok"; readonly checked: CheckedSpend }
  /** Every honest node finds the same, now and later. */
  | { readonly kind: "fault"; readonly code: string; readonly message: string }
  /** May pass: this node's chain source lags, is down, or sees a coin spent that a reorganisation may free. */
  | { readonly kind: "wait"; readonly code: string; readonly message: string };

/** Refusals that depend on how much of the chain this node has seen. */
const laggingReasons: ReadonlySet<string> = new Set(["psbt-locktime", "psbt-change-beyond-gap"]);
const laggingCodes: ReadonlySet<string> = new Set([
  "chain-unavailable",
  "chain-answer-invalid",
  "peer-disagrees",
  "not-found",
  "timeout",
]);

/** How old a scan of the wallet may be when an intent's change address is judged. */
const SCAN_AGE_MS = 15_000;

/** Holds an intent's PSBT against its request and against this node's own chain source (architecture §5.3). */
export async function checkSpend(
  intent: Intent,
  modules: { readonly chain: ChainSource; readonly wallets: WalletBook },
): Promise<SpendCheck> {
  try {
    const wallet = modules.wallets.get(intent.wallet);
    const [tip, view] = await Promise.all([
      modules.chain.tip(),
      modules.wallets.view(intent.wallet, SCAN_AGE_MS),
    ]);
    const checked = await checkPsbtInTurns(intent.psbt, {
      descriptor: wallet.descriptor,
      request: intent.request.body,
      tipHeight: tip.height,
      nextChangeIndex: view.nextChangeIndex,
      anchor: intent.anchor?.checkpoint ?? null,
    });
    await checkUnspent(checked, modules.chain);
    return { kind: "ok", checked };
  } catch (error) {
    if (!isCairnError(error)) throw error;
    const reason = bitcoinErrorReason(error);
    const lags = reason === undefined ? laggingCodes.has(error.code) : laggingReasons.has(reason);
    const kind = lags || laggingCodes.has(error.code) || error.code === "coin-spent" ? "wait" : "fault";
    return { kind, code: reason ?? error.code, message: error.message };
  }
}

async function checkUnspent(checked: CheckedSpend, chain: ChainSource): Promise<void> {
  const spends = await Promise.all(checked.inputs.map((input) => chain.outspend(input.outpoint)));
  spends.forEach((spend, position) => {
    if (!spend.spent || spend.by === checked.txid) return;
    throw new CairnError("coin-spent", "another transaction spends one of the coins", {
      input: position,
      ...(spend.by === undefined ? {} : { by: spend.by }),
    });
  });
}
