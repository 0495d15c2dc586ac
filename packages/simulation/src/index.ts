export * from "./cluster-plan.ts";
export * from "./invariant.ts";
export * from "./provision.ts";
export * from "./run-scenario.ts";
export * from "./scenario.ts";
