import { z } from "zod";
import { CairnError } from "./error.ts";
import { clusterIdSchema, keyIdSchema, manifestHashSchema, unixMsSchema } from "./ids.ts";
import type { ManifestInForce } from "./manifest.ts";

/**
 * The operators' decision to share a key anew among the same nodes: its public key and addresses stay, shares and presignatures of
 * before become worthless. Signed by operators under `cairn/key-refresh/v1`.
 */
export const keyRefreshSchema = z.strictObject({
  version: z.literal(1),
  cluster: clusterIdSchema,
  manifestHash: manifestHashSchema,
  keyId: keyIdSchema,
  /** The key's epoch afterwards, one above the one in force: no decision serves twice. */
  epoch: z.number().int().min(1),
  createdAt: unixMsSchema,
});
export type KeyRefresh = z.output<typeof keyRefreshSchema>;

/**
 * Checks what holds for a refresh whatever the key's epoch.
 * @throws CairnError `wrong-cluster`, `wrong-manifest`
 */
export function checkKeyRefresh(refresh: KeyRefresh, { manifest, manifestHash }: ManifestInForce): void {
  if (refresh.cluster !== manifest.cluster) {
    throw new CairnError("wrong-cluster", "the key refresh is for another cluster");
  }
  if (refresh.manifestHash !== manifestHash) {
    throw new CairnError("wrong-manifest", "the key refresh names another manifest than the one in force");
  }
}
