import assert from "node:assert/strict";
import { get } from "node:https";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { contract, type Role, type Route, roleCovers, roles } from "@cairn/client";
import {
  errorCodes,
  type NodeIndex,
  nodeIndexSchema,
  satsSchema,
  systemRandom,
  type UnixMs,
} from "@cairn/core";
import { certificateToPem, issueNodeCertificate } from "@cairn/pki";
import { knownIds, requestOf } from "./known-requests.ts";
import { testCluster } from "./node-folder.ts";
import { RestFixture, tokenOf } from "./rest-fixture.ts";

let rest: RestFixture;
before(async () => {
  rest = await RestFixture.start();
  rest.node.fund(60_000n);
});
after(() => rest.close());

/** A server certificate as its operator would have it, and the authority that browsers would trust. */
function serverCertificate(): Record<"key" | "certificate" | "authority", Uint8Array> {
  const { authority, identities, manifest } = testCluster();
  const [identity] = identities;
  if (identity === undefined) throw new RangeError("no identity");
  const issued = issueNodeCertificate(
    authority,
    { cluster: manifest.cluster, index: nodeIndexSchema.parse(1), identity: identity.publicKey },
    { now: Date.now() },
    { random: systemRandom },
  );
  return {
    key: identity.toPem(),
    certificate: certificateToPem(issued),
    authority: certificateToPem(authority.certificate),
  };
}

test("each role may do what it covers and nothing above it", async () => {
  const known = await knownIds(rest);
  for (const [name, route] of Object.entries<Route>(contract)) {
    for (const role of roles) {
      if (route.role === null) continue;
      const { path, body } = requestOf(rest, name, known);
      const answer = await rest.call(route.method, path, { role, ...(body === undefined ? {} : { body }) });
      assert.equal(answer.status, roleCovers(role, route.role) ? route.status : 403, `${role} at ${name}`);
      if (answer.status === 403) assert.deepEqual(answer.json.data, { needed: route.role, held: role });
    }
  }
});

test("a viewer's spend is refused before it reaches the runtime, and wrong tokens are no tokens", async () => {
  const before = rest.node.submissions;
  const viewer = await rest.call("POST", "/api/v1/transactions", {
    role: "viewer",
    body: rest.signedSpend(),
  });
  assert.equal(viewer.json.code, "forbidden");
  for (const authorization of [
    "Bearer nope",
    `bearer ${tokenOf("admin")}x`,
    `Basic ${tokenOf("admin")}`,
    `Bearer ${tokenOf("admin")} ${tokenOf("admin")}`,
    "Bearer ",
    `Bearer ${"a".repeat(5_000)}`,
  ]) {
    const answer = await rest.call("GET", "/api/v1/transactions", { role: null, headers: { authorization } });
    assert.equal(answer.json.code, "unauthenticated", authorization.slice(0, 40));
    assert.equal(answer.headers.get("www-authenticate"), 'Bearer realm="cairn"');
  }
  assert.equal(rest.node.submissions, before);
  assert.ok(!rest.log.join("").includes("token-of-tests"));
});

test("tokens of the store count until they expire or are revoked", async () => {
  const own = await RestFixture.start();
  try {
    const row = { name: "stored", role: "viewer", createdAt: 1, expiresAt: null, revokedAt: null } as const;
    const { tokenHash } = await import("../src/index.ts");
    await own.store.commit([
      { write: "token", row: { ...row, hash: tokenHash("good") } as never },
      { write: "token", row: { ...row, hash: tokenHash("expired"), expiresAt: 2 } as never },
      { write: "token", row: { ...row, hash: tokenHash("revoked"), revokedAt: 2 } as never },
    ]);
    const status = async (token: string) =>
      (
        await own.call("GET", "/api/v1/wallets", {
          role: null,
          headers: { authorization: `Bearer ${token}` },
        })
      ).status;
    assert.deepEqual(
      [await status("good"), await status("expired"), await status("revoked")],
      [200, 401, 401],
    );
  } finally {
    await own.close();
  }
});

