import { firstPolicy, type Policy, parseShape, policySchema } from "../src/index.ts";

/** A policy document with every rule switched off, but for `change`. */
export function openPolicy(change: { readonly [Field in keyof Policy]?: unknown } = {}): Policy {
  return parseShape(policySchema, { ...firstPolicy({}), ...change });
}
