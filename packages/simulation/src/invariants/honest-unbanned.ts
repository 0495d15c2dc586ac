import type { Invariant } from "../invariant.ts";

/** No honest node holds a ban of another, for itself or for the cluster, nor finds that it was set back: no simulated disk ever is. */
export function honestUnbanned(): Invariant {
  return {
    name: "honest-unbanned",
    see(world, event) {
      if (event.kind !== "committed" || !world.honest(event.node)) return null;
      for (const write of event.writes) {
        if (write.write === "ban" && world.honest(write.row.node))
          return `node ${event.node} banned honest node ${write.row.node} (${write.row.scope})`;
        if (write.write === "violation" && write.row.type === "Rollback" && world.honest(write.row.node))
          return `node ${event.node} takes honest node ${write.row.node} for set back`;
      }
      return null;
    },
  };
}
