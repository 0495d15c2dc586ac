import type { PostgresServer } from "../test-support/index.ts";
import type { CrashPlace } from "./crash-campaign.ts";
import { createPostgresPlace } from "./postgres-place.ts";
import { type Fate, PostgresProxy, type TransactionPoint } from "./postgres-proxy.ts";
import { postgresSpec } from "./store-spec.ts";

/** Transactions of one life, at most. */
const LONGEST_LIFE = 40;
/** Transactions between the server's end and the process's. */
const AFTERLIFE = 5;

/**
 * A database whose process dies at a transaction's begin or commit, before or after the server hears of it. `serverToo` is how often, 0 to
 * 1, the server is killed there first and started again, and the process some transactions later.
 */
export async function createPostgresCrashPlace(
  server: PostgresServer,
  random: () => number,
  serverToo: number,
): Promise<CrashPlace> {
  const place = await createPostgresPlace(server);
  const proxy = await PostgresProxy.create(server);
  const oneOf = <T>(first: T, second: T): T => (random() < 0.5 ? first : second);
  return {
    spec: postgresSpec(proxy, place.database),
    open: () => place.open(),
    arm: (kill) => {
      const point = oneOf<TransactionPoint>("begin", "commit");
      const fate = oneOf<Fate>("cut", "deafen");
      let left = Math.ceil(random() * LONGEST_LIFE);
      let alive = random() < serverToo;
      proxy.fate = async (seen) => {
        if (seen !== point) return "pass";
        left -= 1;
        if (left > 0) return "pass";
        if (!alive) {
          kill();
          // The server hears what the process said last, or does not.
          return fate === "cut" ? "cut" : "pass";
        }
        alive = false;
        left = AFTERLIFE;
        if (fate === "deafen") {
          // While it carries the statement out, or just before, or just after.
          setTimeout(() => void restart(server), random() * 3);
          return "deafen";
        }
        await restart(server);
        return "cut";
      };
    },
    remove: async () => {
      await proxy.close();
      await place.remove();
    },
  };
}

async function restart(server: PostgresServer): Promise<void> {
  await server.stop("kill");
  await server.start();
}
