import { z } from "zod";
import { CairnError } from "./error.ts";
import {
  clusterIdSchema,
  ed25519PublicKeySchema,
  hashHexSchema,
  manifestHashSchema,
  nodeIndexSchema,
  signatureHexSchema,
  unixMsSchema,
} from "./ids.ts";
import { type ManifestInForce, requireOperators } from "./manifest.ts";

/** The operators' decision to end a node's bans before their time. */
export const banLiftSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  manifestHash: manifestHashSchema,
  node: nodeIndexSchema,
  /** The violations whose bans end: a later ban is not lifted with them. */
  violations: z.array(hashHexSchema).min(1).max(64),
  createdAt: unixMsSchema,
  /** When it takes effect: the manifest's `changeDelayMs` after its creation, or later. */
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
 * Checks a lift but for its signatures.
 * @throws CairnError `wrong-cluster`, `wrong-manifest`, `not-yet-valid` (takes effect before the delay is over)
 */
export function checkBanLift(lift: BanLift, { manifest, manifestHash }: ManifestInForce): void {
  if (lift.cluster !== manifest.cluster)
    throw new CairnError("wrong-cluster", "the ban lift is for another cluster");
  if (lift.manifestHash !== manifestHash) {
    throw new CairnError("wrong-manifest", "the ban lift names another manifest than the one in force");
  }
  const earliest = lift.createdAt + manifest.changeDelayMs;
  if (lift.effectiveAt < earliest) {
    throw new CairnError("not-yet-valid", "the ban lift takes effect before the manifest's delay is over", {
      effectiveAt: lift.effectiveAt,
      earliest,
    });
  }
}

/**
 * Checks that a quorum of the manifest's operators signed exactly this lift.
 * @throws CairnError `wrong-cluster`, `wrong-manifest`, `not-yet-valid`, `operator-signature-missing`
 */
export function verifyBanLift({ lift, signatures }: SignedBanLift, inForce: ManifestInForce): void {
  checkBanLift(lift, inForce);
  const { manifest } = inForce;
  requireOperators(manifest, manifest.modes.manifest, "cairn/ban/v1", lift, signatures);
}
