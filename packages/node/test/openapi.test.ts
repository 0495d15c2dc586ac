import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { contract, type Role, roles, signedSpendRequestJsonSchema } from "@cairn/client";
import { type SigningGrant, signingGrantSchema } from "@cairn/consensus";
import {
  CairnError,
  decodeCanonical,
  type ErrorCode,
  encodeCanonical,
  keyIdSchema,
  type SignatureHex,
  txidSchema,
} from "@cairn/core";
import { Ajv2020 } from "ajv/dist/2020.js";
import { z } from "zod";
import { defaultEventStreamsOptions } from "../src/event-streams.ts";
import { eventOf } from "./fake-node.ts";
import { type KnownIds, knownIds, newToken, requestOf } from "./known-requests.ts";
import { type Answer, RestFixture, type RestFixtureOptions, tokenOf } from "./rest-fixture.ts";

const contentSchema = z.record(z.string(), z.object({ schema: z.record(z.string(), z.unknown()) }));
const parameterSchema = z.object({
  name: z.string(),
  in: z.enum(["path", "query", "header"]),
  required: z.boolean(),
  schema: z.record(z.string(), z.unknown()),
});
const operationSchema = z.object({
  operationId: z.string(),
  summary: z.string().min(1),
  description: z.string().optional(),
  security: z.array(z.unknown()),
  parameters: z.array(parameterSchema),
  requestBody: z.object({ content: contentSchema }).optional(),
  responses: z.record(
    z.string(),
    z.object({
      description: z.string().min(1),
      headers: z.record(z.string(), z.object({ $ref: z.string() })).optional(),
      content: contentSchema,
    }),
  ),
});
const documentSchema = z.object({
  openapi: z.string().regex(/^3\.1\./),
  paths: z.record(z.string(), z.record(z.string(), operationSchema)),
  components: z.object({
    schemas: z.record(z.string(), z.record(z.string(), z.unknown())),
    headers: z.record(z.string(), z.unknown()),
  }),
});
type Document = z.output<typeof documentSchema>;

interface Operation extends z.output<typeof operationSchema> {
  readonly method: "GET" | "POST";
  readonly path: string;
}

function operationsOf({ paths }: Document): readonly Operation[] {
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]): Operation => {
      assert.ok(method === "get" || method === "post", method);
      return { ...operation, path, method: method === "get" ? "GET" : "POST" };
    }),
  );
}

let rest: RestFixture;
let document: Document;
let operations: readonly Operation[];
let ajv: Ajv2020;
before(async () => {
  rest = await RestFixture.start();
  rest.node.fund(60_000n);
  const served = await rest.call("GET", "/api/v1/openapi.json", { role: null });
  document = documentSchema.parse(served.json);
  operations = operationsOf(document);
  ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema({ $id: "doc", ...served.json });
});
after(() => rest.close());

test("the OpenAPI document is valid 3.1: unique ids, declared path parameters, schemas that compile, references that resolve", () => {
  const ids = operations.map(({ operationId }) => operationId);
  assert.equal(new Set(ids).size, ids.length);
  for (const name of Object.keys(contract)) assert.ok(ids.includes(name), name);
  for (const { path, parameters, requestBody, responses } of operations) {
    const inPath = parameters.filter((entry) => entry.in === "path");
    assert.deepEqual(
      inPath.map(({ name }) => name),
      [...path.matchAll(/\{([A-Za-z]+)\}/g)].map(([, name]) => name),
      path,
    );
    assert.ok(inPath.every(({ required }) => required));
    for (const { schema } of parameters) ajv.compile(schema);
    for (const { schema } of Object.values(requestBody?.content ?? {})) ajv.compile(schema);
    assert.ok("default" in responses, path);
    for (const { content, headers = {} } of Object.values(responses)) {
      for (const { $ref } of Object.values(headers)) {
        assert.ok($ref.replace("#/components/headers/", "") in document.components.headers, $ref);
      }
      for (const { schema } of Object.values(content)) {
        const { $ref } = schema;
        if (typeof $ref !== "string") ajv.compile(schema);
        else assert.ok($ref.replace("#/components/schemas/", "") in document.components.schemas, $ref);
      }
    }
  }
});

