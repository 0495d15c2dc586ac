/** An output that the checked transaction spends. */
export interface SpentOutput {
  /** Its value in satoshis, 0 to 21 million bitcoins. */
  amountSats: bigint;
  /** Its locking script. */
  scriptPubKey: Uint8Array;
}

/** What `code` on an error thrown by {@link verifyInput} can be. */
export type ScriptErrorCode =
  | "script-failed"
  | "input-index-out-of-range"
  | "transaction-size-mismatch"
  | "transaction-malformed"
  | "flags-invalid"
  | "spent-outputs-mismatch"
  | "amount-out-of-range"
  | "panicked"
  | "InvalidArg";

/** Thrown while the module loads when the native binary is not there or does not fit the machine. */
export declare class ScriptBinaryMissing extends Error {
  readonly code: "script-binary-missing";
}

/**
 * Checks with libbitcoinconsensus that input `inputIndex` of `tx` may spend `spentOutputs[inputIndex]`.
 *
 * @param tx the transaction as on the wire, witness included
 * @param spentOutputs the output of every input, in the inputs' order (BIP341 signs all of them)
 * @param flags libbitcoinconsensus verification bits; every rule it knows, taproot included, when left out
 * @throws an Error whose `code` is a {@link ScriptErrorCode}; `script-failed` is the verdict on the script
 */
export declare function verifyInput(
  tx: Uint8Array,
  inputIndex: number,
  spentOutputs: SpentOutput[],
  flags?: number,
): void;
