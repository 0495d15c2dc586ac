import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { problemSchema } from "@cairn/client";
import fc from "fast-check";
import { z } from "zod";
import { RestFixture, tokenOf } from "./rest-fixture.ts";

const LIMIT = 16_384;

let rest: RestFixture;
before(async () => {
  rest = await RestFixture.start({ api: { rate_per_minute: 1_000_000, max_body_bytes: LIMIT } });
  rest.node.fund(60_000n);
});
after(() => rest.close());

interface Sent {
  readonly path: string;
  /** Bytes of the body, in pieces of at most `piece`. */
  readonly length: number;
  readonly piece: number;
  /** Whether the length is said before, or the body comes in chunks. */
  readonly announced: boolean;
}

/** Sends a body of a given length and gives the answer, which may come, and the connection end, before all is sent. */
async function send({ path, length, piece, announced }: Sent): Promise<{ status: number; text: string }> {
  // Valid JSON of every length from two on.
  const body = Buffer.from(JSON.stringify("x".repeat(length - 2)), "latin1");
  return new Promise((resolve, reject) => {
    const call = request(
      rest.url + path,
      {
        method: "POST",
        agent: false,
        headers: {
          authorization: `Bearer ${tokenOf("admin")}`,
          "content-type": "application/json",
          ...(announced ? { "content-length": String(body.length) } : {}),
        },
      },
      (response) => {
        let text = "";
        response.on("data", (chunk) => {
          text += String(chunk);
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
        response.on("error", reject);
      },
    );
    // The node hangs up on what it will not read; what it said before counts.
    call.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE" && error.code !== "ECONNRESET") reject(error);
    });
    call.on("close", () => reject(new Error("the node hung up without an answer")));
    for (let at = 0; at < body.length; at += piece) call.write(body.subarray(at, at + piece));
    call.end();
  });
}

test("a body over the limit is refused as too large whether its length is announced or not; one up to it is read", {
  timeout: 120_000,
}, async () => {
  const paths = ["/api/v1/transactions", "/api/v1/keys", "/api/v1/presignatures", "/api/v1/policy/check"];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...paths),
      fc.oneof(
        fc.integer({ min: 2, max: LIMIT }),
        fc.integer({ min: -3, max: 3 }).map((beside) => LIMIT + beside),
        fc.integer({ min: LIMIT + 1, max: 40 * LIMIT }),
      ),
      fc.constantFrom(1_000, 4_096, 65_536),
      fc.boolean(),
      async (path, length, piece, announced) => {
        const { status, text } = await send({ path, length, piece, announced });
        const problem = problemSchema.parse(JSON.parse(text));
        assert.equal(problem.code, length > LIMIT ? "too-large" : "malformed", `${length} bytes`);
        assert.equal(status, length > LIMIT ? 413 : 400);
        if (length > LIMIT) assert.match(problem.detail, /max_body_bytes allows; send less/);
      },
    ),
    { numRuns: 200 },
  );
  const answer = await rest.call("POST", "/api/v1/transactions", { body: rest.signedSpend() });
  assert.equal(answer.status, 202);
});

test("callers that hang up within a body leave no error in the log, and the node serves on", async () => {
  const { hostname, port } = new URL(rest.url);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 400 }), fc.boolean(), async (sent, reset) => {
      const socket = connect({ host: hostname, port: Number(port) });
      const head = `POST /api/v1/transactions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${tokenOf("admin")}\r\n`;
      const text = `${head}content-type: application/json\r\ncontent-length: 500\r\n\r\n"${"x".repeat(300)}`;
      await once(socket, "connect");
      await new Promise((resolve) => socket.write(text.slice(0, head.length + sent), resolve));
      if (reset) socket.resetAndDestroy();
      else socket.destroy();
      await once(socket, "close");
    }),
    { numRuns: 60 },
  );
  assert.equal((await rest.call("GET", "/health")).status, 200);
  const faults = rest.log.map((line) => z.looseObject({ level: z.string() }).parse(JSON.parse(line)));
  assert.deepEqual(
    faults.filter(({ level }) => level === "error"),
    [],
  );
});
