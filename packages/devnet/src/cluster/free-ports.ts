import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:net";

/**
 * Below the ranges from which systems take ports for outgoing connections, so that the port of a node that is down stays free
 * for it: neither another program nor a peer that dials it in vain can be given that port.
 */
const LOWEST = 10_000;
const HIGHEST = 32_767;
const MAX_TRIES = 1_000;

/**
 * Ports of 127.0.0.1 that nothing listens on, all different. They are taken and given back: whoever needs them listens soon.
 * @throws Error when the machine has too few
 */
export async function freePorts(count: number): Promise<number[]> {
  const held = new Map<number, Server>();
  try {
    for (let tries = 0; held.size < count; tries += 1) {
      if (tries >= MAX_TRIES) throw new Error(`found only ${held.size} free ports of ${count}`);
      const port = randomInt(LOWEST, HIGHEST + 1);
      if (held.has(port)) continue;
      const server = createServer();
      server.listen(port, "127.0.0.1");
      try {
        await once(server, "listening");
      } catch {
        // The port is in use: another one is tried.
        continue;
      }
      held.set(port, server);
    }
    return [...held.keys()];
  } finally {
    await Promise.all([...held.values()].map((server) => new Promise((closed) => server.close(closed))));
  }
}
