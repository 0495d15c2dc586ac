import { createServer, type Server } from "node:net";

/** Ports of the loopback interface that were free a moment ago, all different. */
export async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = [];
  const ports: number[] = [];
  for (let n = 0; n < count; n++) {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
    const address = server.address();
    if (address !== null && typeof address === "object") ports.push(address.port);
    servers.push(server);
  }
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}