const json = JSON.stringify;
const good = () => rest.signedSpend();
const bodies: readonly (readonly [string, () => string, string])[] = [
  ["malformed JSON", () => '{"request": ', "malformed"],
  ["an empty body", () => "", "malformed"],
  ["JSON that is no object", () => "[1]", "malformed"],
  ["deep nesting", () => `${"[".repeat(30_000)}${"]".repeat(30_000)}`, "malformed"],
  ["deep nesting that never ends", () => '{"a":'.repeat(10_000), "malformed"],
  ["an unknown field", () => json({ ...good(), extra: 1 }), "malformed"],
  ["a polluted prototype", () => `{"__proto__": {"role": "admin"}, ${json(good()).slice(1)}`, "malformed"],
  ["a wrong type", () => json({ ...good(), signature: 7 }), "malformed"],
  ["a body over the limit", () => json({ ...good(), padding: "x".repeat(70_000) }), "too-large"],
  ...["-1", "1.5", "1e3", " 1", "0x10", "٣", "2100000000000001", "99999999999999999999999", ""].map(
    (amount) =>
      [
        `the amount "${amount}"`,
        () => {
          const body = good();
          return json({
            ...body,
            request: { ...body.request, outputs: [{ address: "a", amountSats: amount }] },
          });
        },
        "malformed",
      ] as const,
  ),
  [
    "an amount that is a number",
    () => {
      const body = good();
      return json({ ...body, request: { ...body.request, maxFeeSats: 1 } });
    },
    "malformed",
  ],
  [
    "an amount of zero",
    () =>
      json(rest.signedSpend({ outputs: [{ address: rest.recipient(), amountSats: satsSchema.parse(0n) }] })),
    "amount-invalid",
  ],
  ["no outputs", () => json(rest.signedSpend({ outputs: [] })), "malformed"],
];

for (const [what, body, code] of bodies) {
  test(`POST /transactions refuses ${what} as ${code}`, async () => {
    const before = rest.node.submissions;
    const answer = await rest.call("POST", "/api/v1/transactions", { body: body() });
    assert.equal(answer.json.code, code, answer.text);
    assert.equal(answer.status, errorCodes[code as keyof typeof errorCodes].http);
    assert.equal(answer.json.type, `urn:cairn:error:${code}`);
    assert.equal(rest.node.submissions, before);
  });
}

test("other content types, wrong paths, methods and queries are problems too", async () => {
  const xml = await rest.call("POST", "/api/v1/transactions", {
    body: "<a/>",
    headers: { "content-type": "text/xml" },
  });
  assert.equal(xml.json.code, "malformed");
  for (const [method, path, code] of [
    ["GET", "/api/v1/nothing", "not-found"],
    ["GET", "/", "not-found"],
    ["PUT", "/api/v1/transactions", "not-found"],
    ["GET", "/api/v1/transactions/%zz", "malformed"],
    ["GET", "/api/v1/transactions/abc", "malformed"],
    ["GET", `/api/v1/transactions/${"0".repeat(64)}`, "not-found"],
    ["GET", `/api/v1/keys/${"0".repeat(64)}`, "not-found"],
    ["GET", `/api/v1/sessions/${"0".repeat(64)}`, "not-found"],
    ["GET", "/api/v1/transactions?limit=0", "malformed"],
    ["GET", "/api/v1/transactions?limit=1000", "malformed"],
    ["GET", "/api/v1/transactions?limit=1&limit=2", "malformed"],
    ["GET", "/api/v1/transactions?state=nope", "malformed"],
    ["GET", "/api/v1/transactions?cursor=nope", "malformed"],
    ["GET", `/api/v1/wallet/balance?wallet=${"0".repeat(64)}`, "not-found"],
  ] as const) {
    const answer = await rest.call(method, path);
    assert.equal(answer.json.code, code, `${method} ${path}: ${answer.text}`);
    assert.equal(answer.headers.get("content-type"), "application/problem+json");
  }
});

