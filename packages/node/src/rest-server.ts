import { createServer, type RequestListener, type Server, STATUS_CODES } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { contract, openApiDocument, type Role, type Route, type RouteName, roleCovers } from "@cairn/client";
import {
  CairnError,
  type Clock,
  errorCodes,
  isCairnError,
  type NodeConfig,
  type NodeStore,
  parseShape,
  type Random,
  sha256Hex,
  toHex,
} from "@cairn/core";
import cors from "@fastify/cors";
import rateLimit from "@fastify/rate-limit";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { z } from "zod";
import { type ApiModules, OBSERVER_ROLE } from "./api-modules.ts";
import { apiPage, apiPagePolicy } from "./api-page.ts";
import type { Log } from "./create-log.ts";
import { defaultEventStreamsOptions, EventStreams, type EventStreamsOptions } from "./event-streams.ts";
import type { Handlers } from "./handler.ts";
import { IdempotencyDesk, type Prepare } from "./idempotency-desk.ts";
import type { NodeMetrics } from "./metrics.ts";
import { Patience } from "./patience.ts";
import { problemOf } from "./problem-of.ts";
import { readJson } from "./read-json.ts";
import { auditHandlers } from "./routes/audit-handlers.ts";
import { backupHandlers } from "./routes/backup-handlers.ts";
import { banHandlers } from "./routes/ban-handlers.ts";
import { clusterHandlers } from "./routes/cluster-handlers.ts";
import { grantHandlers } from "./routes/grant-handlers.ts";
import { keyHandlers } from "./routes/key-handlers.ts";
import { policyHandlers } from "./routes/policy-handlers.ts";
import { presignatureHandlers } from "./routes/presignature-handlers.ts";
import { proposalHandlers } from "./routes/proposal-handlers.ts";
import { sessionHandlers } from "./routes/session-handlers.ts";
import { tokenHandlers } from "./routes/token-handlers.ts";
import { transactionHandlers } from "./routes/transaction-handlers.ts";
import { walletHandlers } from "./routes/wallet-handlers.ts";
import { type Caller, TokenBook } from "./token-book.ts";

export interface RestServerOptions {
  /** `[api]` of the configuration. */
  readonly api: NodeConfig["api"];
  /** PEM certificate chain and key, or null for plain HTTP. */
  readonly tls: { readonly certificate: Uint8Array; readonly key: Uint8Array } | null;
  readonly events?: EventStreamsOptions;
  /** Longest time for a request's headers, and for the whole request; 10 s and 30 s by default. */
  readonly headersTimeoutMs?: number;
  readonly requestTimeoutMs?: number;
}

export interface RestServerModules {
  readonly api: ApiModules;
  readonly store: NodeStore;
  readonly log: Log;
  readonly metrics: NodeMetrics;
  readonly clock: Clock;
  readonly random: Random;
  /** Told what goes wrong in work that nobody waits for. */
  readonly report: (cause: unknown) => void;
}

export interface RestServer {
  /** Where it listens, e.g. `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Clients of the event stream. */
  readonly eventClients: () => number;
  /** Refuses new connections, ends event streams, and resolves when the requests under way are answered. */
  close(): Promise<void>;
}

declare module "fastify" {
  interface FastifyRequest {
    /** Holder of the request's token, or null. */
    caller: Caller | null;
    /** Monotonic time of arrival. */
    arrivedAt: number;
    /** Bytes of the body as they came. */
    rawBody: Buffer | null;
  }
}

const ID_HEADER = "x-request-id";
const DAY_MS = 86_400_000;
const IDLE_TIMEOUT_MS = 30_000;
const MAX_HEADER_BYTES = 16 * 1024;

/**
 * The REST API, made from the client package's contract: every route's role, shapes and status come from that table.
 * @throws CairnError `config-invalid` when it can't listen at `api.listen`
 */
