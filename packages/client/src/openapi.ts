import { type ErrorCode, errorCodes } from "@cairn/core";
import { z } from "zod";
import { contract, type Route } from "./contract.ts";
import { problemSchema } from "./problem.ts";
import type { Role } from "./role.ts";
import { eventSchema } from "./views.ts";

type Json = { [key: string]: unknown };

/** JSON Schema 2020-12 of what a caller sends or receives on the wire. */
function jsonSchema(schema: z.ZodType): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io: "input",
    unrepresentable: "any",
    target: "draft-2020-12",
  });
  return rest;
}

function parameters(route: Route): Json[] {
  const from = (schema: z.ZodObject | undefined, place: "path" | "query"): Json[] =>
    Object.entries(schema?.shape ?? {}).map(([name, field]) => ({
      name,
      in: place,
      required: place === "path" || !(field as z.ZodType).safeParse(undefined).success,
      schema: jsonSchema(field as z.ZodType),
    }));
  const idempotency = {
    name: "Idempotency-Key",
    in: "header",
    required: false,
    description: "Makes a retry of the same body the same request; with another body it is refused",
    schema: { type: "string", minLength: 1, maxLength: 128 },
  };
  return [
    ...from(route.params, "path"),
    ...from(route.query, "query"),
    ...(route.idempotent ? [idempotency] : []),
  ];
}

const problemContent = {
  "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
};

/** Headers of every answer. */
const headers = Object.fromEntries(
  ["X-Request-Id", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"].map((name) => [
    name,
    { $ref: `#/components/headers/${name}` },
  ]),
);

/** Codes with which an endpoint may refuse a call, by HTTP status. Failures of the node itself are beside them. */
export function refusalsOf(
  route: Pick<Route, "role" | "params" | "query" | "body" | "idempotent" | "refusals">,
): ReadonlyMap<number, readonly ErrorCode[]> {
  const codes: ErrorCode[] = [
    ...(route.params === undefined && route.query === undefined && route.body === undefined
      ? []
      : (["malformed"] as const)),
    ...(route.role === null ? [] : (["unauthenticated"] as const)),
    ...(route.role === null || route.role === "viewer" ? [] : (["forbidden"] as const)),
    ...(route.params === undefined ? [] : (["not-found"] as const)),
    ...(route.body === undefined ? [] : (["too-large"] as const)),
    ...(route.idempotent ? (["idempotency-conflict"] as const) : []),
    "rate-limited",
    ...(route.refusals ?? []),
  ];
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of new Set(codes)) {
    const { http } = errorCodes[code];
    byStatus.set(http, [...(byStatus.get(http) ?? []), code]);
  }
  return new Map([...byStatus].sort(([a], [b]) => a - b));
}

function refusals(route: Parameters<typeof refusalsOf>[0]): Json {
  const documented = [...refusalsOf(route)].map(([status, codes]) => [
    String(status),
    {
      description: `Refused: ${codes.map((code) => `\`${code}\``).join(", ")}`,
      headers:
        status === 429
          ? { ...headers, "Retry-After": { $ref: "#/components/headers/Retry-After" } }
          : headers,
      content: problemContent,
    },
  ]);
  const other = {
    description: "The node failed, or can't serve this now; `code` says why",
    content: problemContent,
  };
  return { ...Object.fromEntries(documented), default: other };
}

function operation(name: string, route: Route): Json {
  return {
    operationId: name,
    summary: route.summary,
    tags: [route.tag],
    ...(route.role === null
      ? { security: [] }
      : { description: `Role: ${route.role}`, security: [{ bearer: [] }] }),
    parameters: parameters(route),
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { "application/json": { schema: jsonSchema(route.body) } },
          },
        }),
    responses: {
      [route.status]: {
        description: "Success",
        headers,
        content: { "application/json": { schema: jsonSchema(route.response) } },
      },
      ...(route.waiting === undefined
        ? {}
        : {
            202: {
              description: "Not there yet: ask again",
              headers,
              content: { "application/json": { schema: jsonSchema(route.waiting) } },
            },
          }),
      ...refusals(route),
    },
  };
}

/** Endpoints whose answers are no JSON of the contract. */
const pages: readonly {
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly role: Role | null;
  readonly type: string;
}[] = [
  {
    path: "/metrics",
    operationId: "metrics",
    summary: "Metrics for Prometheus",
    role: "viewer",
    type: "text/plain",
  },
  {
    path: "/api/v1/openapi.json",
    operationId: "openapi",
    summary: "This document",
    role: null,
    type: "application/json",
  },
  {
    path: "/api/docs",
    operationId: "docs",
    summary: "This document as a page to read",
    role: null,
    type: "text/html",
  },
];

/** The OpenAPI 3.1 document of the REST API, made from the contract. */
export function openApiDocument(version: string): Json {
  const paths: Record<string, Json> = {};
  for (const [name, route] of Object.entries<Route>(contract)) {
    const path = route.path.replace(/:([A-Za-z]+)/g, "{$1}");
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(name, route) };
  }
  paths["/api/v1/events"] = {
    get: {
      operationId: "events",
      summary: "Server-sent events: transactions, keys, sessions, peers, violations",
      tags: ["events"],
      description: "Role: viewer",
      security: [{ bearer: [] }],
      parameters: [],
      responses: {
        200: {
          description: "A stream whose `data` lines hold one Event each",
          headers,
          content: { "text/event-stream": { schema: { $ref: "#/components/schemas/Event" } } },
        },
        ...refusals({ role: "viewer", refusals: ["busy"] }),
      },
    },
  };
  for (const { path, operationId, summary, role, type } of pages) {
    paths[path] = {
      get: {
        operationId,
        summary,
        tags: ["node"],
        ...(role === null ? { security: [] } : { description: `Role: ${role}`, security: [{ bearer: [] }] }),
        parameters: [],
        responses: {
          200: { description: "Success", headers, content: { [type]: { schema: {} } } },
          ...refusals({ role }),
        },
      },
    };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Cairn node",
      version,
      description: "REST API of a Cairn node. Amounts are decimal strings of satoshi; times ISO 8601 in UTC.",
      license: { name: "MIT OR Apache-2.0", identifier: "MIT OR Apache-2.0" },
    },
    paths,
    components: {
      schemas: { Problem: jsonSchema(problemSchema), Event: jsonSchema(eventSchema) },
      headers: {
        "X-Request-Id": {
          description:
            "Id of the request in the log: the caller's own where it sent one of 8 to 64 plain characters",
          schema: { type: "string" },
        },
        "RateLimit-Limit": { description: "Requests a minute", schema: { type: "integer" } },
        "RateLimit-Remaining": { description: "Requests left in this minute", schema: { type: "integer" } },
        "RateLimit-Reset": { description: "Seconds until the minute ends", schema: { type: "integer" } },
        "Retry-After": { description: "Seconds to wait", schema: { type: "integer" } },
      },
      securitySchemes: { bearer: { type: "http", scheme: "bearer" } },
    },
  };
}
