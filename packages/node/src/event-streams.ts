import type { ServerResponse } from "node:http";
import type { CairnEvent } from "@cairn/client";
import { CairnError, type Clock, type Timer } from "@cairn/core";
import type { NodeEvent } from "@cairn/runtime";
import type { EventHub } from "./event-hub.ts";

export interface EventStreamsOptions {
  /** Clients at once; one more is `busy`. */
  readonly maxClients: number;
  /** Of one token. */
  readonly maxClientsPerCaller: number;
  /** Bytes that may wait for one client; a slower one is cut off and has to come back. */
  readonly maxBufferedBytes: number;
  /** Time between comments that keep proxies from closing a silent stream. */
  readonly heartbeatMs: number;
}

export const defaultEventStreamsOptions: EventStreamsOptions = {
  maxClients: 64,
  maxClientsPerCaller: 8,
  maxBufferedBytes: 256 * 1024,
  heartbeatMs: 15_000,
};

interface Client {
  readonly raw: ServerResponse;
  readonly caller: string;
}

/**
 * Server-sent events (WHATWG HTML §9.2): every event of the node to every client. Nothing is kept for clients that are away; one
 * that comes back reads the lists anew.
 */
export class EventStreams {
  readonly #options: EventStreamsOptions;
  readonly #clock: Clock;
  readonly #clients = new Set<Client>();
  readonly #unsubscribe: () => void;
  #heartbeat: Timer | null = null;
  #closed = false;

  constructor(
    options: EventStreamsOptions,
    modules: { readonly events: Pick<EventHub, "subscribe">; readonly clock: Clock },
  ) {
    this.#options = options;
    this.#clock = modules.clock;
    this.#unsubscribe = modules.events.subscribe((event) => this.#send(blockOf(event)));
    this.#beat();
  }

  get size(): number {
    return this.#clients.size;
  }

  /** @throws CairnError `busy` when there is no room for another stream of `caller` */
  refuseExcess(caller: string): void {
    const own = [...this.#clients].filter((client) => client.caller === caller).length;
    if (
      this.#clients.size < this.#options.maxClients &&
      own < this.#options.maxClientsPerCaller &&
      !this.#closed
    ) {
      return;
    }
    throw new CairnError("busy", "too many clients follow the events; close another stream first", {
      streams: this.#clients.size,
    });
  }

  /** Begins a stream on a response whose head is not written yet. */
  open(raw: ServerResponse, caller: string, headers: Readonly<Record<string, string>>): void {
    const client: Client = { raw, caller };
    this.#clients.add(client);
    raw.on("close", () => this.#clients.delete(client));
    raw.on("error", () => this.#drop(client));
    raw.writeHead(200, {
      ...headers,
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    raw.write(": connected\n\n");
  }

  /** Ends all streams. */
  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    this.#heartbeat?.cancel();
    for (const { raw } of this.#clients) {
      raw.end();
      raw.socket?.destroySoon();
    }
    this.#clients.clear();
  }

  #beat(): void {
    this.#heartbeat = this.#clock.after(this.#options.heartbeatMs, () => {
      this.#send(": alive\n\n");
      this.#beat();
    });
  }

  #send(block: string): void {
    for (const client of this.#clients) {
      if (client.raw.writableLength + block.length > this.#options.maxBufferedBytes) this.#drop(client);
      else client.raw.write(block);
    }
  }

  #drop(client: Client): void {
    this.#clients.delete(client);
    client.raw.destroy();
  }
}

function blockOf(event: NodeEvent): string {
  const data: CairnEvent = {
    id: event.id,
    at: new Date(event.at).toISOString(),
    type: event.type,
    subject: event.subject,
    state: event.state,
    data: event.data,
  };
  return `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(data)}\n\n`;
}
