import { CairnError, type ErrorData } from "@cairn/core";
import type { z } from "zod";
import { type Contract, contract, type Route, type RouteName } from "./contract.ts";
import { problemSchema } from "./problem.ts";
import { type CairnEvent, eventSchema } from "./views.ts";

export interface ClientOptions {
  /** Base URLs of nodes, in order of preference, e.g. `http://127.0.0.1:8080`. The next is tried when one can't be reached. */
  readonly endpoints: readonly string[];
  /** Bearer token, or null for `/health` alone. */
  readonly token: string | null;
  /** Longest wait for one answer, in milliseconds. */
  readonly timeoutMs?: number;
}

type PartOf<R extends Route, Part extends "params" | "query" | "body"> = R extends {
  readonly [K in Part]: infer S extends z.ZodType;
}
  ? { readonly [K in Part]: z.input<S> }
  : object;

type QueryOf<R extends Route> = R extends { readonly query: infer S extends z.ZodType }
  ? { readonly query?: z.input<S> }
  : object;

/** What a call of `Name` takes. */
export type CallInput<Name extends RouteName> = PartOf<Contract[Name], "params"> &
  QueryOf<Contract[Name]> &
  PartOf<Contract[Name], "body"> &
  (Contract[Name] extends { readonly idempotent: true } ? { readonly idempotencyKey?: string } : object);

/** What a call of `Name` answers. */
export type CallOutput<Name extends RouteName> =
  | z.output<Contract[Name]["response"]>
  | (Contract[Name] extends { readonly waiting: infer S extends z.ZodType } ? z.output<S> : never);

/** Longest answer that is read: a page of transactions with full details stays far below. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/** Longest event that is waited for. */
const MAX_EVENT_CHARACTERS = 1024 * 1024;

/**
 * Typed client of a node's REST API. Checks the shape of every answer; believes none of them about addresses or keys: verify
 * wallet records with core's `verifyWalletRecord` and derive.
 *
 * @example
 * const client = new CairnClient({ endpoints: ["http://127.0.0.1:8080"], token });
 * const { transactions } = await client.call("listTransactions", { query: { limit: 10 } });
 */
export class CairnClient {
  readonly #endpoints: readonly string[];
  readonly #token: string | null;
  readonly #timeoutMs: number;

  constructor(options: ClientOptions) {
    if (options.endpoints.length === 0) {
      throw new CairnError(
        "config-invalid",
        "no endpoint is configured; set one with `cairn config set-endpoint URL`",
      );
    }
    this.#endpoints = options.endpoints.map((endpoint) => endpoint.replace(/\/+$/, ""));
    this.#token = options.token;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
  }

  /**
   * Calls one endpoint.
   * @throws CairnError with the code of the node's problem answer; `peer-unreachable` when no endpoint answers;
   * `peer-disagrees` when an answer does not have the promised shape
   */
  async call<Name extends RouteName>(name: Name, input: CallInput<Name>): Promise<CallOutput<Name>> {
    const route: Route = contract[name];
    const parts: { params?: object; query?: object; body?: unknown; idempotencyKey?: string } = input;
    const path = buildPath(route, parts.params ?? {}, parts.query ?? {});
    const headers: Record<string, string> = { accept: "application/json" };
    if (this.#token !== null) headers.authorization = `Bearer ${this.#token}`;
    if (parts.body !== undefined) headers["content-type"] = "application/json";
    if (parts.idempotencyKey !== undefined) headers["idempotency-key"] = parts.idempotencyKey;
    const init: RequestInit = { method: route.method, headers, redirect: "error" };
    if (parts.body !== undefined) init.body = JSON.stringify(parts.body);

    const response = await this.#reach(path, init);
    const text = await readText(response);
    if (!response.ok) throw problemError(response.status, text);
    const shape = response.status === 202 ? (route.waiting ?? route.response) : route.response;
    const parsed = shape.safeParse(parseJson(text));
    if (!parsed.success) {
      throw new CairnError(
        "peer-disagrees",
        "the node's answer does not have the shape that its API promises; compare versions",
        {
          path,
          at: parsed.error.issues[0]?.path.join(".") ?? "",
        },
      );
    }
    return parsed.data as CallOutput<Name>;
  }

  /**
   * The node's events from now on, until `signal` aborts or the connection ends.
   * @throws CairnError as {@link call} does
   */
  async *events(signal: AbortSignal): AsyncGenerator<CairnEvent> {
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (this.#token !== null) headers.authorization = `Bearer ${this.#token}`;
    const response = await this.#reach("/api/v1/events", { headers, signal, redirect: "error" }, false);
    if (!response.ok) throw problemError(response.status, await readText(response));
    if (response.body === null) return;
    let rest = "";
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      rest += chunk;
      const blocks = rest.split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const data = block
          .split("\n")
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(5).trim())
          .join("\n");
        if (data !== "") yield readEvent(data);
      }
      if (rest.length > MAX_EVENT_CHARACTERS) {
        throw new CairnError("too-large", "the node sends an event larger than any of its own", {
          limit: MAX_EVENT_CHARACTERS,
        });
      }
    }
  }

  async #reach(path: string, init: RequestInit, bounded = true): Promise<Response> {
    const failures: string[] = [];
    for (const endpoint of this.#endpoints) {
      try {
        const limit = bounded ? { signal: AbortSignal.timeout(this.#timeoutMs) } : {};
        return await fetch(endpoint + path, { ...limit, ...init });
      } catch (cause) {
        if (init.signal?.aborted) throw cause;
        failures.push(`${endpoint}: ${reasonOf(cause)}`);
      }
    }
    throw new CairnError(
      "peer-unreachable",
      `no node answered (${failures.join("; ")}); start one, or name another with \`cairn config set-endpoint URL\``,
      { endpoints: this.#endpoints },
    );
  }
}

function readEvent(data: string): CairnEvent {
  const parsed = eventSchema.safeParse(parseJson(data));
  if (parsed.success) return parsed.data;
  throw new CairnError(
    "peer-disagrees",
    "the node sends an event that does not have the shape that its API promises; compare versions",
    { at: parsed.error.issues[0]?.path.join(".") ?? "" },
  );
}

function buildPath(route: Route, params: object, query: object): string {
  let path = route.path;
  for (const [key, value] of Object.entries(params))
    path = path.replace(`:${key}`, encodeURIComponent(String(value)));
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, String(value));
  const text = search.toString();
  return text === "" ? path : `${path}?${text}`;
}

async function readText(response: Response): Promise<string> {
  if (response.body === null) return "";
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) {
      throw new CairnError("too-large", "the node's answer is larger than any that its API gives", {
        limit: MAX_ANSWER_BYTES,
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CairnError(
      "peer-disagrees",
      "the answer is not JSON; does the endpoint belong to a Cairn node?",
      {},
      { cause },
    );
  }
}

function problemError(status: number, text: string): CairnError {
  const parsed = problemSchema.safeParse(tryJson(text));
  if (!parsed.success) {
    return new CairnError(
      "peer-disagrees",
      `the endpoint answered ${status} without a problem document; does it belong to a Cairn node?`,
      {
        status,
      },
    );
  }
  return new CairnError(parsed.data.code, parsed.data.detail, { ...(parsed.data.data as ErrorData), status });
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return "failed";
  const inner = cause.cause;
  if (inner instanceof Error && "code" in inner && typeof inner.code === "string") return inner.code;
  return cause.name === "TimeoutError" ? "timed out" : cause.message;
}