/** Checks answers against the document and keeps which of its statuses were seen. */
class Exercise {
  readonly seen = new Set<string>();

  check(operation: Operation, answer: Pick<Answer, "status" | "headers" | "text">, body: unknown): void {
    const { operationId, path, method, responses } = operation;
    const status = String(answer.status);
    const name = `${operationId} ${status}`;
    const documented = responses[status];
    assert.ok(documented !== undefined, `${name} is not documented: ${answer.text}`);
    const type = (answer.headers.get("content-type") ?? "").split(";")[0] ?? "";
    assert.ok(type in documented.content, `${name} comes as ${type}`);
    for (const header of Object.keys(documented.headers ?? {})) {
      assert.ok(answer.headers.has(header), `${name} lacks ${header}`);
    }
    const at = ["paths", path, method.toLowerCase(), "responses", status, "content", type, "schema"].map(
      (part) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1")),
    );
    const validate = ajv.getSchema(`doc#/${at.join("/")}`);
    assert.ok(validate !== undefined, `${name}: no schema`);
    assert.ok(validate(body), `${name}: ${JSON.stringify(validate.errors)}\n${answer.text}`);
    if (answer.status >= 400) {
      const { detail, code, instance } = z
        .object({ detail: z.string().min(10), code: z.string(), instance: z.string() })
        .parse(body);
      assert.ok(documented.description.includes(`\`${code}\``), `${name} does not name ${code}: ${detail}`);
      assert.equal(instance, answer.headers.get("x-request-id"));
    }
    this.seen.add(name);
  }
}

/** A server of its own, which has something for every path. */
async function serverFor(
  options: RestFixtureOptions = {},
): Promise<{ readonly own: RestFixture; readonly known: KnownIds }> {
  const own = await RestFixture.start(options);
  own.node.fund(60_000n);
  return { own, known: await knownIds(own) };
}

interface Ask {
  readonly path?: string;
  readonly body?: unknown;
  readonly role?: Role | null;
  readonly headers?: Readonly<Record<string, string>>;
}

async function ask(
  own: RestFixture,
  operation: Operation,
  known: KnownIds,
  change: Ask = {},
): Promise<Answer> {
  const { operationId, method } = operation;
  const standard =
    operationId in contract ? requestOf(own, operationId, known) : { path: operation.path, body: undefined };
  const body = "body" in change ? change.body : standard.body;
  return own.call(method, change.path ?? standard.path, {
    ...(body === undefined ? {} : { body }),
    ...(change.role === undefined ? {} : { role: change.role }),
    ...(change.headers === undefined ? {} : { headers: change.headers }),
  });
}

const roleOf = ({ description }: Operation): Role | null =>
  roles.find((role) => description === `Role: ${role}`) ?? null;

const refused = (code: ErrorCode) =>
  new CairnError(code, `the runtime refuses this with ${code} in a test; mend the test`);

/** Why each status of a refusal comes, where it is not of the general kind. */
const special: Readonly<Record<string, ErrorCode>> = {
  "createTransaction 503": "chain-unavailable",
  "refreshTransaction 503": "chain-unavailable",
  "createTransaction 404": "not-found",
  "approveRequest 422": "expired",
  "approveRequest 503": "busy",
  "getBalance 503": "chain-unavailable",
  "getAddress 503": "chain-unavailable",
  "getAddress 409": "not-backed-up",
  "overrideAddress 404": "not-found",
  "overrideAddress 503": "chain-unavailable",
  "createBackup 409": "wrong-state",
  "createBackup 503": "busy",
  "confirmBackup 422": "wrong-cluster",
  "createKey 422": "expired",
  "createProposal 422": "expired",
  "signProposal 409": "wrong-state",
  "refuseProposal 409": "wrong-state",
  "generatePresignatures 404": "not-found",
};

