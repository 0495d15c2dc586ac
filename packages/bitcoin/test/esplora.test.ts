import assert from "node:assert/strict";
import type { IncomingMessage, ServerResponse } from "node:http";
import { after, before, beforeEach, test } from "node:test";
import { systemClock, txidSchema } from "@cairn/core";
import fc from "fast-check";
import { bitcoinErrorReason, deriveKey, EsploraClient, MemoryChainSource } from "../src/index.ts";
import { rejectsReason, throwsReason } from "./assert-reason.ts";
import { type EsploraServer, startEsploraServer } from "./esplora-server.ts";
import { testWallet } from "./test-wallet.ts";

const chain = new MemoryChainSource();
const own = deriveKey(testWallet("tr").descriptor, [0, 0]);
const funding = chain.fund(own.script, 1_000n);
chain.mine();

let server: EsploraServer;
before(async () => {
  server = await startEsploraServer(chain);
});
beforeEach(() => {
  server.intercept = () => false;
  server.requests.length = 0;
});
after(() => server.close());

function client(options: Partial<ConstructorParameters<typeof EsploraClient>[0]> = {}, signal?: AbortSignal) {
  return new EsploraClient(
    { url: server.url, network: "regtest", ...options },
    { clock: systemClock, ...(signal === undefined ? {} : { signal }) },
  );
}

function answers(body: string, status = 200, headers: Record<string, string> = {}) {
  server.intercept = (_, response) => {
    response.writeHead(status, headers).end(body);
    return true;
  };
}

const nonsense = {
  HTML: "<!doctype html><title>Just a moment...</title>",
  "truncated JSON": '{"chain_stats":{"tx_count":1},"mempool',
  nothing: "",
  "another type": '{"chain_stats":{"tx_count":"1"},"mempool_stats":{"tx_count":0}}',
  "a negative count": '{"chain_stats":{"tx_count":-1},"mempool_stats":{"tx_count":0}}',
  null: "null",
};

for (const [name, body] of Object.entries(nonsense)) {
  test(`an answer of ${name} is refused by every question`, async () => {
    answers(body);
    const source = client();
    await rejectsReason(source.scriptActivity(own.script), "chain-answer-invalid");
    await rejectsReason(source.tip(), "chain-answer-invalid");
    await rejectsReason(source.transactionStatus(funding.txid), "chain-answer-invalid");
    await rejectsReason(source.rawTransaction(funding.txid), "chain-answer-invalid");
    await rejectsReason(source.broadcast(funding.raw), "chain-answer-invalid");
    await rejectsReason(source.outspend({ txid: funding.txid, vout: 0 }), "chain-answer-invalid");
  });
}

test("amounts beyond all bitcoin, or not whole, are refused", async () => {
  for (const value of ["2100000000000001", "1.5", "-1", '"5"']) {
    server.intercept = (request, response) => {
      if (!request.url?.endsWith("/utxo")) return false;
      response.end(`[{"txid":"${funding.txid}","vout":0,"value":${value},"status":{"confirmed":false}}]`);
      return true;
    };
    await rejectsReason(client().scriptActivity(own.script), "chain-answer-invalid");
  }
});

test("a raw transaction other than the one asked for is refused", async () => {
  const other = chain.fund(own.script, 2_000n);
  answers(Buffer.from(other.raw).toString("hex"));
  await rejectsReason(client().rawTransaction(funding.txid), "chain-answer-invalid");
});

test("a merkle proof or header that proves nothing is refused", async () => {
  const { blockHash = "" } = (await client().inclusion(funding.txid)) ?? {};
  const wrong = {
    "/merkle-proof": JSON.stringify({ block_height: 1, merkle: ["ab".repeat(32)], pos: 0 }),
    "/header": "00".repeat(80),
  };
  for (const [path, body] of Object.entries(wrong)) {
    server.intercept = (request, response) => {
      if (!request.url?.endsWith(path)) return false;
      response.end(body);
      return true;
    };
    await rejectsReason(client().inclusion(funding.txid), "chain-answer-invalid");
  }
  server.intercept = () => false;
  assert.equal((await client().inclusion(funding.txid))?.blockHash, blockHash);
});

test("an id other than that of the transaction sent is refused", async () => {
  answers("ab".repeat(32));
  await rejectsReason(client().broadcast(funding.raw), "chain-answer-invalid");
});

test("a status that describes another transaction is refused", async () => {
  answers(JSON.stringify({ txid: "ab".repeat(32), status: { confirmed: false } }));
  await rejectsReason(client().transactionStatus(funding.txid), "chain-answer-invalid");
});

