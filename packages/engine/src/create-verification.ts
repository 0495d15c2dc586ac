import { type KeyPath, nodeIndexSchema } from "@cairn/core";
import type { NativeBinding } from "@cairn/native-engine";
import type { CombinePartials, Engine } from "@cairn/signing";
import { loadNative } from "./load-native.ts";
import { failureError, nativeError } from "./native-error.ts";
import { plainBytes } from "./plain-bytes.ts";

/** The part of the engine that needs no secrets: coordinators aggregate and check with it. */
export type Verification = Pick<Engine, "combinePartials" | "verify" | "describe">;

/**
 * What needs no secrets, at the security level of production.
 * @throws CairnError `native-missing`
 */
export async function createVerification(): Promise<Verification> {
  return createVerificationOver(await loadNative());
}

/** {@link Verification} over a loaded native library. */
export function createVerificationOver(native: NativeBinding): Verification {
  return {
    async combinePartials(input: CombinePartials): Promise<Uint8Array> {
      const [change, index]: KeyPath = input.path;
      const partials = input.partials.map(({ from, partial }) => ({ from, partial }));
      const answer = await native.combine(
        input.publicPackage,
        input.publicData,
        change,
        index,
        input.preimage,
        partials,
      );
      if (answer.signature !== undefined) return plainBytes(answer.signature);
      throw answer.failure === undefined ? nativeError(answer) : failureError(answer.failure);
    },

    async verify(input): Promise<boolean> {
      const [change, index] = input.path;
      const answer = await native.verify(input.publicPackage, change, index, input.preimage, input.signature);
      if (answer.valid !== undefined) return answer.valid;
      throw answer.failure === undefined ? nativeError(answer) : failureError(answer.failure);
    },

    async describe(publicPackage) {
      try {
        const described = native.describe(publicPackage);
        return {
          protocol: described.protocol,
          publicKey: plainBytes(described.publicKey),
          chainCode: plainBytes(described.chainCode),
          threshold: described.threshold,
          parties: described.parties.map((party) => nodeIndexSchema.parse(party)),
          level: described.level,
        };
      } catch (error) {
        throw nativeError(error);
      }
    },
  };
}
