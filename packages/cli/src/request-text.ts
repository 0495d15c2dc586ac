import type { SpendRequest } from "@cairn/core";
import { spendRequestHash } from "@cairn/core";
import { btcText, satsText } from "./amount.ts";
import type { TrustedWallet } from "./trusted-wallet.ts";

/** Exactly what a signature on a request, or on its hash, covers: a line each, for the person who signs. */
export function requestText(request: SpendRequest, { record }: TrustedWallet): readonly string[] {
  const rate =
    request.feeRateSatsPerKvb === null
      ? "the node estimates the rate"
      : `at ${request.feeRateSatsPerKvb / 1000} sat/vB`;
  return [
    `for ${request.network}, from wallet ${record.label} (${request.wallet.slice(0, 16)}):`,
    ...request.outputs.map(
      ({ address, amountSats }) => `  pay ${btcText(amountSats)} (${satsText(amountSats)}) to ${address}`,
    ),
    `  fee at most ${satsText(request.maxFeeSats)}, ${rate}`,
    `  valid until ${new Date(request.expiry).toISOString()}`,
    ...(request.replaces === null ? [] : [`  in place of request ${request.replaces}`]),
    `  request ${spendRequestHash(request)}`,
  ];
}
