import { CairnError } from "@cairn/core";
import type { EngineFailure } from "@cairn/signing";

/** The typed error that says how a session failed. */
export function sessionRefusal({ code, message }: EngineFailure): CairnError {
  switch (code) {
    case "no-primes":
      return new CairnError("busy", message);
    case "invalid-signature":
      return new CairnError("signing-failed", message);
    default:
      return new CairnError(code, message);
  }
}
