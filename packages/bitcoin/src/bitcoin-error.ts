import { CairnError, type ErrorCode, type ErrorData } from "@cairn/core";

/**
 * Every reason for which this package refuses, and the code of core it falls under. Programs that need the finer answer
 * read `error.data.reason`.
 */
export const bitcoinReasons = {
  "address-malformed": "address-invalid",
  "address-mixed-case": "address-invalid",
  "address-wrong-network": "wrong-network",
  "address-bad-checksum": "address-invalid",
  "address-wrong-encoding": "address-invalid",
  "address-unknown-witness-version": "address-invalid",
  "address-bad-length": "address-invalid",
  "address-invalid-key": "address-invalid",
  "fee-rate-out-of-range": "amount-invalid",
  "descriptor-malformed": "descriptor-invalid",
  "descriptor-checksum-missing": "descriptor-invalid",
  "descriptor-bad-checksum": "descriptor-invalid",
  "descriptor-unsupported": "descriptor-invalid",
  "descriptor-bad-key": "descriptor-invalid",
  "descriptor-wrong-network": "wrong-network",
  "descriptor-private-key": "descriptor-invalid",
  "path-out-of-range": "descriptor-invalid",
  "no-recipients": "amount-invalid",
  "output-dust": "dust",
  "output-amount": "amount-invalid",
  "insufficient-funds": "insufficient-funds",
  "fee-above-maximum": "fee-too-high",
  "transaction-too-big": "too-large",
  "duplicate-coin": "malformed",
  "transaction-malformed": "malformed",
  "block-header-malformed": "malformed",
  "inclusion-wrong": "malformed",
  "signature-malformed": "signature-invalid",
  "signature-wrong": "signature-invalid",
  "signature-missing": "signature-invalid",
  "chain-endpoint-invalid": "config-invalid",
  "chain-unavailable": "chain-unavailable",
  "chain-answer-invalid": "chain-answer-invalid",
  "chain-sources-disagree": "peer-disagrees",
  "chain-not-found": "not-found",
  "chain-rejected": "chain-rejected",
  "psbt-too-large": "too-large",
  "psbt-malformed": "psbt-invalid",
  "psbt-version": "psbt-invalid",
  "psbt-unknown-field": "psbt-invalid",
  "psbt-unexpected-field": "psbt-invalid",
  "psbt-already-signed": "psbt-invalid",
  "psbt-modifiable": "psbt-invalid",
  "psbt-transaction-version": "psbt-invalid",
  "psbt-locktime": "psbt-invalid",
  "psbt-no-inputs": "psbt-invalid",
  "psbt-duplicate-input": "psbt-invalid",
  "psbt-sequence": "psbt-invalid",
  "psbt-sighash-type": "psbt-invalid",
  "psbt-previous-transaction-missing": "psbt-invalid",
  "psbt-previous-transaction-mismatch": "psbt-invalid",
  "psbt-previous-output-missing": "psbt-invalid",
  "psbt-witness-utxo-missing": "psbt-invalid",
  "psbt-witness-utxo-mismatch": "psbt-invalid",
  "psbt-input-derivation-missing": "psbt-invalid",
  "psbt-input-derivation-wrong": "psbt-invalid",
  "psbt-input-not-ours": "psbt-invalid",
  "psbt-recipient-missing": "psbt-invalid",
  "psbt-recipient-changed": "psbt-invalid",
  "psbt-amount-changed": "psbt-invalid",
  "psbt-too-many-outputs": "psbt-invalid",
  "psbt-anchor-missing": "psbt-invalid",
  "psbt-anchor-changed": "psbt-invalid",
  "psbt-change-derivation-missing": "psbt-invalid",
  "psbt-change-wrong-branch": "psbt-invalid",
  "psbt-change-beyond-gap": "psbt-invalid",
  "psbt-change-dust": "psbt-invalid",
  "psbt-output-derivation-wrong": "psbt-invalid",
  "psbt-amount-out-of-range": "psbt-invalid",
  "psbt-fee-negative": "psbt-invalid",
  "psbt-fee-above-maximum": "fee-too-high",
  "psbt-fee-below-relay": "psbt-invalid",
  "psbt-weight": "psbt-invalid",
  "psbt-wrong-wallet": "wrong-wallet",
  "psbt-wrong-network": "wrong-network",
} as const satisfies Record<string, ErrorCode>;

export type BitcoinErrorReason = keyof typeof bitcoinReasons;

/** A {@link CairnError} of the code that `reason` falls under, with the reason in its data. */
export function bitcoinError(
  reason: BitcoinErrorReason,
  message: string,
  data: ErrorData = {},
  cause?: unknown,
): CairnError {
  const options = cause === undefined ? undefined : { cause };
  return new CairnError(bitcoinReasons[reason], message, { ...data, reason }, options);
}

/** The reason of an error made by {@link bitcoinError}, or `undefined` for any other value. */
export function bitcoinErrorReason(error: unknown): BitcoinErrorReason | undefined {
  if (!(error instanceof CairnError)) return undefined;
  const { reason } = error.data;
  return typeof reason === "string" && isReason(reason) ? reason : undefined;
}

function isReason(text: string): text is BitcoinErrorReason {
  return Object.hasOwn(bitcoinReasons, text);
}
