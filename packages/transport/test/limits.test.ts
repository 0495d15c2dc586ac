import assert from "node:assert/strict";
import { test } from "node:test";
import { isCairnError, type Random } from "@cairn/core";
import fc from "fast-check";
import { ConnectionGate } from "../src/connection-gate.ts";
import { parsePeerAddress } from "../src/peer-address.ts";
import { RateLimiter } from "../src/rate-limiter.ts";
import { reconnectDelay } from "../src/reconnect-delay.ts";

test("a peer is never read faster than its limits allow in the long run", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5000 }), { minLength: 50, maxLength: 200 }), (sizes) => {
      const limiter = new RateLimiter({ framesPerSecond: 10, bytesPerSecond: 1000 }, 0);
      let now = 0;
      let bytes = 0;
      for (const size of sizes) {
        now += limiter.frame(size, now);
        bytes += size;
      }
      assert.ok(now / 1000 >= sizes.length / 10 - 2 - 1e-6, "frames");
      assert.ok(now / 1000 >= bytes / 1000 - 2 - 1e-6, "bytes");
    }),
  );
});

test("a peer within its limits never waits", () => {
  const limiter = new RateLimiter({ framesPerSecond: 10, bytesPerSecond: 1000 }, 0);
  for (let n = 0; n < 100; n++) assert.equal(limiter.frame(100, n * 100), 0);
});

test("handshakes under way are bounded in all and for each address, and leaving makes room once", () => {
  const gate = new ConnectionGate({ maxPending: 3, maxPendingPerAddress: 2, attemptsPerSecond: 100 });
  const first = gate.enter("a", 0);
  assert.ok(first && gate.enter("a", 0));
  assert.equal(gate.enter("a", 0), null);
  assert.ok(gate.enter("b", 0));
  assert.equal(gate.enter("c", 0), null);
  first();
  first();
  assert.ok(gate.enter("c", 0));
  assert.equal(gate.enter("d", 0), null);
});

test("an address that knocks too often is dropped until it has waited", () => {
  const gate = new ConnectionGate({ maxPending: 100, maxPendingPerAddress: 100, attemptsPerSecond: 1 });
  for (let n = 0; n < 2; n++) gate.enter("a", 0)?.();
  assert.equal(gate.enter("a", 0), null);
  assert.ok(gate.enter("b", 0));
  assert.ok(gate.enter("a", 1000));
});

test("delays grow to the ceiling and are spread over its upper half", () => {
  const random = (byte: number): Random => ({ bytes: (length) => new Uint8Array(length).fill(byte) });
  const options = { baseMs: 100, maxMs: 5000 };
  fc.assert(
    fc.property(fc.nat(60), fc.nat(255), (attempt, byte) => {
      const ceiling = Math.min(5000, 100 * 2 ** Math.min(attempt, 30));
      const delay = reconnectDelay(attempt, options, random(byte));
      assert.ok(delay >= ceiling / 2 && delay <= ceiling);
    }),
  );
  assert.notEqual(reconnectDelay(3, options, random(0)), reconnectDelay(3, options, random(200)));
});

test("peer addresses are read strictly", () => {
  assert.deepEqual(parsePeerAddress("tcp://127.0.0.1:9000"), { host: "127.0.0.1", port: 9000 });
  assert.deepEqual(parsePeerAddress("tcp://node-1.example:9000"), { host: "node-1.example", port: 9000 });
  assert.deepEqual(parsePeerAddress("tcp://[::1]:9000"), { host: "::1", port: 9000 });
  const wrong = [
    "",
    "9000",
    "tcp://host",
    "tcp://host:0",
    "http://host:1",
    "tcp://a@host:1",
    "tcp://host:1/x",
    "tcp://host:1?x",
    "tcp://host:70000",
    "tcp://:9",
  ];
  for (const text of wrong) {
    assert.throws(
      () => parsePeerAddress(text),
      (error) => isCairnError(error, "config-invalid"),
      text,
    );
  }
});
