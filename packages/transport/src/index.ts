export * from "./courier.ts";
export * from "./memory-hub.ts";
export * from "./metrics.ts";
export * from "./rate-limiter.ts";
export * from "./tcp-transport.ts";