test("an error that the node did not foresee is `internal`, without details, and the log has them", async () => {
  rest.node.beforeSubmit = async () => {
    throw new TypeError("the secret inside");
  };
  try {
    const answer = await rest.call("POST", "/api/v1/transactions", { body: rest.signedSpend() });
    assert.equal(answer.status, 500);
    assert.equal(answer.json.code, "internal");
    assert.ok(!answer.text.includes("secret inside"));
    const id = String(answer.json.instance);
    assert.ok(rest.log.some((line) => line.includes("secret inside") && line.includes(id)));
  } finally {
    rest.node.beforeSubmit = async () => {};
  }
});

test("a refusal by the runtime keeps its code, message and data", async () => {
  const poor = await RestFixture.start();
  try {
    const answer = await poor.call("POST", "/api/v1/transactions", { body: poor.signedSpend() });
    assert.equal(answer.status, 422);
    assert.deepEqual(
      [answer.json.code, answer.json.title, answer.json.data],
      ["insufficient-funds", "Insufficient funds", { missingSats: "1" }],
    );
  } finally {
    await poor.close();
  }
});

test("the bare form is refused unless the manifest allows it, and then is a request of an hour from the only wallet", async () => {
  const bare = { recipient: rest.recipient(), amount_sats: 30_000 };
  const refused = await rest.call("POST", "/api/v1/transactions", { body: bare });
  assert.equal(refused.json.code, "unsigned-request");
  const open = await RestFixture.start({ cluster: testCluster({ manifest: { unsignedRequests: true } }) });
  try {
    open.node.fund(60_000n);
    const answer = await open.call("POST", "/api/v1/transactions", { body: bare });
    assert.equal(answer.status, 202, answer.text);
    assert.equal(answer.json.amountSats, "30000");
    const life = Date.parse(String(answer.json.expiry)) - Date.parse(String(answer.json.createdAt));
    assert.ok(life <= 3_600_000 && life > 3_590_000);
    for (const amount of [0, -5, 1.5, 2_100_000_000_000_001, "0x1", true, null]) {
      const bad = await open.call("POST", "/api/v1/transactions", { body: { ...bare, amount_sats: amount } });
      assert.equal(bad.json.code, "malformed", String(amount));
    }
  } finally {
    await open.close();
  }
});