export async function startRestServer(
  options: RestServerOptions,
  modules: RestServerModules,
): Promise<RestServer> {
  const { api } = options;
  const { log, metrics, clock } = modules;
  const app = createApp(options, modules);
  const tokens = new TokenBook(api.tokens, { store: modules.store, clock });
  const streams = new EventStreams(options.events ?? defaultEventStreamsOptions, {
    events: modules.api.events,
    clock,
  });
  const idempotency = new IdempotencyDesk(
    { keepMs: api.idempotency_days * DAY_MS },
    { store: modules.store, clock, report: modules.report },
  );

  app.decorateRequest("caller", null);
  app.decorateRequest("arrivedAt", 0);
  app.decorateRequest("rawBody", null);
  app.addHook("onRequest", async (request, reply) => {
    request.arrivedAt = clock.monotonic();
    reply.headers({
      [ID_HEADER]: request.id,
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
    });
    request.caller = await tokens.find(request.headers.authorization);
  });
  app.addHook("onResponse", async (request, reply) => {
    const elapsedMs = clock.monotonic() - request.arrivedAt;
    const route = request.routeOptions.url ?? "(none)";
    metrics.request(route, request.method, reply.statusCode, elapsedMs / 1000);
    log.info("request", {
      request: request.id,
      method: request.method,
      route,
      path: request.url.split("?")[0],
      status: reply.statusCode,
      elapsedMs: Math.round(elapsedMs),
      caller: request.caller?.name ?? null,
      remote: request.ip,
    });
  });
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply, log));

  if (api.cors_origins.length > 0) {
    await app.register(cors, {
      origin: [...api.cors_origins],
      methods: ["GET", "POST"],
      allowedHeaders: ["authorization", "content-type", "idempotency-key", ID_HEADER],
      exposedHeaders: [
        ID_HEADER,
        "idempotency-replayed",
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
        "retry-after",
      ],
      maxAge: 600,
    });
  }
  await app.register(rateLimit, {
    global: true,
    max: api.rate_per_minute,
    timeWindow: 60_000,
    enableDraftSpec: true,
    keyGenerator: (request: FastifyRequest) =>
      request.caller === null ? `address ${request.ip}` : `token ${request.caller.hash}`,
    errorResponseBuilder: (_request, { max, ttl }) =>
      new CairnError(
        "rate-limited",
        `more than ${max} requests in a minute; wait ${Math.ceil(ttl / 1000)} s, or raise api.rate_per_minute`,
        { limit: max, retryAfterMs: ttl },
      ),
  });
  app.setNotFoundHandler({ preHandler: app.rateLimit() }, async (request) => {
    throw new CairnError("not-found", "there is no such endpoint; /api/v1/openapi.json lists them", {
      method: request.method,
    });
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    "application/json",
    { parseAs: "buffer" },
    async (request: FastifyRequest, body: Buffer) => {
      request.rawBody = body;
      return readJson(body);
    },
  );

  const patience = new Patience({ events: modules.api.events, clock: modules.clock });
  const handlers = {
    ...handlersOf(modules.api, patience),
    ...tokenHandlers(modules.api, api.tokens, tokens),
  };
  addContractRoutes(app, handlers, idempotency, log);
  addObserverRoutes(app, { streams, metrics, version: modules.api.version });
  let closing = false;
  // A connection that is kept for more would hold up the stop until it is idle for too long.
  app.addHook("onSend", async (_request, reply) => {
    if (closing) reply.header("connection", "close");
  });
  app.addHook("preClose", async () => {
    closing = true;
    streams.close();
    patience.close();
    idempotency.close();
  });

  const address = await listen(app, api.listen);
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return {
    url: `${options.tls === null ? "http" : "https"}://${host}:${address.port}`,
    eventClients: () => streams.size,
    close: () => app.close(),
  };
}

function handlersOf(
  api: ApiModules,
  patience: Patience,
): Omit<Handlers, keyof ReturnType<typeof tokenHandlers>> {
  return {
    ...clusterHandlers(api),
    ...transactionHandlers(api),
    ...grantHandlers(api, patience),
    ...walletHandlers(api),
    ...keyHandlers(api),
    ...presignatureHandlers(api),
    ...sessionHandlers(api),
    ...policyHandlers(api),
    ...proposalHandlers(api),
    ...backupHandlers(api),
    ...banHandlers(api),
    ...auditHandlers(api),
  };
}

