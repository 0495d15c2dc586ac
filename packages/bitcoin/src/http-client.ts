import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Clock } from "@cairn/core";

export interface HttpClientOptions {
  /** http or https, without credentials, query or final slash; paths are put after it. */
  readonly base: string;
  /** Time one request may take, from sending to the last byte, in ms. */
  readonly timeoutMs: number;
  /** Most bytes of one answer. */
  readonly maxResponseBytes: number;
  /** Connections at most. */
  readonly maxConnections: number;
}

export interface HttpClientModules {
  readonly clock: Clock;
  /** Ends all requests under way, and refuses further ones. */
  readonly signal?: AbortSignal | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
}

/** Why there is no answer; `stale` when the server closed a kept connection just as the request went out. */
export class HttpFailure extends Error {
  override readonly name = "HttpFailure";
  readonly reason: "timeout" | "redirect" | "too-long" | "stale" | "connection";

  constructor(reason: HttpFailure["reason"], options?: ErrorOptions) {
    super(reason, options);
    this.reason = reason;
  }
}

/** How long a connection waits for a further request; less where the server says so. */
const IDLE_MS = 4_000;

/**
 * Short requests to one server over kept connections. Redirects are refused. It is `node:http` rather than `fetch`, whose streams and signals
 * cost several times the processor time of a short request.
 */
export class HttpClient {
  readonly #options: HttpClientOptions;
  readonly #clock: Clock;
  readonly #agent: HttpAgent;
  readonly #request: typeof httpRequest;
  readonly #underWay = new Set<ClientRequest>();
  #stopped = false;

  constructor(options: HttpClientOptions, modules: HttpClientModules) {
    this.#options = options;
    this.#clock = modules.clock;
    const secure = options.base.startsWith("https:");
    const kept = { keepAlive: true, maxSockets: options.maxConnections, timeout: IDLE_MS };
    this.#agent = secure ? new HttpsAgent(kept) : new HttpAgent(kept);
    this.#request = secure ? httpsRequest : httpRequest;
    if (modules.signal?.aborted === true) this.#stop();
    modules.signal?.addEventListener("abort", () => this.#stop(), { once: true });
  }

  /**
   * Both kinds of request may reach the server twice: one that a kept connection lost is sent again.
   * @throws HttpFailure but `stale`
   */
  async ask(method: "GET" | "POST", path: string, body?: string): Promise<HttpAnswer> {
    const end = this.#clock.monotonic() + this.#options.timeoutMs;
    for (;;) {
      try {
        return await this.#exchange(method, path, body, end - this.#clock.monotonic());
      } catch (error) {
        if (!(error instanceof HttpFailure) || error.reason !== "stale") throw error;
      }
    }
  }

  #exchange(
    method: "GET" | "POST",
    path: string,
    body: string | undefined,
    withinMs: number,
  ): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#stopped) throw new HttpFailure("connection");
      const options: RequestOptions = { method, agent: this.#agent, headers: headersFor(body) };
      const request = this.#request(`${this.#options.base}${path}`, options);
      let answered = false;
      const fail = (failure: HttpFailure) => {
        settle();
        reject(failure);
        request.destroy();
      };
      const timer = this.#clock.after(withinMs, () => fail(new HttpFailure("timeout")));
      const settle = () => {
        timer.cancel();
        this.#underWay.delete(request);
      };
      this.#underWay.add(request);
      request.on("error", (cause) => {
        const stale = request.reusedSocket && !answered && "code" in cause && cause.code === "ECONNRESET";
        fail(new HttpFailure(stale && !this.#stopped ? "stale" : "connection", { cause }));
      });
      request.on("response", (response) => {
        answered = true;
        const status = response.statusCode ?? 0;
        if (status >= 300 && status < 400) return fail(new HttpFailure("redirect"));
        this.#read(response, fail, (text) => {
          settle();
          resolve({ status, text });
        });
      });
      request.end(body);
    });
  }

  #read(response: IncomingMessage, fail: (failure: HttpFailure) => void, done: (text: string) => void): void {
    const chunks: Buffer[] = [];
    let size = 0;
    response.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > this.#options.maxResponseBytes) fail(new HttpFailure("too-long"));
      else chunks.push(chunk);
    });
    response.on("end", () => done(Buffer.concat(chunks).toString("utf8")));
    response.on("error", (cause) => fail(new HttpFailure("connection", { cause })));
  }

  #stop(): void {
    this.#stopped = true;
    for (const request of this.#underWay) request.destroy(new Error("the client is stopped"));
    this.#agent.destroy();
  }
}

function headersFor(body: string | undefined): NonNullable<RequestOptions["headers"]> {
  if (body === undefined) return { accept: "*/*" };
  return { accept: "*/*", "content-type": "text/plain", "content-length": Buffer.byteLength(body) };
}
