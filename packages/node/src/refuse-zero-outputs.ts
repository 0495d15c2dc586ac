import { CairnError, type SpendRequest } from "@cairn/core";

/** @throws CairnError `amount-invalid` where a request pays nothing to somebody */
export function refuseZeroOutputs(request: Pick<SpendRequest, "outputs">): void {
  for (const { address, amountSats } of request.outputs) {
    if (amountSats > 0n) continue;
    throw new CairnError(
      "amount-invalid",
      "an output of 0 satoshi pays nobody; ask for at least the dust limit",
      { address },
    );
  }
}
