import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  decodeCanonical,
  encodeCanonical,
  type IntentHash,
  MAX_SYNC_RECORDS,
  MAX_SYNC_WANTED,
  type SyncAnswer,
  type SyncHolding,
  type SyncRequest,
  syncAnswerSchema,
  syncRequestSchema,
  syncTopicNames,
  syncTopics,
  verifySyncAnswer,
} from "../src/index.ts";
import { refuses } from "../test-support/index.ts";
import { hash, inForceOf } from "./small-cluster.ts";

const { manifest } = inForceOf();
const intents = [hash("a"), hash("b")] as string[] as IntentHash[];
const listing: SyncRequest = {
  version: 1,
  cluster: manifest.cluster,
  nonce: hash("nonce"),
  topic: "spends",
  cursor: null,
  limit: 2,
  wanted: null,
};
const fetching: SyncRequest = { ...listing, wanted: { intents, requests: [] } };
const holding = (name: string): SyncHolding => ({
  intent: hash(name) as string as IntentHash,
  certified: true,
  signed: false,
  votes: 4,
  voids: 0,
  yours: [1, 2],
  yourVoid: false,
});
const listed: SyncAnswer = {
  version: 1,
  cluster: manifest.cluster,
  nonce: hash("nonce"),
  topic: "spends",
  holdings: [holding("a"), holding("b")],
  records: [],
  cursor: "2",
  more: true,
};
const record = (kind: SyncAnswer["records"][number]["kind"]) => ({ kind, body: Uint8Array.of(1) });
const fetched: SyncAnswer = {
  ...listed,
  holdings: [],
  records: [record("intent"), record("approval"), record("intent"), record("final")],
  cursor: null,
  more: false,
};

test("requests and answers survive canonical bytes", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...syncTopicNames),
      fc.option(fc.string({ minLength: 1, maxLength: 128 })),
      fc.integer({ min: 1, max: MAX_SYNC_RECORDS }),
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 64 }), { maxLength: 8 }),
      fc.boolean(),
      (topic, cursor, limit, bodies, more) => {
        const asked = { ...listing, topic, cursor, limit };
        assert.deepEqual(decodeCanonical(syncRequestSchema, encodeCanonical(asked)), asked);
        const kind = syncTopics[topic][0];
        const records = bodies.map((body) => ({ kind, body }));
        const answered = { ...listed, topic, holdings: [], records, cursor, more };
        assert.deepEqual(decodeCanonical(syncAnswerSchema, encodeCanonical(answered)), answered);
      },
    ),
  );
  for (const asked of [fetching, listing])
    assert.deepEqual(decodeCanonical(syncRequestSchema, encodeCanonical(asked)), asked);
  for (const answered of [fetched, listed])
    assert.deepEqual(decodeCanonical(syncAnswerSchema, encodeCanonical(answered)), answered);
});

test("a topic holds records of its own kinds alone, and presignatures are of none", () => {
  for (const topic of syncTopicNames) {
    for (const kind of [...Object.values(syncTopics).flat(), "presign-ready", "round"]) {
      const records = [{ kind, body: Uint8Array.of(1) }];
      const bytes = encodeCanonical({ ...fetched, topic, records });
      const decode = () => decodeCanonical(syncAnswerSchema, bytes);
      const begins = topic !== "spends" || kind === "intent";
      if (begins && (syncTopics[topic] as readonly string[]).includes(kind)) decode();
      else refuses("malformed", decode, `${kind} in ${topic}`);
    }
  }
});

test("shapes out of bounds are refused", () => {
  const asks = (change: object) => () =>
    decodeCanonical(syncRequestSchema, encodeCanonical({ ...fetching, ...change }));
  const many = Array.from({ length: MAX_SYNC_WANTED }, (_, at) => hash(`${at}`));
  asks({ wanted: { intents: many, requests: [] } })();
  for (const change of [
    { limit: 0 },
    { limit: MAX_SYNC_RECORDS + 1 },
    { cursor: "" },
    { cursor: "2" },
    { topic: "presignatures" },
    { topic: "wallets" },
    { extra: 1 },
    { wanted: { intents: [], requests: [] } },
    { wanted: { intents: many, requests: [hash("one more")] } },
  ]) {
    refuses("malformed", asks(change), JSON.stringify(change));
  }
  const tells = (change: object) => () =>
    decodeCanonical(syncAnswerSchema, encodeCanonical({ ...listed, ...change }));
  for (const change of [
    { records: [{ kind: "intent", body: new Uint8Array() }], holdings: [] },
    { records: [record("vote")], holdings: [] },
    { records: [record("intent")] },
    { topic: "evidence" },
    { holdings: [{ ...holding("a"), yours: [0] }] },
    { holdings: [{ ...holding("a"), votes: -1 }] },
    { holdings: Array.from({ length: MAX_SYNC_RECORDS + 1 }, () => holding("a")) },
  ]) {
    refuses("malformed", tells(change), JSON.stringify(change).slice(0, 80));
  }
});

test("an answer belongs to one request, and is what it asked for", () => {
  verifySyncAnswer(listed, listing);
  verifySyncAnswer(fetched, fetching);
  const check = (change: Partial<SyncAnswer>, to: Partial<SyncRequest> = {}) => {
    return () => verifySyncAnswer({ ...listed, ...change }, { ...listing, ...to });
  };
  refuses("replayed", check({ nonce: hash("earlier") }));
  refuses("wrong-cluster", check({ cluster: hash("other") }));
  refuses("malformed", check({ topic: "wallets", holdings: [] }));
  refuses("malformed", check({}, { limit: 1 }));
  refuses("malformed", check({ cursor: "1" }, { cursor: "1" }));
  refuses("malformed", check({ cursor: null }));
  refuses("malformed", () => verifySyncAnswer(fetched, listing));
  refuses("malformed", () => verifySyncAnswer(listed, fetching));
  const more = { ...fetched, records: Array.from({ length: 3 }, () => record("intent")) };
  refuses("malformed", () => verifySyncAnswer(more, fetching));
});
