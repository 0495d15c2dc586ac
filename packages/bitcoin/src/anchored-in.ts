import { type Checkpoint, checkpointAnchor } from "@cairn/core";
import { equalBytes } from "@noble/curves/utils.js";
import { dataOutputScript } from "./data-output.ts";
import type { UnsignedTransaction } from "./transaction.ts";

/** Whether a transaction's last output anchors the checkpoint (core's `checkpointAnchor`), and holds no amount. */
export function anchoredIn(
  { outputs }: Pick<UnsignedTransaction, "outputs">,
  checkpoint: Checkpoint,
): boolean {
  const last = outputs.at(-1);
  return (
    last !== undefined &&
    last.amountSats === 0n &&
    equalBytes(last.script, dataOutputScript(checkpointAnchor(checkpoint)))
  );
}
