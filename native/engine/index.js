import { load } from "./load.js";

/** The engine at production's security level. */
export const native = load("cairn-engine.node", "full");
