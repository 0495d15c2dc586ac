export * from "./bent.ts";
export * from "./hostile-accusation.ts";
export * from "./hostile-message.ts";
export * from "./hostile-node.ts";
export * from "./hostile-vote.ts";
export * from "./liar.ts";
export * from "./overheard.ts";
