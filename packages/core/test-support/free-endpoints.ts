import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:net";

export interface FreeEndpoint {
  readonly host: string;
  readonly port: number;
  /** `host:port`. */
  readonly address: string;
}

/** Below the ranges from which most systems take ports for outgoing connections. */
const LOWEST = 10_000;
const HIGHEST = 32_767;
const MAX_TRIES = 1_000;

/**
 * Places on this machine that nothing listens at, all of one host. They are taken and given back, so whoever needs them must be
 * able to count on them for as long as it runs, also while it is down for a moment: on Linux, where all of 127.0.0.0/8 is
 * loopback, each call has an address of its own, from which no other program listens or dials. Elsewhere it is 127.0.0.1.
 * @throws Error when the machine has too few
 */
export async function freeEndpoints(count: number): Promise<FreeEndpoint[]> {
  const own = `127.${randomInt(1, 255)}.${randomInt(0, 256)}.${randomInt(1, 255)}`;
  const host = (await listens(own, 0)) ? own : "127.0.0.1";
  const found = new Map<number, FreeEndpoint>();
  for (let tries = 0; found.size < count; tries += 1) {
    if (tries >= MAX_TRIES) throw new Error(`found only ${found.size} free ports of ${count}`);
    const port = randomInt(LOWEST, HIGHEST + 1);
    if (await listens(host, port)) found.set(port, { host, port, address: `${host}:${port}` });
  }
  return [...found.values()];
}

async function listens(host: string, port: number): Promise<boolean> {
  const server: Server = createServer();
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch {
    // In use, or not an address of this machine: another one is tried.
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}
