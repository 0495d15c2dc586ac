import type { Clock } from "@cairn/core";
import type { Coordination } from "./coordination.ts";
import { CoordinationHub } from "./coordination-hub.ts";
import { openMemoryCoordination } from "./memory-coordination.ts";

/**
 * Coordination among nobody (`coordination = "none"`, the default): daemons learn of each other by signed gossip alone. What is
 * written stays with this process and this process wins every election.
 */
export function openNoCoordination(modules: { readonly clock: Clock }): Coordination {
  return openMemoryCoordination(new CoordinationHub(modules), false);
}
