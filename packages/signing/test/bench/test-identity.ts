import type { Ed25519Signer } from "@cairn/core";
import { namedSigner } from "@cairn/core/test-support";

/** A signer that is the same in every run, for transcripts. */
export function testIdentity(name: string): Ed25519Signer {
  return namedSigner(`test identity ${name}`);
}