const refusalOf: Readonly<Record<string, ErrorCode>> = {
  "404": "not-found",
  "503": "chain-unavailable",
  "507": "storage-full",
};

/** Makes `own` refuse a grant with a status, and says which request it then refuses. */
async function refusedGrant(
  own: RestFixture,
  operationId: string,
  status: string,
  known: KnownIds,
): Promise<Ask> {
  const { node } = own;
  const row = await own.store.transaction({ txid: txidSchema.parse(known.txid) });
  assert.ok(row !== null);
  if (operationId === "checkGrant") {
    const document = decodeCanonical(signingGrantSchema, Buffer.from(known.grant, "base64"));
    const { grant, intent, proof } = document;
    const changed: Readonly<Record<string, Partial<SigningGrant>>> = {
      "403": {
        intent: { ...intent, request: { ...intent.request, signature: "ab".repeat(64) as SignatureHex } },
      },
      "422": { grant: { ...grant, threshold: grant.threshold + 1 } },
      "503": {
        proof: {
          ...proof,
          certificate: proof.certificate && { ...proof.certificate, votes: proof.certificate.votes.slice(1) },
        },
      },
    };
    if (status === "409") await node.change(row, { state: "confirmed", signedTx: "00" });
    const bytes = encodeCanonical({ ...document, ...changed[status] });
    return { body: { document: Buffer.from(bytes).toString("base64") } };
  }
  switch (`${operationId} ${status}`) {
    case "createSigningGrant 403":
    case "createKeygenGrant 403":
      return { role: "viewer" };
    case "createSigningGrant 404":
    case "createSigningGrant 503":
    case "createSigningGrant 507":
    case "createKeygenGrant 507":
      node.refusal = refused(refusalOf[status] ?? "internal");
      return { body: operationId === "createSigningGrant" ? own.signedSpend() : own.signedKeygen() };
    case "createSigningGrant 422":
    case "getSigningGrant 422":
      await node.change(row, { state: "rejected", reason: "policy-per-transaction", certificate: null });
      return {};
    case "createSigningGrant 409":
    case "getSigningGrant 409":
      await node.change(row, { state: "failed", reason: "voided", certificate: null });
      return {};
    default:
      // Of keys: one that no node has approved, and that ends without a grant.
      return endedKey(own, operationId, status);
  }
}

async function endedKey(own: RestFixture, operationId: string, status: string): Promise<Ask> {
  const body = own.signedKeygen();
  const { json } = await own.call("POST", "/api/v1/keys", { body });
  const keyId = keyIdSchema.parse(json.keyId);
  own.node.endKey(keyId, { status: "failed", reason: status === "422" ? "expired" : "keygen-failed" });
  return operationId === "createKeygenGrant" ? { body } : { path: `/grant/keygen/${keyId}` };
}

