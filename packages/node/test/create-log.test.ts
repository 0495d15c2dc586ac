import assert from "node:assert/strict";
import { test } from "node:test";
import { CairnError, Ed25519Signer, systemClock } from "@cairn/core";
import { createLog } from "../src/create-log.ts";

function logged(
  run: (log: ReturnType<typeof createLog>) => void,
  level: "debug" | "warn" = "debug",
): string[] {
  const lines: string[] = [];
  run(
    createLog(
      { level, fields: { node: 2 } },
      { destination: { write: (line) => lines.push(line) }, clock: systemClock },
    ),
  );
  return lines;
}

test("a line is JSON with level, time, node, message and the context's fields", () => {
  const [line] = logged((log) => log.info("hello", { peer: 3, amount: 5n, at: new Date(0) }));
  const entry = JSON.parse(line ?? "");
  assert.deepEqual(
    [entry.level, entry.node, entry.message, entry.peer, entry.amount, entry.at],
    ["info", 2, "hello", 3, "5", "1970-01-01T00:00:00.000Z"],
  );
  assert.match(entry.time, /^\d{4}-\d\d-\d\dT.*Z$/);
});

test("what is below the level is not written", () => {
  assert.equal(
    logged((log) => [log.debug("a"), log.info("b"), log.warn("c"), log.error("d")], "warn").length,
    2,
  );
});

test("secrets are redacted wherever they stand: by field name, in text, in errors and their causes", () => {
  const secret = "hunter2-hunter2";
  const pem = Buffer.from(Ed25519Signer.generate().toPem()).toString("latin1");
  const body = pem.split("\n")[1] ?? "";
  const [text] = logged((log) =>
    log.error("failed", {
      headers: { Authorization: `Bearer ${secret}`, cookie: secret, ok: "yes" },
      config: {
        api: { tls_key: secret, tokens: [{ token: secret, name: "viewer" }] },
        vault: { passphrase: secret },
      },
      nested: [[{ apiToken: secret }]],
      note: `sent authorization: bearer ${secret}, then went on`,
      error: new CairnError(
        "internal",
        `cannot read ${pem}`,
        { secret },
        { cause: new Error(`Bearer ${secret}`) },
      ),
      list: new Map([["password", { password: secret }]]),
    }),
  );
  assert.ok(text !== undefined);
  assert.ok(!text.includes(secret), text);
  assert.ok(!text.includes(body));
  assert.ok(text.includes('"ok":"yes"') && text.includes('"name":"viewer"') && text.includes("then went on"));
});

test("raw bytes, depth and length are bounded, and a circle does not hang", () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const [line] = logged((log) =>
    log.info("big", {
      frame: new Uint8Array(1_000_000),
      circle,
      long: "x".repeat(100_000),
      many: Array(10_000).fill(1),
    }),
  );
  assert.ok((line ?? "").length < 10_000);
  assert.ok((line ?? "").includes("<1000000 bytes>"));
});

test("a known error is logged with its code and data and without a stack, an unknown one with it", () => {
  const [known, unknown] = logged((log) => {
    log.warn("a", { error: new CairnError("timeout", "late", { node: 3 }) });
    log.error("b", { error: new TypeError("oops") });
  }).map((line) => JSON.parse(line).error);
  assert.deepEqual(known, { name: "CairnError", code: "timeout", data: { node: 3 }, message: "late" });
  assert.equal(unknown.name, "TypeError");
  assert.match(unknown.stack, /create-log\.test/);
});
