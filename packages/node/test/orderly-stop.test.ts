import assert from "node:assert/strict";
import { test } from "node:test";
import { CairnClient } from "@cairn/client";
import { RestFixture, tokenOf } from "./rest-fixture.ts";

test("a stop answers what is under way, ends event streams as complete, and takes nothing new", async () => {
  const rest = await RestFixture.start();
  rest.node.fund(60_000n);
  const gate = Promise.withResolvers<void>();
  const entered = Promise.withResolvers<void>();
  rest.node.beforeSubmit = async () => {
    entered.resolve();
    await gate.promise;
  };
  const client = new CairnClient({ endpoints: [rest.url], token: tokenOf("viewer") });
  const following = (async () => {
    for await (const _ of client.events(new AbortController().signal)) assert.fail("no event was sent");
    return "complete";
  })();
  while (rest.server.eventClients() === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const underWay = rest.call("POST", "/api/v1/transactions", { body: rest.signedSpend() });
  await entered.promise;

  let stopped = false;
  const stopping = rest.server.close().then(() => {
    stopped = true;
  });
  assert.equal(await following, "complete");
  const late = async () => (await rest.call("GET", "/health")).status;
  await assert.rejects(
    async () => {
      // The listener closes in a turn of its own.
      for (;;) assert.equal(await late(), 503);
    },
    (error) => error instanceof TypeError,
  );
  assert.equal(stopped, false);
  gate.resolve();
  const answer = await underWay;
  // What keeps its connection open would hold up the stop.
  assert.deepEqual([answer.status, answer.headers.get("connection")], [202, "close"]);
  await stopping;
  assert.equal((await rest.store.transactions({ limit: 5 })).length, 1);
  await rest.store.close();
});