/** One request for each status of `operation`, by status. */
function requestsFor(operation: Operation): Readonly<Record<string, (exercise: Exercise) => Promise<void>>> {
  const { operationId, parameters, requestBody, responses } = operation;
  const role = roleOf(operation);
  const expect = async (
    exercise: Exercise,
    own: RestFixture,
    known: KnownIds,
    change: Ask = {},
  ): Promise<void> => {
    const answer = await ask(own, operation, known, change);
    const isJson = answer.headers.get("content-type")?.includes("json") ?? false;
    exercise.check(operation, answer, isJson ? answer.json : answer.text);
  };
  const withServer =
    (
      run: (exercise: Exercise, own: RestFixture, known: KnownIds) => Promise<void>,
      options?: RestFixtureOptions,
    ) =>
    async (exercise: Exercise): Promise<void> => {
      const { own, known } = await serverFor(options);
      try {
        await run(exercise, own, known);
      } finally {
        await own.close();
      }
    };
  const byStatus: Record<string, (exercise: Exercise) => Promise<void>> = {};
  for (const status of Object.keys(responses)) {
    const code = special[`${operationId} ${status}`];
    if (status === "default") continue;
    if (status === "202" && "200" in responses) {
      byStatus[status] = withServer(async (exercise, own, known) => {
        const spend = own.signedSpend();
        const key = own.signedKeygen();
        const { request } = signedSpendRequestJsonSchema.parse(spend);
        const { request: hash } = await own.node.submit(request, null);
        const { json } = await own.call("POST", "/api/v1/keys", { body: key });
        const body = operationId === "createSigningGrant" ? spend : key;
        const path = operation.path.replace("{request}", hash).replace("{keyId}", String(json.keyId));
        await expect(exercise, own, known, {
          path: `${path}?wait=0`,
          ...(requestBody === undefined ? {} : { body }),
        });
      });
    } else if (Number(status) < 300) {
      byStatus[status] = operationId === "events" ? events : withServer(expect);
    } else if (code !== undefined) {
      byStatus[status] = withServer(async (exercise, own, known) => {
        own.node.refusal = refused(code);
        await expect(exercise, own, known);
      });
    } else if (
      operationId.endsWith("Grant") &&
      (["409", "422", "403", "503", "507"].includes(status) ||
        `${operationId} ${status}` === "createSigningGrant 404")
    ) {
      byStatus[status] = withServer((exercise, own, known) =>
        refusedGrant(own, operationId, status, known).then((change) => expect(exercise, own, known, change)),
      );
    } else if (status === "400") {
      byStatus[status] = withServer(async (exercise, own, known) => {
        const standard = requestOf(own, operationId, known);
        for (const { name, in: place } of parameters) {
          const path =
            place === "query"
              ? `${standard.path}?${name}=%00&${name}=x`
              : place === "path"
                ? operation.path.replace(`{${name}}`, "not-an-id")
                : null;
          if (path !== null) await expect(exercise, own, known, { path });
        }
        if (parameters.some((entry) => entry.in === "query")) {
          await expect(exercise, own, known, { path: `${standard.path}?nothing=1` });
        }
        if (requestBody !== undefined) await expect(exercise, own, known, { body: "{" });
      });
    } else if (status === "401") {
      byStatus[status] = withServer((exercise, own, known) => expect(exercise, own, known, { role: null }));
    } else if (status === "403") {
      byStatus[status] = withServer((exercise, own, known) =>
        expect(exercise, own, known, { role: "viewer" }),
      );
    } else if (status === "404") {
      byStatus[status] = withServer(async (exercise, own, known) => {
        const nobody = "0".repeat(64);
        const wallet = operationId === "getBalance" || operationId === "getAddress";
        if (wallet) await expect(exercise, own, known, { path: `${operation.path}?wallet=${nobody}` });
        else if (operationId === "checkPolicy") {
          const { body } = requestOf(own, operationId, known);
          await expect(exercise, own, known, { body: { ...(body as object), wallet: nobody } });
        } else await expect(exercise, own, known, { path: operation.path.replace(/\{[a-zA-Z]+\}/, nobody) });
      });
    } else if (status === "409") {
      byStatus[status] = withServer(async (exercise, own, known) => {
        if (operationId === "revokeToken") {
          const { tokens } = await own
            .call("GET", "/api/v1/tokens")
            .then(({ json }) =>
              z.object({ tokens: z.array(z.object({ source: z.string(), hash: z.string() })) }).parse(json),
            );
          const configured = tokens.find(({ source }) => source === "configuration")?.hash ?? "";
          await expect(exercise, own, known, { path: operation.path.replace("{hash}", configured) });
        } else if (operationId === "createToken") {
          await expect(exercise, own, known, { body: { ...newToken(), hash: known.hash } });
          await expect(exercise, own, known, { body: { ...newToken(), name: "admin" } });
        } else {
          const headers = { "idempotency-key": "twice" };
          const first = await ask(own, operation, known, { headers });
          assert.ok(first.status < 300, first.text);
          const body = operationId === "generatePresignatures" ? { keyId: known.keyId, count: 9 } : undefined;
          await expect(exercise, own, known, body === undefined ? { headers } : { headers, body });
        }
      });
    } else if (status === "413") {
      byStatus[status] = withServer((exercise, own, known) =>
        expect(exercise, own, known, { body: { padding: "x".repeat(100_000) } }),
      );
    } else if (status === "422") {
      byStatus[status] = withServer(async (exercise, own, known) => {
        if (operationId === "createToken") {
          await expect(exercise, own, known, { body: { ...newToken(), expiresAt: "2001-01-01T00:00:00Z" } });
        } else if (operationId === "checkPolicy") {
          const outputs = [{ address: own.recipient(), amountSats: "0" }];
          await expect(exercise, own, known, { body: { outputs, maxFeeSats: "1" } });
          await expect(exercise, own, known, {
            body: { outputs: [{ address: "bcrt1qnonsense", amountSats: "1" }], maxFeeSats: "1" },
          });
        } else {
          assert.equal(operationId, "createTransaction");
          own.node.refusal = refused("insufficient-funds");
          await expect(exercise, own, known);
        }
      });
    } else if (status === "429") {
      byStatus[status] = withServer(
        async (exercise, own, known) => {
          const caller = role === null ? { role: null } : {};
          for (let answer = await ask(own, operation, known, caller); answer.status !== 429; ) {
            answer = await ask(own, operation, known, { ...caller, role: "admin", path: "/api/v1/nothing" });
            if (role === null) answer = await ask(own, operation, known, caller);
          }
          await expect(exercise, own, known, caller);
        },
        // What makes the known ids takes two requests.
        { api: { rate_per_minute: operationId === "events" ? 2 : 3 } },
      );
    } else if (status === "503" && operationId === "events") {
      byStatus[status] = withServer(expect, {
        server: { events: { ...defaultEventStreamsOptions, maxClients: 0 } },
      });
    } else if (status === "507") {
      byStatus[status] = withServer(async (exercise, own, known) => {
        own.node.refusal = refused("storage-full");
        own.store.commit = async () => {
          throw refused("storage-full");
        };
        await expect(exercise, own, known);
      });
    }
  }
  return byStatus;

  async function events(exercise: Exercise): Promise<void> {
    const { own } = await serverFor();
    try {
      const stop = new AbortController();
      const response = await fetch(`${own.url}/api/v1/events`, {
        headers: { authorization: `Bearer ${tokenOf("viewer")}` },
        signal: stop.signal,
      });
      let text = "";
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      own.node.emit(eventOf(7));
      while (!text.includes("data: ")) text += (await reader?.read())?.value ?? "";
      const [, data = ""] = /^data: (.*)$/m.exec(text) ?? [];
      exercise.check(
        operation,
        { status: response.status, headers: response.headers, text },
        JSON.parse(data),
      );
      stop.abort();
    } finally {
      await own.close();
    }
  }
}