test("transactions are listed newest first, page by page, with filters", async () => {
  const own = await RestFixture.start();
  try {
    own.node.fund(60_000n);
    const made: string[] = [];
    for (let count = 0; count < 5; count++) {
      made.unshift((await own.node.submit(own.spendRequest(), null)).txid);
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    const seen: unknown[] = [];
    let cursor = "";
    for (let pages = 0; pages < 3; pages++) {
      const { json } = await own.call("GET", `/api/v1/transactions?limit=2${cursor}`);
      seen.push(...(json.transactions as { txid: string }[]).map(({ txid }) => txid));
      if (json.next === null) break;
      cursor = `&cursor=${json.next}`;
    }
    assert.deepEqual(seen, made);
    const count = async (query: string) =>
      ((await own.call("GET", `/api/v1/transactions?${query}`)).json.transactions as unknown[]).length;
    assert.equal(await count("state=pending,voting"), 5);
    assert.equal(await count("state=confirmed"), 0);
    assert.equal(await count(`wallet=${own.node.wallet.signed.record.wallet}`), 5);
    assert.equal(await count(`wallet=${"0".repeat(64)}`), 0);
  } finally {
    await own.close();
  }
});

test("a transaction's detail has its inputs from the PSBT, its votes and its timings", async () => {
  const row = await rest.node.submit(rest.spendRequest(), null);
  await rest.store.commit([
    {
      write: "vote",
      row: {
        intent: row.intent,
        round: 0,
        voter: nodeIndexSchema.parse(2),
        approve: false,
        reason: "whitelist",
        signature: "ab".repeat(64) as never,
        body: new Uint8Array(1),
        receivedAt: row.createdAt,
      },
    },
  ]);
  const { json: detail } = await rest.call("GET", `/api/v1/transactions/${row.txid}`);
  const [input] = detail.inputs as { amountSats: string; scriptPubKey: string }[];
  assert.equal(input?.amountSats, "60000");
  assert.match(String(input?.scriptPubKey), /^0014[0-9a-f]{40}$/);
  assert.deepEqual(detail.timingsMs, { voted: 12 });
  assert.equal(detail.votingState, "Initial");
  const [vote] = detail.votes as { node: number; approve: boolean; reason: string }[];
  assert.deepEqual([vote?.node, vote?.approve, vote?.reason], [2, false, "whitelist"]);
  assert.match(String(detail.explanation), /waits for voting/);
});

test("the policy check names the rule that decides", async () => {
  const ask = (amountSats: string) =>
    rest.call("POST", "/api/v1/policy/check", {
      role: "viewer",
      body: { outputs: [{ address: rest.recipient(), amountSats }], maxFeeSats: "0" },
    });
  assert.equal((await ask("1000000")).json.decision, "allow");
  const { json: denied } = await ask("1000001");
  assert.equal(denied.decision, "deny");
  const rules = denied.rules as { rule: string; decision: string }[];
  assert.deepEqual(
    rules.filter(({ decision }) => decision === "deny").map(({ rule }) => rule),
    ["per-transaction"],
  );
  assert.equal((await ask("0")).json.code, "amount-invalid");
  assert.equal((await ask("-1")).json.code, "amount-invalid");
  const mainnet = await rest.call("POST", "/api/v1/policy/check", {
    body: {
      outputs: [{ address: "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", amountSats: "1" }],
      maxFeeSats: "0",
    },
  });
  assert.ok(["address-invalid", "wrong-network"].includes(String(mainnet.json.code)), mainnet.text);
});

test("callers over their rate are told when to come back, each token and address for itself", async () => {
  const strict = await RestFixture.start({ api: { rate_per_minute: 3 } });
  try {
    const ask = (role: Role | null) => strict.call("GET", "/api/v1/wallets", { role });
    for (let count = 0; count < 3; count++) {
      const answer = await ask("viewer");
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get("ratelimit-remaining"), String(2 - count));
      assert.equal(answer.headers.get("ratelimit-limit"), "3");
    }
    const refused = await ask("viewer");
    assert.deepEqual([refused.status, refused.json.code], [429, "rate-limited"]);
    assert.ok(Number(refused.headers.get("retry-after")) > 0);
    assert.equal((await ask("spender")).status, 200);
    // Guessing tokens and paths spends the address's own allowance.
    const guesses = [
      await ask(null),
      await strict.call("GET", "/x", { role: null }),
      await ask(null),
      await ask(null),
    ];
    assert.deepEqual(
      guesses.map(({ status }) => status),
      [401, 404, 401, 429],
    );
  } finally {
    await strict.close();
  }
});

test("only configured origins may call from browsers", async () => {
  const origin = "https://console.example";
  const open = await RestFixture.start({ api: { cors_origins: [origin] } });
  try {
    const preflight = (from: string) =>
      open.call("OPTIONS", "/api/v1/transactions", {
        role: null,
        headers: { origin: from, "access-control-request-method": "POST" },
      });
    assert.equal((await preflight(origin)).headers.get("access-control-allow-origin"), origin);
    assert.equal((await preflight("https://evil.example")).headers.get("access-control-allow-origin"), null);
    const closed = await rest.call("GET", "/health", { headers: { origin } });
    assert.equal(closed.headers.get("access-control-allow-origin"), null);
  } finally {
    await open.close();
  }
});

test("a client that dawdles over its request is cut off, and others are served meanwhile", async () => {
  const strict = await RestFixture.start({ server: { headersTimeoutMs: 300, requestTimeoutMs: 600 } });
  try {
    const port = Number(new URL(strict.url).port);
    const cut = async (start: string): Promise<number> => {
      const began = performance.now();
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {});
      socket.resume();
      socket.write(start);
      await new Promise((resolve) => socket.on("close", resolve));
      return performance.now() - began;
    };
    const headers = cut("GET /health HTTP/1.1\r\nhost: a\r\n");
    const body = cut(
      `POST /api/v1/transactions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${tokenOf("admin")}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`,
    );
    assert.equal((await strict.call("GET", "/health")).status, 200);
    assert.ok((await headers) < 5_000);
    assert.ok((await body) < 5_000);
  } finally {
    await strict.close();
  }
});

