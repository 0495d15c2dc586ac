import { load } from "./load.js";

/** The engine at the reduced level, for tests only. */
export const native = load("cairn-engine-reduced.node", "reduced");
