import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { systemClock, unixMsSchema } from "@cairn/core";
import { MemoryDisk } from "@cairn/storage";
import { IdempotencyDesk } from "../src/idempotency-desk.ts";
import { tokenHash } from "../src/index.ts";
import { testCluster } from "./node-folder.ts";
import { RestFixture, tokenOf } from "./rest-fixture.ts";

let rest: RestFixture;
before(async () => {
  rest = await RestFixture.start();
  rest.node.fund(60_000n);
});
after(() => rest.close());

const send = (to: RestFixture, key: string, body: unknown, role: "spender" | "admin" = "spender") =>
  to.call("POST", "/api/v1/transactions", { role, body, headers: { "idempotency-key": key } });

test("a retry with the same key and body gets the first answer, byte for byte, without another execution", async () => {
  const body = rest.signedSpend();
  const first = await send(rest, "retry", body);
  assert.equal(first.status, 202);
  assert.equal(first.headers.get("idempotency-replayed"), null);
  const before = rest.node.submissions;
  const second = await send(rest, "retry", body);
  assert.deepEqual([second.status, second.text], [first.status, first.text]);
  assert.equal(second.headers.get("idempotency-replayed"), "true");
  assert.equal(rest.node.submissions, before);
});

test("the same key with another body is a conflict, and so is another endpoint", async () => {
  await send(rest, "conflict", rest.signedSpend(), "admin");
  const other = await send(rest, "conflict", rest.signedSpend(), "admin");
  assert.deepEqual([other.status, other.json.code], [409, "idempotency-conflict"]);
  const endpoint = await rest.call("POST", "/api/v1/keys", {
    body: rest.signedKeygen(),
    headers: { "idempotency-key": "conflict" },
  });
  assert.equal(endpoint.json.code, "idempotency-conflict");
});

test("keys of different tokens are different keys", async () => {
  const mine = await send(rest, "shared", rest.signedSpend(), "spender");
  const theirs = await send(rest, "shared", rest.signedSpend(), "admin");
  assert.deepEqual([mine.status, theirs.status], [202, 202]);
  assert.notEqual(mine.json.txid, theirs.json.txid);
});

test("concurrent duplicates share one execution; another body meanwhile is a conflict", async () => {
  const body = rest.signedSpend();
  let release = () => {};
  rest.node.beforeSubmit = () =>
    new Promise((resolve) => {
      release = resolve;
    });
  const before = rest.node.submissions;
  const running = [send(rest, "both", body), send(rest, "both", body), send(rest, "both", body)];
  while (rest.node.submissions === before) await new Promise((resolve) => setTimeout(resolve, 5));
  const conflict = await send(rest, "both", rest.signedSpend());
  rest.node.beforeSubmit = async () => {};
  release();
  const answers = await Promise.all(running);
  assert.equal(conflict.json.code, "idempotency-conflict");
  assert.deepEqual(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size, 1);
  assert.equal(rest.node.submissions, before + 1);
});

test("a failure is not kept: a retry tries again", async () => {
  const body = rest.signedSpend();
  rest.node.beforeSubmit = async () => {
    throw new Error("passing");
  };
  assert.equal((await send(rest, "again", body)).status, 500);
  rest.node.beforeSubmit = async () => {};
  assert.equal((await send(rest, "again", body)).status, 202);
});

test("impossible keys are refused", async () => {
  for (const key of ["", "a".repeat(129), "with space"]) {
    const answer = await send(rest, key, rest.signedSpend());
    assert.equal(answer.json.code, "malformed", JSON.stringify(key));
  }
});

test("the stored answer survives a restart", async () => {
  const disk = new MemoryDisk();
  const cluster = testCluster();
  const first = await RestFixture.start({ disk, cluster });
  first.node.fund(60_000n);
  const body = first.signedSpend();
  const answer = await send(first, "restart", body);
  await first.close();
  const second = await RestFixture.start({ disk, cluster });
  try {
    const again = await send(second, "restart", body);
    assert.deepEqual([again.status, again.text], [answer.status, answer.text]);
    assert.equal(second.node.submissions, 0);
  } finally {
    await second.close();
  }
});

test("a bare spend whose answer was lost in a crash is the same spend when it is retried", async () => {
  const disk = new MemoryDisk();
  const cluster = testCluster({ manifest: { unsignedRequests: true } });
  const bare = (to: RestFixture) => ({ recipient: to.recipient(), amount_sats: 30_000 });
  const first = await RestFixture.start({ disk, cluster });
  first.node.fund(60_000n);
  // The spend is stored; then the process dies before it can answer.
  const commit = first.store.commit.bind(first.store);
  first.store.commit = async (writes) => {
    if (writes.some((write) => write.write === "idempotency" && write.row.status !== 0))
      throw new Error("crash");
    return commit(writes);
  };
  assert.equal((await send(first, "crash", bare(first))).status, 500);
  await first.close();
  const second = await RestFixture.start({ disk, cluster });
  second.node.fund(60_000n);
  try {
    assert.equal((await send(second, "crash", bare(second))).status, 202);
    assert.equal((await second.store.transactions({ limit: 10 })).length, 1);
  } finally {
    await second.close();
  }
});

test("a key is forgotten after its time, and its row deleted", async () => {
  const own = await RestFixture.start({ api: { idempotency_days: 1 } });
  try {
    own.node.fund(60_000n);
    const body = own.signedSpend();
    const first = await send(own, "old", body);
    const scope = tokenHash(tokenOf("spender"));
    const row = await own.store.idempotency(scope, "old");
    assert.ok(row !== null);
    const aged = { ...row, createdAt: unixMsSchema.parse(row.createdAt - 86_400_001) };
    await own.store.commit([{ write: "idempotency", row: aged }]);
    // It counts no longer, even before it is deleted: another body may use the key.
    const other = await send(own, "old", own.signedSpend());
    assert.equal(other.status, 202);
    assert.equal(other.headers.get("idempotency-replayed"), null);
    assert.notEqual(other.json.request, first.json.request);

    await own.store.commit([{ write: "idempotency", row: { ...aged, key: "older" } }]);
    const desk = new IdempotencyDesk(
      { keepMs: 86_400_000 },
      { store: own.store, clock: systemClock, report: (cause) => assert.fail(String(cause)) },
    );
    const gone = async () => (await own.store.idempotency(scope, "older")) === null;
    while (!(await gone())) await new Promise((resolve) => setTimeout(resolve, 5));
    desk.close();
    assert.ok((await own.store.idempotency(scope, "old")) !== null);
  } finally {
    await own.close();
  }
});
