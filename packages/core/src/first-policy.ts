import type { z } from "zod";
import { parseShape } from "./canonical.ts";
import { type Policy, policySchema } from "./policy-document.ts";

/** Rules of a new cluster's policy; what is left out is switched off. Amounts are bigint satoshi. */
export type PolicyLimits = Partial<Omit<z.input<typeof policySchema>, "version" | "policyVersion">>;

/**
 * The first policy document of a cluster.
 * @throws CairnError `malformed`
 */
export function firstPolicy(limits: PolicyLimits): Policy {
  return parseShape(policySchema, {
    version: 1,
    policyVersion: 1,
    perTransactionMaxSats: null,
    rolling24hMaxSats: null,
    perDestination24hMaxSats: null,
    whitelist: null,
    feeCeilingSats: null,
    feeRateCeilingSatsPerKvb: null,
    rateLimit: null,
    delayMs: 0,
    approvals: null,
    ...limits,
  });
}
