export * from "./cairn-node.ts";
export * from "./create-log.ts";
export * from "./describe-config.ts";
export * from "./load-config.ts";
export * from "./node-facade.ts";
export * from "./rest-server.ts";
export * from "./token-book.ts";
