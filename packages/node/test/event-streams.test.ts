import assert from "node:assert/strict";
import { type IncomingMessage, request } from "node:http";
import { test } from "node:test";
import { CairnClient } from "@cairn/client";
import { defaultEventStreamsOptions } from "../src/event-streams.ts";
import { eventOf } from "./fake-node.ts";
import { RestFixture, tokenOf } from "./rest-fixture.ts";

/** An open stream of the API whose bytes nobody reads yet. */
function open(rest: RestFixture): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request(
      `${rest.url}/api/v1/events`,
      { headers: { authorization: `Bearer ${tokenOf("viewer")}` }, agent: false },
      resolve,
    )
      .on("error", reject)
      .end();
  });
}

const until = async (done: () => boolean): Promise<void> => {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 5));
};

test("the SDK's iterator yields the node's events in order, and a stream that ends frees its place", async () => {
  const rest = await RestFixture.start();
  try {
    const client = new CairnClient({ endpoints: [rest.url], token: tokenOf("viewer") });
    const stop = new AbortController();
    const seen: number[] = [];
    const reading = (async () => {
      for await (const event of client.events(stop.signal)) {
        seen.push(event.id);
        assert.deepEqual(
          [event.type, event.state, event.data],
          ["transaction", "voting", { reason: "a\nb" }],
        );
        if (seen.length === 3) return;
      }
    })();
    await until(() => rest.server.eventClients() === 1);
    for (const id of [1, 2, 3]) rest.node.emit(eventOf(id, { reason: "a\nb" }));
    await reading;
    stop.abort();
    assert.deepEqual(seen, [1, 2, 3]);
    await until(() => rest.server.eventClients() === 0);
  } finally {
    await rest.close();
  }
});

test("streams need a token, stay alive by comments, and are limited for each token", async () => {
  const rest = await RestFixture.start({
    server: { events: { ...defaultEventStreamsOptions, heartbeatMs: 20, maxClientsPerCaller: 2 } },
  });
  try {
    assert.equal((await rest.call("GET", "/api/v1/events", { role: null })).status, 401);
    const [first, second] = [await open(rest), await open(rest)];
    assert.equal(first.headers["content-type"], "text/event-stream; charset=utf-8");
    assert.ok(first.headers["x-request-id"] !== undefined);
    let text = "";
    first.on("data", (chunk) => {
      text += String(chunk);
    });
    await until(() => text.includes(": alive\n\n"));
    const third = await open(rest);
    assert.equal(third.statusCode, 503);
    third.destroy();
    second.destroy();
    await until(() => rest.server.eventClients() === 1);
    const fourth = await open(rest);
    assert.equal(fourth.statusCode, 200);
    fourth.destroy();
    first.destroy();
  } finally {
    await rest.close();
  }
});

test("a client that does not read is cut off at its limit, and the others hear everything", async () => {
  const rest = await RestFixture.start({
    server: { events: { ...defaultEventStreamsOptions, maxBufferedBytes: 64 * 1024 } },
  });
  try {
    const slow = await open(rest);
    slow.on("error", () => {});
    const quick = await open(rest);
    let heard = 0;
    quick.on("data", (chunk) => {
      heard += String(chunk).split("id: ").length - 1;
    });
    const padding = "x".repeat(8_000);
    let sent = 0;
    // The kernel's buffers take some megabytes before the server's own begins to fill.
    while (rest.server.eventClients() === 2 && sent < 5_000) {
      rest.node.emit(eventOf(++sent, { padding }));
      await new Promise(setImmediate);
    }
    assert.equal(rest.server.eventClients(), 1);
    await until(() => heard === sent);
    quick.destroy();
    slow.destroy();
  } finally {
    await rest.close();
  }
});

test("closing the server ends its streams and its subscription", async () => {
  const rest = await RestFixture.start();
  const stream = await open(rest);
  stream.resume();
  const ended = new Promise((resolve) => stream.on("close", resolve));
  await rest.close();
  await ended;
  assert.equal(rest.node.listeners, 0);
});
