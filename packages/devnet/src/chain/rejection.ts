import { CairnError } from "@cairn/core";

/** Bitcoin Core's RPC error numbers that broadcasting and submitting can end in. */
export const rpcErrors = {
  deserialization: -22,
  transaction: -25,
  rejected: -26,
  alreadyInChain: -27,
} as const;

/** One of {@link rpcErrors}. */
export type RpcError = (typeof rpcErrors)[keyof typeof rpcErrors];

/**
 * A refusal in Bitcoin Core's words: error `chain-rejected`, whose message is the reject reason and, after a comma,
 * the detail, and whose data holds `reason` and `rpcCode`.
 */
export function rejection(
  reason: string,
  detail?: string,
  rpcCode: RpcError = rpcErrors.rejected,
): CairnError {
  const message = detail === undefined ? reason : `${reason}, ${detail}`;
  return new CairnError("chain-rejected", message, { reason, rpcCode });
}
