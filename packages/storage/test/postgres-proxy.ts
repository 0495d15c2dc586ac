import { once } from "node:events";
import { createServer, type Server, Socket } from "node:net";
import { freeEndpoints } from "@cairn/core/test-support";

/** A statement that ends or begins a transaction, seen on its way to the server. */
export type TransactionPoint = "begin" | "commit";

/**
 * What becomes of it: `pass`; `cut` breaks the connection before the server hears it; `deafen` lets the server carry it out and breaks
 * the connection before anybody hears so.
 */
export type Fate = "pass" | "cut" | "deafen";

/** Stands between a store and its server, and breaks connections where it is told to. */
export class PostgresProxy {
  readonly host: string;
  readonly port: number;
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #fate: (point: TransactionPoint) => Fate | Promise<Fate> = () => "pass";
  #blocked = false;

  private constructor(server: Server, host: string, port: number) {
    this.#server = server;
    this.host = host;
    this.port = port;
  }

  static async create(target: { readonly host: string; readonly port: number }): Promise<PostgresProxy> {
    const [place] = await freeEndpoints(1);
    if (place === undefined) throw new Error("no free port");
    const server = createServer();
    const proxy = new PostgresProxy(server, place.host, place.port);
    server.on("connection", (client) => proxy.#join(client, target));
    server.listen(place.port, place.host);
    await once(server, "listening");
    return proxy;
  }

  /** Asked at each point, until another is set. */
  set fate(fate: (point: TransactionPoint) => Fate | Promise<Fate>) {
    this.#fate = fate;
  }

  /** Breaks all connections, and takes no new ones until {@link unblock}. */
  block(): void {
    this.#blocked = true;
    this.cut();
  }

  unblock(): void {
    this.#blocked = false;
  }

  /** Breaks all connections. */
  cut(): void {
    for (const pair of this.#pairs) destroy(pair);
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(client: Socket, target: { readonly host: string; readonly port: number }): void {
    if (this.#blocked) {
      client.destroy();
      return;
    }
    const upstream = new Socket();
    const pair = [client, upstream] as const;
    this.#pairs.add(pair);
    let deaf = false;
    let order = Promise.resolve();
    client.on("data", (chunk) => {
      order = order.then(async () => {
        const point = pointOf(chunk);
        const fate = point === null ? "pass" : await this.#fate(point);
        if (fate === "cut") return destroy(pair);
        deaf ||= fate === "deafen";
        if (!upstream.destroyed) upstream.write(chunk);
      });
    });
    upstream.on("data", (chunk) => {
      if (deaf) destroy(pair);
      else client.write(chunk);
    });
    for (const socket of pair) {
      socket.on("error", () => {});
      socket.on("close", () => {
        destroy(pair);
        this.#pairs.delete(pair);
      });
    }
    upstream.connect(target.port, target.host);
  }
}

function destroy(pair: readonly Socket[]): void {
  for (const socket of pair) socket.destroy();
}

/** Simple queries: `Q`, four bytes of length, the text, a zero byte. */
function pointOf(chunk: Buffer): TransactionPoint | null {
  const text = chunk.toString("latin1");
  if (text.includes("Q\0\0\0\x0bcommit\0")) return "commit";
  return text.includes("Q\0\0\0\nbegin\0") ? "begin" : null;
}
