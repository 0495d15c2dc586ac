import { clusterIdSchema, hashHexSchema, keyIdSchema, nodeIndexSchema, signedSchema } from "@cairn/core";
import { z } from "zod";

/** A node's word on the public package that a key generation gave it. Signed under `cairn/public-package/v1`. */
export const publicPackageWordSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  keyId: keyIdSchema,
  /** Of the stage `keygen`, whose result this is. */
  attempt: z.number().int().min(0),
  node: nodeIndexSchema,
  /** `publicPackageHash` of core. */
  publicPackage: hashHexSchema,
});
export type PublicPackageWord = z.output<typeof publicPackageWordSchema>;

export const signedPublicPackageWordSchema = signedSchema(publicPackageWordSchema);
export type SignedPublicPackageWord = z.output<typeof signedPublicPackageWordSchema>;
