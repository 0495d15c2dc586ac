import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { nodeIndexSchema, type PresignatureRow, satsSchema, type UnixMs } from "@cairn/core";
import fc from "fast-check";
import { RestFixture } from "./rest-fixture.ts";

const id = (i: number): string => i.toString(16).padStart(64, "0");
const START = 1_800_000_000_000;
const time = (i: number) => new Date(START + i).toISOString();

let rest: RestFixture;
before(async () => {
  rest = await RestFixture.start();
  rest.node.fund(2_000_000n);
  for (let i = 0; i < 30; i++) {
    const row: PresignatureRow = {
      id: id(i) as never,
      keyId: id(i % 2) as never,
      path: [0, i] as never,
      epoch: 0,
      signers: [nodeIndexSchema.parse(1)],
      state: i % 3 === 0 ? "pending" : "ready",
      sealed: new Uint8Array(1),
      publicData: new Uint8Array(1),
      acceptances: null,
      session: id(1) as never,
      usedBy: null,
      burnCounter: null,
      // Several share a millisecond.
      createdAt: (START + Math.floor(i / 4)) as UnixMs,
      burnedAt: null,
    };
    await rest.store.commit([
      { write: "presignature", row },
      {
        write: "session",
        row: {
          session: id(i) as never,
          purpose: i % 2 === 0 ? "sign" : "presign",
          subject: "s",
          attempt: 0,
          initiator: nodeIndexSchema.parse(1),
          signers: [],
          state: "done",
          execution: null,
          failure: null,
          startedAt: (START + Math.floor(i / 4)) as UnixMs,
          endedAt: null,
        },
      },
    ]);
  }
});
after(() => rest.close());

/** All pages of a list, joined. */
async function all(
  path: string,
  field: string,
  key: string,
  limit: number,
  filter: string,
): Promise<string[]> {
  const found: string[] = [];
  let cursor = "";
  for (let pages = 0; pages < 100; pages++) {
    const { status, json, text } = await rest.call("GET", `${path}?limit=${limit}${filter}${cursor}`);
    assert.equal(status, 200, text);
    const items = json[field] as Record<string, string>[];
    assert.ok(items.length <= limit);
    found.push(...items.map((item) => String(item[key])));
    if (json.next === null) return found;
    cursor = `&cursor=${json.next}`;
  }
  throw new Error("the pages never end");
}

test("presignatures and sessions come newest first, whole, without gap or repeat, whatever the page is", async () => {
  const newestFirst = Array.from({ length: 30 }, (_, i) => id(29 - i));
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 40 }), async (limit) => {
      assert.deepEqual(await all("/api/v1/presignatures", "presignatures", "id", limit, ""), newestFirst);
      assert.deepEqual(await all("/api/v1/sessions", "sessions", "session", limit, ""), newestFirst);
    }),
    { numRuns: 8 },
  );
});

test("lists filter by key, state, purpose and time", async () => {
  const numbers = (ids: readonly string[]) => ids.map((text) => Number.parseInt(text, 16)).reverse();
  const presignatures = async (filter: string) =>
    numbers(await all("/api/v1/presignatures", "presignatures", "id", 7, filter));
  const sessions = async (filter: string) =>
    numbers(await all("/api/v1/sessions", "sessions", "session", 7, filter));
  const range = (wanted: (i: number) => boolean) => Array.from({ length: 30 }, (_, i) => i).filter(wanted);
  assert.deepEqual(
    await presignatures(`&keyId=${id(1)}&state=ready`),
    range((i) => i % 2 === 1 && i % 3 !== 0),
  );
  assert.deepEqual(
    await sessions(`&purpose=presign&since=${time(2)}&until=${time(5)}`),
    range((i) => i % 2 === 1 && i >= 8 && i < 20),
  );
  for (const query of [
    "since=yesterday",
    "until=2026-13-01T00:00:00Z",
    "purpose=none",
    "sinse=1",
    "cursor=AA",
  ]) {
    const answer = await rest.call("GET", `/api/v1/sessions?${query}`);
    assert.deepEqual([answer.status, answer.json.code], [400, "malformed"], query);
  }
});

test("transactions are found by any of their recipients and by time, page by page", async () => {
  const other = (await rest.call("GET", "/api/v1/wallet/address")).json.address as string;
  const pay = async (addresses: readonly string[]) => {
    const outputs = addresses.map((address) => ({ address, amountSats: satsSchema.parse(1_000n) }));
    const row = await rest.node.submit(rest.spendRequest({ outputs }), null);
    return row.txid as string;
  };
  const first = await pay([rest.recipient(), other]);
  const between = new Date(Date.now() + 1).toISOString();
  while (new Date().toISOString() <= between) await new Promise((resolve) => setTimeout(resolve, 1));
  for (let i = 0; i < 3; i++) await pay([rest.recipient()]);
  const last = await pay([other]);
  const find = (filter: string) => all("/api/v1/transactions", "transactions", "txid", 1, filter);
  assert.deepEqual(await find(`&recipient=${other}`), [last, first]);
  assert.deepEqual(await find("&recipient=bcrt1qnobody"), []);
  assert.deepEqual(await find(`&until=${between}`), [first]);
  assert.equal((await find(`&since=${between}`)).length, 4);
});

test("the audit log pages by sequence number, also when it is filtered", async () => {
  const { json } = await rest.call("GET", "/api/v1/audit?limit=1&kind=none");
  assert.deepEqual(json, { entries: [], next: null });
});
