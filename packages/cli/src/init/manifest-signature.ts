import {
  ed25519PublicKeySchema,
  type ManifestHash,
  manifestHashSchema,
  type SignedManifest,
  signatureHexSchema,
} from "@cairn/core";
import { z } from "zod";

/** One operator's signature on a manifest, as a file that is passed on. JSON. */
export const manifestSignatureSchema = z.strictObject({
  manifest: manifestHashSchema,
  operator: ed25519PublicKeySchema,
  signature: signatureHexSchema,
});
export type ManifestSignature = z.output<typeof manifestSignatureSchema>;

/** The entries of `files` for the manifest with `hash`, one an operator. */
export function signaturesFor(
  hash: ManifestHash,
  files: readonly ManifestSignature[],
): SignedManifest["signatures"] {
  const byOperator = new Map(
    files
      .filter(({ manifest }) => manifest === hash)
      .map(({ operator, signature }) => [operator, { operator, signature }]),
  );
  return [...byOperator.values()];
}
