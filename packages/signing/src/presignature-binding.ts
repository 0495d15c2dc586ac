import type { KeyId, NodeIndex } from "@cairn/core";
import type { NackCode } from "./nack.ts";
import type { PresignatureFacts, PresignedInput } from "./session-state.ts";

/**
 * Whether a presignature may serve an input: ready, and made for exactly this key, epoch, path and signer set (eprint 2021/1330).
 * @returns null, or why not
 */
export function presignatureFault(
  facts: PresignatureFacts | undefined,
  use: {
    readonly input: PresignedInput;
    readonly keyId: KeyId;
    readonly epoch: number;
    readonly signers: readonly NodeIndex[];
  },
): NackCode | null {
  if (facts === undefined || facts.id !== use.input.presignatureId) return "presignature-mismatch";
  if (facts.state === "burned" || facts.state === "discarded") return "presignature-used";
  const fits =
    facts.state === "ready" &&
    facts.keyId === use.keyId &&
    facts.epoch === use.epoch &&
    facts.path.join() === use.input.path.join() &&
    facts.signers.join() === use.signers.join();
  return fits ? null : "presignature-mismatch";
}
