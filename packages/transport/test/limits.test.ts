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

const limits = {
  maxPendingStrangers: 3,
  maxPendingPerAddress: 2,
  strangersPerSecond: 100,
  attemptsPerSecond: 100,
};

test("handshakes under way are bounded for all strangers and for each address, and leaving makes room once", () => {
  const gate = new ConnectionGate(limits, 0);
  const first = gate.enter("a", false, 0);
  assert.ok(first && gate.enter("a", false, 0));
  assert.equal(gate.enter("a", false, 0), null);
  assert.ok(gate.enter("b", false, 0));
  assert.equal(gate.enter("c", false, 0), null);
  first();
  first();
  assert.ok(gate.enter("c", false, 0));
  assert.equal(gate.enter("d", false, 0), null);
});

test("an address that knocks too often is dropped until it has waited, and takes nothing from others", () => {
  const gate = new ConnectionGate({ ...limits, strangersPerSecond: 2, attemptsPerSecond: 1 }, 0);
  for (let n = 0; n < 2; n++) gate.enter("a", false, 0)?.();
  for (let n = 0; n < 100; n++) assert.equal(gate.enter("a", false, 0), null);
  assert.ok(gate.enter("b", false, 0));
  assert.ok(gate.enter("a", false, 1000));
});

test("however many addresses strangers come from, their handshakes a second are bounded", () => {
  const gate = new ConnectionGate({ ...limits, strangersPerSecond: 10, attemptsPerSecond: 5 }, 0);
  let began = 0;
  for (let now = 0; now < 10_000; now += 10) {
    for (let n = 0; n < 40; n++) {
      const leave = gate.enter(`${now % 2000} ${n}`, false, now);
      if (leave !== null) began++;
      leave?.();
    }
  }
  assert.ok(began >= 10 * 10 && began <= 10 * 10 + 20, `${began} handshakes in 10 s`);
});

test("a crowd that has used up what strangers may have takes nothing from where members are, nor they from it", () => {
  const gate = new ConnectionGate({ ...limits, strangersPerSecond: 2, attemptsPerSecond: 1 }, 0);
  for (let n = 0; n < 3; n++) assert.ok(gate.enter(`stranger ${n}`, false, 0));
  assert.equal(gate.enter("stranger 3", false, 0), null);
  const entered = [gate.enter("member", true, 0), gate.enter("member", true, 0)];
  assert.ok(entered.every((leave) => leave !== null));
  assert.equal(gate.enter("member", true, 0), null, "its own share is bounded");
  for (const leave of entered) leave?.();
  assert.equal(gate.enter("member", true, 0), null, "a second of two attempts");
  assert.ok(gate.enter("other member", true, 0));
  assert.equal(gate.enter("stranger 4", false, 5000), null, "members that leave make no room for strangers");
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