function createApp(options: RestServerOptions, { log, random }: RestServerModules): FastifyInstance {
  const { tls } = options;
  return Fastify({
    bodyLimit: options.api.max_body_bytes,
    routerOptions: { maxParamLength: 256 },
    forceCloseConnections: "idle",
    // An id of the caller's own joins logs of several systems, where it looks like one.
    genReqId: (raw) => {
      const given = raw.headers[ID_HEADER];
      return typeof given === "string" && /^[A-Za-z0-9._-]{8,64}$/.test(given)
        ? given
        : toHex(random.bytes(12));
    },
    clientErrorHandler: (error, socket) => refuseConnection(error, socket, toHex(random.bytes(12))),
    frameworkErrors: (error, request, reply) => sendProblem(error, request, reply, log),
    serverFactory: (handler: RequestListener): Server => {
      const limits = {
        headersTimeout: options.headersTimeoutMs ?? 10_000,
        requestTimeout: options.requestTimeoutMs ?? 30_000,
        keepAliveTimeout: IDLE_TIMEOUT_MS,
        connectionsCheckingInterval: Math.min(1_000, options.headersTimeoutMs ?? 1_000),
        maxHeaderSize: MAX_HEADER_BYTES,
      };
      const server =
        tls === null
          ? createServer(limits, handler)
          : createTlsServer(
              {
                ...limits,
                cert: Buffer.from(tls.certificate),
                key: Buffer.from(tls.key),
                minVersion: "TLSv1.2",
                handshakeTimeout: 10_000,
              },
              handler,
            );
      server.maxConnections = options.api.max_connections;
      return server;
    },
  });
}

async function sendProblem(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  log: Log,
): Promise<FastifyReply> {
  const problem = problemOf(hungUp(error, request) ?? error, request.id);
  if (problem.status >= 500) {
    const write = isCairnError(error) && errorCodes[error.code].http !== 500 ? log.warn : log.error;
    write("request failed", { request: request.id, error });
  }
  if (problem.status === 401) reply.header("www-authenticate", 'Bearer realm="cairn"');
  return reply
    .code(problem.status)
    .type("application/problem+json")
    .send(Buffer.from(JSON.stringify(problem), "utf8"));
}

/** The refusal of a request that its caller broke off, which is no fault of the node; nobody may be left to hear it. */
function hungUp(error: unknown, { raw }: FastifyRequest): CairnError | null {
  const reset = error instanceof Error && "code" in error && error.code === "ECONNRESET";
  if (!reset || raw.complete) return null;
  return new CairnError("malformed", "the caller hung up before the whole request had come; send it again");
}

/** Answers what is no HTTP request, or comes too slowly to be one, and hangs up. */
function refuseConnection(error: Error & { readonly code?: string }, socket: Socket, id: string): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const refusal =
    error.code === "ERR_HTTP_REQUEST_TIMEOUT"
      ? new CairnError("timeout", "the request did not arrive in time; send it faster")
      : error.code === "HPE_HEADER_OVERFLOW"
        ? new CairnError("too-large", "the request's headers are larger than any that the API takes")
        : new CairnError("malformed", "what came is not an HTTP request");
  const problem = problemOf(refusal, id);
  // Of the statuses for a slow request, 408 is the one that HTTP has for it (RFC 9110 §15.5.9).
  const status = refusal.code === "timeout" ? 408 : problem.status;
  const body = JSON.stringify({ ...problem, status });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\ncontent-type: application/problem+json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

/** Refuses callers whose token does not cover `role`, before the body is read. */
function requireRole(role: Role) {
  return async (request: FastifyRequest): Promise<void> => {
    const { caller } = request;
    if (caller === null) {
      throw new CairnError(
        "unauthenticated",
        "send a valid token as `Authorization: Bearer TOKEN`; `cairn token create` makes one, and `cairn init` made the first",
      );
    }
    if (roleCovers(caller.role, role)) return;
    throw new CairnError("forbidden", `this needs a token of role ${role}; yours has ${caller.role}`, {
      needed: role,
      held: caller.role,
    });
  };
}

/** A handler after its types have been checked against the contract by {@link Handlers}. */
type AnyHandler = (input: {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
  readonly prepare: Prepare;
}) => Promise<unknown>;

