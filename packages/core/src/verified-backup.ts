import { z } from "zod";
import { CairnError } from "./error.ts";
import type { Signer } from "./identity.ts";
import { clusterIdSchema, hashHexSchema, keyIdSchema, nodeIndexSchema, unixMsSchema } from "./ids.ts";
import { type Manifest, memberOf } from "./manifest.ts";
import { type Signed, signBody, signedSchema, verifySigned } from "./signed.ts";

/**
 * An operator's word that a backup of the own node was opened and found whole: it holds a share of every key named. Signed with the
 * operator's offline key under `cairn/verified-backup/v1`, so that neither a node nor an API token can claim it.
 */
export const verifiedBackupSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  /** Whose backup it is. */
  node: nodeIndexSchema,
  /** SHA-256 of the file. */
  backup: hashHexSchema,
  /** Keys whose shares it holds, ascending by id, each once. A share of another epoch is none. */
  keys: z
    .array(z.strictObject({ keyId: keyIdSchema, epoch: z.number().int().min(0) }))
    .max(1_024)
    .refine(
      (keys) => keys.every(({ keyId }, at) => at === 0 || (keys[at - 1]?.keyId ?? "") < keyId),
      "keys stand ascending, each once",
    ),
  createdAt: unixMsSchema,
  verifiedAt: unixMsSchema,
});
export type VerifiedBackup = z.output<typeof verifiedBackupSchema>;

export const signedVerifiedBackupSchema = signedSchema(verifiedBackupSchema);
export type SignedVerifiedBackup = Signed<VerifiedBackup>;

export function signVerifiedBackup(backup: VerifiedBackup, operator: Signer): SignedVerifiedBackup {
  return signBody("cairn/verified-backup/v1", backup, operator);
}

/**
 * Checks that `signed` is the word of the operator of the member that it names.
 * @throws CairnError `wrong-cluster`, `not-member`, `operator-signature-missing`
 */
export function verifyVerifiedBackup(signed: SignedVerifiedBackup, manifest: Manifest): void {
  const { cluster, node } = signed.body;
  if (cluster !== manifest.cluster)
    throw new CairnError("wrong-cluster", "the word on a backup is for another cluster", { node });
  if (verifySigned("cairn/verified-backup/v1", signed, memberOf(manifest, node).operator)) return;
  throw new CairnError(
    "operator-signature-missing",
    `the word on a backup of node ${node} is not signed with its operator's key; sign it with that one`,
    { node },
  );
}
