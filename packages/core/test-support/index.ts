export * from "./alterations.ts";
export * from "./manual-clock.ts";
export * from "./fuzz-decoders.ts";
export * from "./named-signer.ts";
export * from "./open-policy.ts";
export * from "./protocol-examples.ts";
export * from "./refuses.ts";
export * from "./test-manifest.ts";