test("redirects are not followed", async () => {
  for (const status of [301, 302, 307, 308]) {
    answers("", status, { location: `${server.url}/elsewhere` });
    server.requests.length = 0;
    await rejectsReason(client().tip(), "chain-unavailable");
    assert.deepEqual(server.requests, ["/blocks/tip/height"]);
  }
});

test("busy and broken servers are unavailable, for questions and broadcasts", async () => {
  for (const status of [429, 500, 502, 503]) {
    answers("try later", status);
    await rejectsReason(client().tip(), "chain-unavailable");
    await rejectsReason(client().broadcast(funding.raw), "chain-unavailable");
  }
});

test("an answer that never comes, or never ends, times out", async () => {
  const hangs: readonly ((request: IncomingMessage, response: ServerResponse) => boolean)[] = [
    () => true,
    (_, response) => {
      response.writeHead(200);
      response.write("1");
      return true;
    },
  ];
  for (const hang of hangs) {
    server.intercept = hang;
    const started = performance.now();
    await assert.rejects(client({ timeoutMs: 100 }).tip(), /longer than 100 ms/);
    assert.ok(performance.now() - started < 5_000);
  }
});

test("shutting down ends what is under way", async () => {
  server.intercept = () => true;
  const stop = new AbortController();
  const asked = client({}, stop.signal).tip();
  stop.abort();
  await rejectsReason(asked, "chain-unavailable");
});

test("an answer longer than the cap is cut off, not gathered", async () => {
  let sent = 0;
  server.intercept = (_, response) => {
    response.writeHead(200);
    const chunk = "1".repeat(64 * 1024);
    const more = () => {
      while (!response.destroyed && sent < 64 * 1024 * 1024) {
        sent += chunk.length;
        if (!response.write(chunk)) {
          response.once("drain", more);
          return;
        }
      }
      response.end();
    };
    more();
    return true;
  };
  await rejectsReason(client({ maxResponseBytes: 1_000_000 }).tip(), "chain-answer-invalid");
  assert.ok(sent < 32 * 1024 * 1024, `${sent} bytes were sent`);
});

test("no more than the allowed requests are under way at once", async () => {
  let open = 0;
  let most = 0;
  server.intercept = (_, response) => {
    open += 1;
    most = Math.max(most, open);
    setTimeout(() => {
      open -= 1;
      response.writeHead(404).end("not found");
    }, 5);
    return true;
  };
  const source = client({ maxConcurrent: 3 });
  await Promise.all(Array.from({ length: 20 }, (_, height) => source.blockHash(height)));
  assert.equal(most, 3);
});

test("errors name the endpoint, never an address or id that was asked for", async () => {
  answers("<html>");
  for (const asked of [client().scriptActivity(own.script), client().transactionStatus(funding.txid)]) {
    await assert.rejects(asked, (error: Error) => {
      const text = JSON.stringify([error.message, error]);
      return text.includes("127.0.0.1") && !text.includes(own.address) && !text.includes(funding.txid);
    });
  }
});

test("a rejection's text is cut and made printable before it reaches a message", async () => {
  answers(`bad-txns \u0007\u001b[31m${"x".repeat(10_000)}`, 400);
  await assert.rejects(client().broadcast(funding.raw), (error: Error) => {
    assert.equal(bitcoinErrorReason(error), "chain-rejected");
    return error.message.length < 300 && /^[\x20-\x7e]*$/.test(error.message);
  });
});

test("a server without fee estimates has none, rather than failing", async () => {
  answers("no such path", 404);
  assert.deepEqual(await client().feeEstimates(), []);
});

test("an endpoint must be a plain http or https address", () => {
  for (const url of [
    "",
    "example.org",
    "ftp://example.org",
    "file:///etc/passwd",
    "http://user:word@example.org",
    "http://h/?a=b",
  ]) {
    throwsReason(() => client({ url }), "chain-endpoint-invalid");
  }
});

test("any answer is understood or refused with a type", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.json(), fc.string()),
      fc.constantFrom(200, 400, 404),
      async (body, status) => {
        answers(body, status);
        const source = client();
        const txid = txidSchema.parse("cd".repeat(32));
        for (const ask of [
          () => source.tip(),
          () => source.scriptActivity(own.script),
          () => source.transactionStatus(txid),
          () => source.outspend({ txid, vout: 0 }),
          () => source.rawTransaction(txid),
          () => source.inclusion(txid),
          () => source.feeEstimates(),
        ]) {
          try {
            await ask();
          } catch (error) {
            assert.ok(bitcoinErrorReason(error), String(error));
          }
        }
      },
    ),
    { numRuns: 40 },
  );
});
