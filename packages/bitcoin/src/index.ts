export * from "./address.ts";
export * from "./agreeing-chain-source.ts";
export * from "./anchored-in.ts";
export * from "./bitcoin-error.ts";
export * from "./block-header.ts";
export * from "./branch-and-bound.ts";
export * from "./chain-source.ts";
export * from "./check-psbt.ts";
export { checkPsbtTimeless } from "./check-psbt-timeless.ts";
export * from "./check-recipient.ts";
export * from "./coin-selection.ts";
export * from "./connect-esplora.ts";
export * from "./data-output.ts";
export * from "./derivation.ts";
export * from "./descriptor.ts";
export * from "./descriptor-checksum.ts";
export * from "./dust.ts";
export * from "./esplora.ts";
export * from "./fee-estimate.ts";
export * from "./fee-rate.ts";
export * from "./finalize.ts";
export * from "./hash.ts";
export * from "./inclusion.ts";
export * from "./memory-chain-source.ts";
export * from "./network-params.ts";
export * from "./output-script.ts";
export {
  buildPsbt,
  encodePsbt,
  MAX_PSBT_BYTES,
  PSBT_SEQUENCE,
  type Psbt,
  type PsbtCoin,
  type PsbtMap,
  type PsbtPlan,
  type PsbtRecord,
  type PsbtVersion,
  parsePsbt,
  psbtDerivation,
  psbtRecords,
  psbtToBase64,
  psbtValue,
} from "./psbt.ts";
export * from "./psbt-fault.ts";
export * from "./psbt-field.ts";
export type { ScanMemory } from "./scan-memory.ts";
export * from "./sighash.ts";
export * from "./signing-inputs.ts";
export * from "./transaction.ts";
export * from "./transaction-size.ts";
export * from "./wallet-scan.ts";
export * from "./wire.ts";
