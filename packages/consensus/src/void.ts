import {
  clusterIdSchema,
  intentHashSchema,
  type Manifest,
  type ManifestHash,
  manifestHashSchema,
  nodeIndexSchema,
  type Signed,
  type Signer,
  signBody,
  signedSchema,
  verifyManifestWord,
} from "@cairn/core";
import { z } from "zod";

/** "This node released no partial signature for the intent, and never will" (architecture §5.3). Durable before it is sent. */
export const voidSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  manifestHash: manifestHashSchema,
  intentHash: intentHashSchema,
  node: nodeIndexSchema,
});
export type Void = z.output<typeof voidSchema>;

export const signedVoidSchema = signedSchema(voidSchema);
export type SignedVoid = Signed<Void>;

/** Signs under `cairn/void/v1`. Only where {@link mayVoid} says so, and after it is stored. */
export function signVoid(body: Void, signer: Signer): SignedVoid {
  return signBody("cairn/void/v1", body, signer);
}

/**
 * Checks that `signed` is a member's void under this manifest.
 * @throws CairnError `wrong-cluster`, `wrong-manifest`, `not-member`, `signature-invalid`
 */
export function verifyVoid(signed: SignedVoid, manifest: Manifest, manifestHash: ManifestHash): void {
  verifyManifestWord("cairn/void/v1", signed, signed.body.node, manifest, manifestHash);
}
