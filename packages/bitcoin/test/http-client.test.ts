import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { after, beforeEach, test } from "node:test";
import { systemClock } from "@cairn/core";
import { HttpClient, HttpFailure } from "../src/http-client.ts";

/** Which request of its connection each one was. */
const places: number[] = [];
const asked = new Map<Socket, number>();
let handle: (request: IncomingMessage, response: ServerResponse, place: number) => void;
const server = createServer((request, response) => {
  const place = (asked.get(request.socket) ?? 0) + 1;
  asked.set(request.socket, place);
  places.push(place);
  handle(request, response, place);
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address() as AddressInfo;
const base = `http://127.0.0.1:${port}`;
beforeEach(() => {
  places.length = 0;
  handle = (_, response) => response.end("here");
});
after(() => {
  server.close();
  server.closeAllConnections();
});

function client(signal?: AbortSignal) {
  return new HttpClient(
    { base, timeoutMs: 10_000, maxResponseBytes: 100, maxConnections: 2 },
    { clock: systemClock, signal },
  );
}

function failsFor(reason: HttpFailure["reason"]) {
  return (error: unknown) => error instanceof HttpFailure && error.reason === reason;
}

test("requests one after another share a connection", async () => {
  const http = client();
  for (let time = 0; time < 3; time += 1)
    assert.deepEqual(await http.ask("GET", "/"), { status: 200, text: "here" });
  assert.deepEqual(places, [1, 2, 3]);
});

test("a request that a kept connection loses goes over another", async () => {
  handle = (request, response, place) => {
    if (place > 1) request.socket.destroy();
    else response.end("here");
  };
  const http = client();
  await http.ask("GET", "/");
  assert.equal((await http.ask("GET", "/")).text, "here");
  assert.deepEqual(places, [1, 2, 1]);
});

test("a request that a new connection loses has failed", async () => {
  handle = (request) => request.socket.destroy();
  await assert.rejects(client().ask("GET", "/"), failsFor("connection"));
  assert.deepEqual(places, [1]);
});

test("an answer that breaks off has failed, on a kept connection too", async () => {
  handle = (request, response, place) => {
    response.writeHead(200, { "content-length": 10 });
    if (place === 1) response.end("0123456789");
    else response.write("01234", () => request.socket.destroy());
  };
  const http = client();
  await http.ask("GET", "/");
  await assert.rejects(http.ask("GET", "/"), failsFor("connection"));
  assert.deepEqual(places, [1, 2]);
});

test("a body is sent as text of its length", async () => {
  handle = (request, response) => {
    const { "content-type": type, "content-length": length } = request.headers;
    request.on("data", (chunk) => response.write(`${request.method} ${type} ${length} ${chunk}`));
    request.on("end", () => response.end());
  };
  assert.equal((await client().ask("POST", "/tx", "00ff")).text, "POST text/plain 4 00ff");
});

test("a client that was stopped asks no more", async () => {
  const stop = new AbortController();
  const http = client(stop.signal);
  await http.ask("GET", "/");
  stop.abort();
  await assert.rejects(http.ask("GET", "/"), failsFor("connection"));
  await assert.rejects(client(stop.signal).ask("GET", "/"), failsFor("connection"));
  assert.deepEqual(places, [1]);
});
