import assert from "node:assert/strict";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { isCairnError } from "@cairn/core";
import { CairnClient } from "../src/index.ts";

const servers: Server[] = [];
after(() => {
  for (const server of servers) server.close().closeAllConnections();
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const wallets = JSON.stringify({ wallets: [] });

test("a call carries the token, path, query and idempotency key and returns the checked answer", async () => {
  const seen: string[] = [];
  const endpoint = await serve((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers.authorization}`);
    response.end(JSON.stringify({ transactions: [], next: null }));
  });
  const client = new CairnClient({ endpoints: [`${endpoint}/`], token: "t0ken" });
  const answer = await client.call("listTransactions", { query: { limit: 3, state: "voting,signed" } });
  assert.deepEqual(answer, { transactions: [], next: null });
  assert.deepEqual(seen, ["GET /api/v1/transactions?limit=3&state=voting%2Csigned Bearer t0ken"]);
});

test("the next endpoint is tried when one does not answer, and none is named when all fail", async () => {
  const endpoint = await serve((_, response) => response.end(wallets));
  const dead = "http://127.0.0.1:1";
  const client = new CairnClient({ endpoints: [dead, endpoint], token: null });
  assert.deepEqual(await client.call("listWallets", {}), { wallets: [] });
  await assert.rejects(new CairnClient({ endpoints: [dead], token: null }).call("listWallets", {}), (e) =>
    isCairnError(e, "peer-unreachable"),
  );
});

test("an answer with status 202 is what the endpoint says while it waits, and no other status carries that", async () => {
  const wait = {
    status: "waiting",
    keyId: "7".repeat(64),
    approved: [1, 2],
    needed: 5,
    expiry: "2026-01-02T03:04:05.000Z",
    again: `/grant/keygen/${"7".repeat(64)}`,
  };
  for (const statusCode of [202, 200]) {
    const endpoint = await serve((_, response) => {
      response.statusCode = statusCode;
      response.end(JSON.stringify(wait));
    });
    const client = new CairnClient({ endpoints: [endpoint], token: null });
    const call = client.call("getKeygenGrant", { params: { keyId: wait.keyId } });
    if (statusCode === 202) assert.deepEqual(await call, wait);
    else await assert.rejects(call, (error) => isCairnError(error, "peer-disagrees"));
  }
});

test("a problem answer becomes its typed error", async () => {
  const endpoint = await serve((_, response) => {
    response.statusCode = 422;
    const problem = {
      type: "urn:cairn:error:policy-denied",
      title: "policy-denied",
      status: 422,
      detail: "over the daily limit",
      instance: "r1",
      code: "policy-denied",
      data: { rule: "rolling24h" },
    };
    response.end(JSON.stringify(problem));
  });
  await assert.rejects(
    new CairnClient({ endpoints: [endpoint], token: null }).call("listWallets", {}),
    (error) => {
      assert.ok(isCairnError(error, "policy-denied"));
      assert.equal(error.message, "over the daily limit");
      assert.equal(error.data.rule, "rolling24h");
      return true;
    },
  );
});

test("HTML, other shapes, redirects and silence are typed errors too", async () => {
  const cases: [RequestListener, string][] = [
    [(_, r) => r.end("<html>"), "peer-disagrees"],
    [(_, r) => r.end('{"wallets": 3}'), "peer-disagrees"],
    [(_, r) => r.writeHead(500).end("oops"), "peer-disagrees"],
    [(_, r) => r.writeHead(302, { location: "http://127.0.0.1:1/" }).end(), "peer-unreachable"],
    [() => {}, "peer-unreachable"],
  ];
  for (const [listener, code] of cases) {
    const client = new CairnClient({ endpoints: [await serve(listener)], token: null, timeoutMs: 200 });
    await assert.rejects(client.call("listWallets", {}), (e) => isCairnError(e, code as never), code);
  }
});

test("events arrive however the stream is cut", async () => {
  const event = {
    id: 1,
    at: "2026-01-01T00:00:00.000Z",
    type: "transaction",
    subject: "x",
    state: "voting",
    data: {},
  };
  const text = `: hello\n\nid: 1\ndata: ${JSON.stringify(event)}\n\ndata: ${JSON.stringify({ ...event, id: 2 })}\n\n`;
  const endpoint = await serve(async (_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const piece of text.match(/[\s\S]{1,7}/g) ?? []) {
      response.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    response.end();
  });
  const ids: number[] = [];
  const client = new CairnClient({ endpoints: [endpoint], token: null });
  for await (const { id } of client.events(new AbortController().signal)) ids.push(id);
  assert.deepEqual(ids, [1, 2]);
});
