export * from "./create-engine.ts";
export * from "./create-key-file.ts";
export * from "./create-verification.ts";
export type { OpenEngineOptions, OpenedEngine } from "./open-engine.ts";
