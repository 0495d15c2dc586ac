import type { IntentRules } from "@cairn/consensus";
import type { Constitution, NodeIndex, UnixMs } from "@cairn/core";
import type { InForce } from "./manifest-book.ts";

/** What everything about spends at this node goes by. */
export interface SpendOptions {
  readonly me: NodeIndex;
  readonly book: InForce;
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
