export * from "./cli-config.ts";
export type { CliModules, TextSink } from "./cli-modules.ts";
export * from "./init/node-settings.ts";
export * from "./init-cluster.ts";
export * from "./run-cli.ts";
export * from "./verify-audit-exports.ts";