test("every status of every operation that the document names comes from the server, in the documented shape", async () => {
  const exercise = new Exercise();
  for (const operation of operations) {
    const requests = requestsFor(operation);
    for (const [status, request] of Object.entries(requests)) {
      await request(exercise);
      assert.ok(
        exercise.seen.has(`${operation.operationId} ${status}`),
        `${operation.operationId} ${status}`,
      );
    }
  }
  const documented = operations.flatMap(({ operationId, responses }) =>
    Object.keys(responses)
      .filter((status) => status !== "default")
      .map((status) => `${operationId} ${status}`),
  );
  assert.deepEqual(
    documented.filter((name) => !exercise.seen.has(name)),
    [],
  );
  assert.ok(documented.length > 100);
});

test("the API's page stands alone: no scripts, nothing from elsewhere, and every operation", async () => {
  const page = await rest.call("GET", "/api/docs", { role: null });
  assert.equal(page.status, 200);
  assert.match(
    String(page.headers.get("content-security-policy")),
    /^default-src 'none'; style-src 'sha256-/,
  );
  assert.doesNotMatch(page.text, /<script|<img|<link|@import|url\(|https?:\/\//i);
  for (const { operationId, path } of operations) {
    assert.ok(page.text.includes(`id="${operationId}"`), operationId);
    assert.ok(page.text.includes(path), path);
  }
});
