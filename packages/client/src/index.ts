export * from "./alert-kind.ts";
export * from "./cairn-client.ts";
export * from "./contract.ts";
export * from "./json.ts";
export * from "./openapi.ts";
export * from "./problem.ts";
export * from "./role.ts";
export * from "./views.ts";
