import { z } from "zod";
import { contract, type Route } from "./contract.ts";
import { problemSchema } from "./problem.ts";
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

const problem = {
  description: "Refused or failed (RFC 9457); `code` says why",
  content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
};

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
        content: { "application/json": { schema: jsonSchema(route.response) } },
      },
      default: problem,
    },
  };
}

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
          content: { "text/event-stream": { schema: { $ref: "#/components/schemas/Event" } } },
        },
        default: problem,
      },
    },
  };
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
      securitySchemes: { bearer: { type: "http", scheme: "bearer" } },
    },
  };
}
