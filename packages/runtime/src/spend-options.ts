import type { IntentRules } from "@cairn/consensus";
import type { Manifest, ManifestHash, NodeIndex, UnixMs } from "@cairn/core";
import type { Policy } from "@cairn/policy";

/** What everything about spends at this node goes by. */
export interface SpendOptions {
  readonly me: NodeIndex;
  readonly manifest: Manifest;
  readonly manifestHash: ManifestHash;
  readonly policy: Policy;
  readonly protocolVersions: readonly number[];
  readonly clockSkewMs: number;
  /** Length of a round of voting. */
  readonly roundMs: number;
  /** Wait before a check that may pass later is made again. */
  readonly recheckMs: number;
}

/** What a node holds an intent against, beside the PSBT rules: everything about its cluster, its software and its clock. */
export function intentContext(
  { manifest, manifestHash, policy, protocolVersions, clockSkewMs }: SpendOptions,
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
