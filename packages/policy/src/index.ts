export { type Policy, policyHash, policySchema } from "@cairn/core";
export * from "./evaluate.ts";
export * from "./paid-window.ts";
export * from "./required-approvals.ts";
export * from "./rolling-window.ts";
