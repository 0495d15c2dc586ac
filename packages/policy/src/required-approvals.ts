import type { Policy, SpendOutput } from "@cairn/core";

/** How many of which keys must approve a request before nodes vote on it; null where policy asks for none. */
export function requiredApprovals(
  { approvals }: Policy,
  { outputs }: { readonly outputs: readonly SpendOutput[] },
): NonNullable<Policy["approvals"]> | null {
  const paysSats = outputs.reduce((sum, { amountSats }) => sum + amountSats, 0n);
  return approvals !== null && paysSats > approvals.aboveSats ? approvals : null;
}
