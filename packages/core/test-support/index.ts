export * from "./named-signer.ts";
export * from "./open-policy.ts";
export * from "./protocol-examples.ts";
export * from "./test-manifest.ts";
