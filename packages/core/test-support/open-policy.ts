import { type Policy, parseShape, policySchema } from "../src/index.ts";

/** A policy document with every rule switched off, but for `change`. */
export function openPolicy(change: { readonly [Field in keyof Policy]?: unknown } = {}): Policy {
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
    ...change,
  });
}
