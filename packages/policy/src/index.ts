export { type Policy, policyHash, policySchema } from "@cairn/core";
export * from "./evaluate.ts";
export * from "./required-approvals.ts";
