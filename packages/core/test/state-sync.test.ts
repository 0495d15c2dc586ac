import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  decodeCanonical,
  encodeCanonical,
  MAX_SYNC_RECORDS,
  postedKinds,
  type SyncAnswer,
  type SyncRequest,
  type SyncTopic,
  syncAnswerSchema,
  syncRequestSchema,
  syncTopics,
  type UnixMs,
  verifySyncAnswer,
} from "../src/index.ts";
import { refuses } from "../test-support/index.ts";
import { hash, inForceOf, NOW } from "./small-cluster.ts";

const { manifest } = inForceOf();
const request: SyncRequest = {
  version: 1,
  cluster: manifest.cluster,
  nonce: hash("nonce"),
  topic: "lineages",
  since: 0 as UnixMs,
  cursor: null,
  limit: 2,
};
const answer: SyncAnswer = {
  version: 1,
  cluster: manifest.cluster,
  nonce: hash("nonce"),
  topic: "lineages",
  records: [
    { kind: "intent", body: Uint8Array.of(1) },
    { kind: "approval", body: Uint8Array.of(2) },
  ],
  cursor: "2",
  remembered: { epoch: 1, burnCounter: 2, auditLength: 3 },
};
const topics = Object.keys(syncTopics) as SyncTopic[];

test("requests and answers survive canonical bytes", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...topics),
      fc.nat(),
      fc.option(fc.string({ minLength: 1, maxLength: 128 })),
      fc.integer({ min: 1, max: MAX_SYNC_RECORDS }),
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 64 }), { maxLength: 8 }),
      (topic, since, cursor, limit, bodies) => {
        const asked = { ...request, topic, since, cursor, limit };
        assert.deepEqual(decodeCanonical(syncRequestSchema, encodeCanonical(asked)), asked);
        const kind = syncTopics[topic][0];
        const answered = { ...answer, topic, cursor, records: bodies.map((body) => ({ kind, body })) };
        assert.deepEqual(decodeCanonical(syncAnswerSchema, encodeCanonical(answered)), answered);
      },
    ),
  );
});

test("a topic holds posted messages alone, and no record of another topic", () => {
  for (const topic of topics) {
    for (const kind of Object.values(syncTopics).flat()) {
      assert.ok(postedKinds.has(kind), kind);
      const records = [{ kind, body: Uint8Array.of(1) }];
      const decode = () => decodeCanonical(syncAnswerSchema, encodeCanonical({ ...answer, topic, records }));
      if ((syncTopics[topic] as readonly string[]).includes(kind)) decode();
      else refuses("malformed", decode, `${kind} in ${topic}`);
    }
  }
  for (const kind of ["presign-ready", "round"]) {
    const records = [{ kind, body: Uint8Array.of(1) }];
    refuses("malformed", () => decodeCanonical(syncAnswerSchema, encodeCanonical({ ...answer, records })));
  }
});

test("shapes out of bounds are refused", () => {
  const asks = (change: object) => () =>
    decodeCanonical(syncRequestSchema, encodeCanonical({ ...request, ...change }));
  for (const change of [
    { limit: 0 },
    { limit: MAX_SYNC_RECORDS + 1 },
    { cursor: "" },
    { since: -1 },
    { topic: "presignatures" },
    { extra: 1 },
  ]) {
    refuses("malformed", asks(change), JSON.stringify(change));
  }
  const empty = { ...answer, records: [{ kind: "intent", body: new Uint8Array() }] };
  refuses("malformed", () => decodeCanonical(syncAnswerSchema, encodeCanonical(empty)));
});

test("an answer belongs to one request", () => {
  verifySyncAnswer(answer, request);
  const check = (change: Partial<SyncAnswer>, to: Partial<SyncRequest> = {}) => {
    return () => verifySyncAnswer({ ...answer, ...change }, { ...request, ...to });
  };
  refuses("replayed", check({ nonce: hash("earlier") }));
  refuses("wrong-cluster", check({ cluster: hash("other") }));
  refuses("malformed", check({ topic: "keys" }));
  refuses("malformed", check({}, { limit: 1 }));
  refuses("malformed", check({ cursor: "1" }, { cursor: "1", since: NOW }));
});
