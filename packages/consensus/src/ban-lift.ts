import {
  CairnError,
  clusterIdSchema,
  ed25519PublicKeySchema,
  faultsTolerated,
  hashHexSchema,
  type Manifest,
  type ManifestHash,
  manifestHashSchema,
  modeQuorum,
  nodeIndexSchema,
  signatureHexSchema,
  unixMsSchema,
  verifySignature,
} from "@cairn/core";
import { z } from "zod";

/** The operators' decision to end a node's bans before their time. */
export const banLiftSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  manifestHash: manifestHashSchema,
  node: nodeIndexSchema,
  /** The violations whose bans end: a later ban is not lifted with them. */
  violations: z.array(hashHexSchema).min(1).max(64),
  createdAt: unixMsSchema,
  /** When it takes effect: whatever loosens does so after a delay. */
  effectiveAt: unixMsSchema,
});
export type BanLift = z.output<typeof banLiftSchema>;

/** A lift with operators' signatures under `cairn/ban/v1`. */
export const signedBanLiftSchema = z.strictObject({
  lift: banLiftSchema,
  signatures: z
    .array(z.strictObject({ operator: ed25519PublicKeySchema, signature: signatureHexSchema }))
    .max(255),
});
export type SignedBanLift = z.output<typeof signedBanLiftSchema>;

/**
 * Checks that a quorum of the manifest's operators signed exactly this lift.
 * @throws CairnError `wrong-cluster`, `wrong-manifest`, `operator-signature-missing`
 */
export function verifyBanLift(signed: SignedBanLift, manifest: Manifest, manifestHash: ManifestHash): void {
  const { lift, signatures } = signed;
  if (lift.cluster !== manifest.cluster)
    throw new CairnError("wrong-cluster", "the ban lift is for another cluster");
  if (lift.manifestHash !== manifestHash) {
    throw new CairnError("wrong-manifest", "the ban lift names another manifest than the one in force");
  }
  const total = manifest.members.length;
  const needed = Math.max(
    modeQuorum(manifest.modes.manifest, total),
    Math.floor((total + faultsTolerated(total)) / 2) + 1,
  );
  const valid = manifest.members.filter(({ operator }) =>
    signatures.some(
      (entry) =>
        entry.operator === operator && verifySignature("cairn/ban/v1", lift, operator, entry.signature),
    ),
  ).length;
  if (valid < needed) {
    throw new CairnError(
      "operator-signature-missing",
      `${valid} operators signed the ban lift; it needs ${needed}`,
      {
        valid,
        needed,
      },
    );
  }
}
