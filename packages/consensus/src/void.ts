import {
  CairnError,
  clusterIdSchema,
  intentHashSchema,
  type Manifest,
  type ManifestHash,
  manifestHashSchema,
  memberOf,
  nodeIndexSchema,
  type Signed,
  type Signer,
  signBody,
  signedSchema,
  verifySigned,
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
  const { body } = signed;
  if (body.cluster !== manifest.cluster)
    throw new CairnError("wrong-cluster", "the void is for another cluster");
  if (body.manifestHash !== manifestHash) {
    throw new CairnError("wrong-manifest", "the void was signed under another manifest", { node: body.node });
  }
  const member = memberOf(manifest, body.node);
  if (!verifySigned("cairn/void/v1", signed, member.identity)) {
    throw new CairnError("signature-invalid", "the void's signature is not its node's", { node: body.node });
  }
}
