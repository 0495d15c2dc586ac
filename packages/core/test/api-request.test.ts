import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ApiRequest,
  type ApiRequestContext,
  apiBodyHash,
  apiRequestSchema,
  isCairnError,
  parseShape,
  signApiRequest,
  type UnixMs,
  verifyApiRequest,
} from "../src/index.ts";
import { alterations, namedSigner, refuses } from "../test-support/index.ts";
import { hash, inForceOf, NOW, node, nodeKey } from "./small-cluster.ts";

const { manifest } = inForceOf();
const caller = nodeKey(1);
const body = Buffer.from('{"party_index":1}');
const context: ApiRequestContext = {
  cluster: manifest.cluster,
  me: null,
  callers: manifest.members.map((member) => member.identity),
  method: "POST",
  path: "/registry/register?soon=1",
  body,
  now: NOW,
  clockSkewMs: 30_000,
};
const requestOf = (change: Partial<ApiRequest> = {}, signer = caller) =>
  signApiRequest(
    {
      version: 1,
      cluster: manifest.cluster,
      caller: signer.publicKey,
      node: null,
      method: "POST",
      path: "/registry/register?soon=1",
      bodyHash: apiBodyHash(body),
      nonce: hash("nonce"),
      createdAt: NOW,
      ...change,
    },
    signer,
  );

test("a signed API request opens exactly what it was made for", () => {
  verifyApiRequest(requestOf(), context);
  const received = (change: Partial<ApiRequestContext>) => () =>
    verifyApiRequest(requestOf(), { ...context, ...change });
  refuses("signature-invalid", received({ method: "GET" }));
  refuses("signature-invalid", received({ path: "/registry/register" }));
  refuses("signature-invalid", received({ body: Buffer.from('{"party_index":2}') }));
  refuses("wrong-recipient", received({ me: node(2) }));
  refuses("wrong-cluster", received({ cluster: hash("other") }));
  refuses("forbidden", received({ callers: [] }));
  received({ now: (NOW + 30_000) as UnixMs })();
  refuses("clock-skew", received({ now: (NOW + 30_001) as UnixMs }));
  refuses("clock-skew", received({ now: (NOW - 30_001) as UnixMs }));
  const to = (index: number) => requestOf({ node: node(index) });
  verifyApiRequest(to(2), { ...context, me: node(2) });
  refuses("wrong-recipient", () => verifyApiRequest(to(2), { ...context, me: node(3) }));
  refuses("forbidden", () => verifyApiRequest(requestOf({}, namedSigner("stranger")), context));
  const lent = { ...requestOf(), body: { ...requestOf().body, caller: nodeKey(2).publicKey } };
  refuses("signature-invalid", () => verifyApiRequest(lent, context));
});

test("no field of a signed API request can be altered", () => {
  for (const { path, altered } of alterations(requestOf())) {
    assert.throws(() => verifyApiRequest(altered, context), isCairnError, path);
  }
});

test("a path is one, and a method is known", () => {
  refuses("malformed", () => parseShape(apiRequestSchema, requestOf({ path: "registry" }).body));
  refuses("malformed", () => parseShape(apiRequestSchema, { ...requestOf().body, method: "TRACE" }));
});
