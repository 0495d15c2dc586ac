import type { DescriptorKind } from "./descriptor.ts";
import { wire } from "./wire.ts";

/** Weight of the outpoint, empty scriptSig and sequence that every segwit input has: (32 + 4 + 1 + 4) × 4. */
const inputBase = 164;

/**
 * Weight of one signed input, in weight units (BIP-141).
 *
 * P2WPKH counts a 72-byte signature (low S, but R may need 33 bytes, and the sighash byte) and a 33-byte key: 272, or
 * 68 vB; a real one can be a unit or two smaller. P2TR by key path has a 64-byte signature and nothing else: 230, or
 * 57.5 vB, exactly.
 */
export function inputWeight(kind: DescriptorKind): number {
  return kind === "wpkh" ? inputBase + 1 + 1 + 72 + 1 + 33 : inputBase + 1 + 1 + 64;
}

/** Weight of an output with a script of `scriptLength` bytes. */
export function outputWeight(scriptLength: number): number {
  return 4 * (8 + wire.compactSize(scriptLength).length + scriptLength);
}

/** Weight of everything in a segwit transaction but its inputs and outputs. */
export function overheadWeight(inputCount: number, outputCount: number): number {
  return 4 * (4 + wire.compactSize(inputCount).length + wire.compactSize(outputCount).length + 4) + 2;
}

/** The most a signed transaction with such inputs and outputs can weigh, in weight units. */
export function transactionWeight(
  kind: DescriptorKind,
  inputCount: number,
  outputScripts: readonly Uint8Array[],
): number {
  const outputs = outputScripts.reduce((sum, script) => sum + outputWeight(script.length), 0);
  return overheadWeight(inputCount, outputScripts.length) + inputCount * inputWeight(kind) + outputs;
}

/** Virtual bytes of a weight (BIP-141): a quarter, rounded up. */
export function virtualSize(weight: number): number {
  return Math.ceil(weight / 4);
}
