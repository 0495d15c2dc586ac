import type { IntentRules } from "@cairn/consensus";
import type { Constitution, ManifestHash, NodeIndex, UnixMs } from "@cairn/core";

/** What everything about spends at this node goes by: what is in force now, asked for at each use. */
export interface SpendOptions extends Constitution {
  readonly me: NodeIndex;
  /** What is or was in force under this hash. @throws CairnError `wrong-manifest` */
  readonly under: (hash: ManifestHash) => Constitution;
  readonly protocolVersions: readonly number[];
  readonly clockSkewMs: number;
  /** Length of a round of voting. */
  readonly roundMs: number;
  /** Wait before a check that may pass later is made again. */
  readonly recheckMs: number;
}

/**
 * What a node holds an intent against, beside the PSBT rules: everything about its cluster, its software and its clock.
 * @param constitution of the manifest that the intent names, in force or not
 */
export function intentContext(
  { manifest, manifestHash, policy }: Constitution,
  { protocolVersions, clockSkewMs }: Pick<SpendOptions, "protocolVersions" | "clockSkewMs">,
  now: UnixMs,
): IntentRules & {
  readonly policyVersion: number;
  readonly protocolVersions: readonly number[];
  readonly clockSkewMs: number;
  readonly now: UnixMs;
} {
  const { policyVersion } = policy;
  return { manifest, manifestHash, policyVersion, protocolVersions, clockSkewMs, now };
}
