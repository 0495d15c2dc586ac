import { createMemoryEngine } from "@cairn/signing/memory-engine";
import { SeededRandom } from "./seeded-random.ts";
import type { EngineMaker } from "./simulated-cluster.ts";

/** Engines whose every byte follows from the seed, and which hide nothing. */
export const memoryEngines: EngineMaker = async (node, schedule) =>
  createMemoryEngine({ seed: new SeededRandom(`engine/${node}`).bytes(32), schedule });