test("what is no HTTP request gets a problem and the end of the connection", async () => {
  const { port, hostname } = new URL(rest.url);
  const ask = async (text: string): Promise<string> => {
    const socket = connect(Number(port), hostname);
    socket.end(text);
    let answer = "";
    for await (const chunk of socket) answer += String(chunk);
    return answer;
  };
  assert.match(await ask("\x16\x03\x01 not http\r\n\r\n"), /^HTTP\/1\.1 400 .*"code":"malformed"/s);
  assert.match(
    await ask(`GET /health HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(40_000)}\r\n\r\n`),
    /^HTTP\/1\.1 413 .*"code":"too-large"/s,
  );
});

test("the API serves HTTPS with the configured certificate", async () => {
  const { key, certificate, authority } = serverCertificate();
  const secure = await RestFixture.start({ server: { tls: { certificate, key } } });
  try {
    assert.match(secure.url, /^https:/);
    const status = await new Promise((resolve, reject) => {
      get(
        `${secure.url}/health`,
        { ca: Buffer.from(authority), checkServerIdentity: () => undefined },
        (response) => {
          response.resume();
          resolve(response.statusCode);
        },
      ).on("error", reject);
    });
    assert.equal(status, 200);
  } finally {
    await secure.close();
  }
});

test("requests are logged with id, route, status and caller, and metrics count them", async () => {
  const answer = await rest.call("GET", "/api/v1/wallets?x=secret", {
    role: "viewer",
    headers: { "x-request-id": "my-own-id-1" },
  });
  assert.equal(answer.headers.get("x-request-id"), "my-own-id-1");
  const forged = await rest.call("GET", "/health", { headers: { "x-request-id": "a b<script>" } });
  assert.match(String(forged.headers.get("x-request-id")), /^[0-9a-f]{24}$/);
  const entry = rest.log.map((line) => JSON.parse(line)).find(({ request }) => request === "my-own-id-1");
  assert.equal(entry.message, "request");
  assert.deepEqual(
    [entry.route, entry.path, entry.status, entry.caller],
    ["/api/v1/wallets", "/api/v1/wallets", 200, "viewer"],
  );
  const { text } = await rest.call("GET", "/metrics", { role: "viewer" });
  assert.match(text, /cairn_api_requests\{route="\/api\/v1\/wallets",method="GET",status="200"\} [0-9]+/);
  assert.equal((await rest.call("GET", "/metrics", { role: null })).status, 401);
});

test("a node that lost its database says in its health and status that it abstains, and how far it is", async () => {
  const before = rest.node.syncStatus;
  const at = 1_700_000_000_000 as UnixMs;
  rest.node.syncStatus = {
    abstains: true,
    recollection: { restoredAt: at, heard: [2 as NodeIndex], needed: 3, forgottenUntil: at },
    peers: [
      {
        node: 2 as NodeIndex,
        state: "whole",
        wholeAt: at,
        reason: null,
        taken: 7,
        refused: 0,
        withheld: 0,
      },
    ],
  };
  try {
    const health = (await rest.call("GET", "/health")).json;
    assert.deepEqual([health.status, health.sync], ["degraded", "abstains"]);
    const { sync } = (await rest.call("GET", "/api/v1/cluster/status", { role: "viewer" })).json;
    const time = new Date(at).toISOString();
    assert.deepEqual(sync, {
      abstains: true,
      restoredAt: time,
      heard: [2],
      needed: 3,
      forgottenUntil: time,
      peers: [{ node: 2, state: "whole", wholeAt: time, reason: null, taken: 7, refused: 0, withheld: 0 }],
    });
  } finally {
    rest.node.syncStatus = before;
  }
  assert.equal((await rest.call("GET", "/health")).json.sync, "ok");
});