function addContractRoutes(app: FastifyInstance, handlers: Handlers, desk: IdempotencyDesk, log: Log): void {
  for (const [name, route] of Object.entries<Route>(contract)) {
    const handler = handlers[name as RouteName] as AnyHandler;
    app.route({
      method: route.method,
      url: route.path,
      ...(route.role === null ? {} : { preParsing: requireRole(route.role) }),
      handler: async (request, reply) => {
        const parts = {
          params: validate(route.params, request.params, "path"),
          query: validate(route.query, request.query, "query"),
          body: validate(route.body, request.body, "body"),
        };
        const execute = async (prepare: Prepare) => {
          const answer = await handler({ ...parts, prepare });
          return serialise(route, answer, log);
        };
        const key = request.headers["idempotency-key"];
        const { status, body, replayed } =
          route.idempotent && key !== undefined && request.caller !== null
            ? await desk.run(
                {
                  scope: request.caller.hash,
                  key: String(key),
                  request: requestHash(name, request.rawBody ?? Buffer.alloc(0)),
                },
                execute,
              )
            : { ...(await execute(async (make) => make())), replayed: false };
        if (replayed) reply.header("idempotency-replayed", "true");
        return reply.code(status).type("application/json; charset=utf-8").send(body);
      },
    });
  }
}

function requestHash(name: string, body: Buffer) {
  return sha256Hex(Buffer.concat([Buffer.from(`${name}\n`, "utf8"), body])) as Parameters<
    IdempotencyDesk["run"]
  >[0]["request"];
}

function validate(schema: z.ZodType | undefined, value: unknown, part: string): unknown {
  if (schema === undefined) return undefined;
  try {
    return parseShape(schema, value);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    throw new CairnError(error.code, `${part}: ${error.message}`, { ...error.data, part }, { cause: error });
  }
}

/** What the contract promises, and nothing beside it. */
function serialise(
  route: Route,
  answer: unknown,
  log: Log,
): { readonly status: number; readonly body: string } {
  const parsed = route.response.safeParse(answer);
  if (parsed.success) return { status: route.status, body: JSON.stringify(parsed.data) };
  const waiting = route.waiting?.safeParse(answer);
  if (waiting?.success) return { status: 202, body: JSON.stringify(waiting.data) };
  const issue = parsed.error.issues[0];
  log.error("an answer breaks the contract", {
    path: route.path,
    at: issue?.path.join("."),
    what: issue?.message,
  });
  throw new CairnError("internal", "the node's answer breaks its own contract; its log says where");
}

function addObserverRoutes(
  app: FastifyInstance,
  modules: { readonly streams: EventStreams; readonly metrics: NodeMetrics; readonly version: string },
): void {
  const { streams, metrics } = modules;
  const description = openApiDocument(modules.version);
  const document = JSON.stringify(description);
  const page = apiPage(description);
  app.get("/api/v1/openapi.json", async (_request, reply) =>
    reply.type("application/json; charset=utf-8").send(document),
  );
  app.get("/api/docs", async (_request, reply) =>
    reply.header("content-security-policy", apiPagePolicy).type("text/html; charset=utf-8").send(page),
  );
  app.get("/metrics", { preParsing: requireRole(OBSERVER_ROLE) }, async (_request, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  );
  app.get("/api/v1/events", { preParsing: requireRole(OBSERVER_ROLE) }, async (request, reply) => {
    const caller = request.caller?.hash ?? "";
    streams.refuseExcess(caller);
    const headers = Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)] as const);
    reply.hijack();
    streams.open(reply.raw, caller, Object.fromEntries(headers));
  });
}

async function listen(app: FastifyInstance, where: string): Promise<AddressInfo> {
  const [, host, port] = /^(.*):([0-9]+)$/.exec(where) ?? [];
  try {
    await app.listen({ host: (host ?? "").replace(/^\[|\]$/g, ""), port: Number(port) });
  } catch (cause) {
    await app.close();
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "failed";
    throw new CairnError(
      "config-invalid",
      `the REST API can't listen at ${where} (${code}); free the port or set api.listen to another`,
      { key: "api.listen", code },
      { cause },
    );
  }
  const address = app.server.address();
  if (address === null || typeof address === "string") {
    throw new CairnError("internal", "the REST API listens nowhere");
  }
  return address;
}
