import {
  clusterIdSchema,
  hashHexSchema,
  nodeIndexSchema,
  type Signed,
  type Signer,
  signBody,
  signedSchema,
} from "@cairn/core";
import { z } from "zod";

/**
 * A signer's word that these are the public data against which its partials are to be checked, under
 * `cairn/presignature-data/v1`. Without it a hostile initiator could hold an honest partial against other data.
 */
export const publicDataAcceptanceSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  /** The presignature's id; for a session without one, the execution's. */
  subject: hashHexSchema,
  /** The exact signer set, ascending. */
  signers: z.array(nodeIndexSchema).min(2).max(255),
  /** SHA-256 of the public data. */
  publicData: hashHexSchema,
  node: nodeIndexSchema,
});
export type PublicDataAcceptance = z.output<typeof publicDataAcceptanceSchema>;

export const signedPublicDataAcceptanceSchema = signedSchema(publicDataAcceptanceSchema);
export type SignedPublicDataAcceptance = Signed<PublicDataAcceptance>;

export function signPublicDataAcceptance(
  body: PublicDataAcceptance,
  signer: Signer,
): SignedPublicDataAcceptance {
  return signBody("cairn/presignature-data/v1", body, signer);
}
