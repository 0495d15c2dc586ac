import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { CairnClient, contract, problemSchema, type Route } from "@cairn/client";
import { errorCodes, nodeIndexSchema, systemRandom } from "@cairn/core";
import { certificateToPem, issueNodeCertificate } from "@cairn/pki";
import fc from "fast-check";
import { Daemon } from "./daemon-process.ts";
import { type KnownIds, knownIds, requestOf } from "./known-requests.ts";
import { ADMIN_TOKEN, NodeFolder, testCluster } from "./node-folder.ts";
import { type Answer, RestFixture } from "./rest-fixture.ts";

const RUNS = { numRuns: 150 };

let rest: RestFixture;
let known: KnownIds;
before(async () => {
  rest = await RestFixture.start({ api: { rate_per_minute: 1_000_000, max_body_bytes: 16_384 } });
  rest.node.fund(60_000n);
  known = await knownIds(rest);
});
after(() => rest.close());

/** That `answer` is a success of the endpoint, or a refusal that says what to do; never a fault of the node. */
function assertProper(answer: Answer, what: string): void {
  assert.ok(answer.status < 500, `${what}: ${answer.status} ${answer.text}`);
  if (answer.status < 400) return;
  assert.equal(answer.headers.get("content-type"), "application/problem+json", what);
  const problem = problemSchema.parse(answer.json);
  assert.equal(problem.status, errorCodes[problem.code].http, what);
  assert.equal(problem.type, `urn:cairn:error:${problem.code}`);
  assert.ok(problem.detail.length >= 15, `${what}: ${problem.detail}`);
}

const posts = Object.entries<Route>(contract).filter(([, route]) => route.method === "POST");
const gets = Object.entries<Route>(contract).filter(([, route]) => route.method === "GET");

/** Values that no field of a body expects. */
const junk = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>(
    -1,
    0,
    0.5,
    Number.MAX_VALUE,
    2 ** 53,
    "-1",
    "0",
    "1.5",
    "1e3",
    "2100000000000001",
    "99999999999999999999999999",
    "",
    " ",
    "\u0000",
    "\ud800",
    "x".repeat(5_000),
    null,
    [],
    {},
    [[[[]]]],
    true,
  ),
);

/** `body` with one field somewhere replaced, removed or added. */
function altered(body: unknown, path: readonly number[], value: unknown, way: number): unknown {
  if (typeof body !== "object" || body === null) return value;
  const keys = Object.keys(body);
  const [turn = 0, ...rest] = path;
  const key = keys[turn % Math.max(1, keys.length)];
  const copy: Record<string, unknown> | unknown[] = Array.isArray(body) ? [...body] : { ...body };
  if (key === undefined || way === 0) {
    if (Array.isArray(copy)) copy.push(value);
    else copy[`field${turn}`] = value;
    return copy;
  }
  const inner = (body as Record<string, unknown>)[key];
  if (rest.length > 0 && typeof inner === "object" && inner !== null) {
    (copy as Record<string, unknown>)[key] = altered(inner, rest, value, way);
  } else if (way === 1) delete (copy as Record<string, unknown>)[key];
  else (copy as Record<string, unknown>)[key] = value;
  return copy;
}

test("bodies of every endpoint with one field altered, removed or added are refused or taken, never a fault", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...posts),
      fc.array(fc.nat(12), { minLength: 1, maxLength: 4 }),
      junk,
      fc.nat(2),
      async ([name, route], path, value, way) => {
        const standard = requestOf(rest, name, known);
        const body = JSON.stringify(altered(standard.body ?? {}, path, value, way));
        const answer = await rest.call(route.method, standard.path, { body });
        assertProper(answer, `${name} ${body.slice(0, 300)}`);
      },
    ),
    RUNS,
  );
});

test("bodies that are any text or any bytes are refused", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...posts),
      fc.oneof(
        fc.string({ unit: "binary", maxLength: 200 }),
        fc.json().map((text) => text.slice(0, -1)),
        fc.constantFrom(
          "[".repeat(10_000),
          '{"__proto__":{"role":"admin"}}',
          '{"constructor":{"prototype":{"role":"admin"}}}',
          '{"a":1,"a":2}',
          `{"x":"${"y".repeat(20_000)}"}`,
          "\ufeff{}",
          "NaN",
        ),
      ),
      async ([name, route], body) => {
        const { path } = requestOf(rest, name, known);
        if (route.body === undefined) return;
        const answer = await rest.call(route.method, path, { body });
        assertProper(answer, `${name} ${JSON.stringify(body.slice(0, 200))}`);
        assert.ok(answer.status >= 400, `${name} took ${JSON.stringify(body.slice(0, 200))}`);
      },
    ),
    RUNS,
  );
  assert.equal(({} as { role?: string }).role, undefined);
});

test("paths and queries of any text are refused or taken, never a fault", async () => {
  const word = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.constantFrom(
      "0",
      "-1",
      "1e9",
      "9".repeat(400),
      "%",
      "..",
      "null",
      "true",
      "__proto__",
      "\u0000",
      "AAAA",
    ),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...gets),
      word,
      fc.constantFrom("limit", "cursor", "wallet", "state", "since", "from", "live", "recipient", "x"),
      word,
      async ([name, route], part, key, value) => {
        const path = route.path.replace(/:[A-Za-z]+/, encodeURIComponent(part.toWellFormed()));
        const query = new URLSearchParams([[key, value]]).toString();
        const answer = await rest.call("GET", `${path === "" ? "/" : path}?${query}`);
        assertProper(answer, `${name} ${path}?${query}`);
      },
    ),
    RUNS,
  );
});

const mainnetAddresses = [
  "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
  "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
  "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
];

test("recipients of other networks, with typing errors or uncommon witness versions are refused by name", async () => {
  const right = rest.recipient();
  const typo = fc
    .tuple(
      fc.integer({ min: 6, max: right.length - 1 }),
      fc.constantFrom(..."qpzry9x8gf2tvdw0s3jn54khce6mua7l"),
    )
    .map(([at, letter]) => right.slice(0, at) + letter + right.slice(at + 1))
    .filter((text) => text !== right);
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        typo,
        fc.constantFrom(
          ...mainnetAddresses,
          "bcrt1q",
          right.toUpperCase().replace("B", "b"),
          `${right} `,
          "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
          "BC1SW50QGDZ25J",
          // Well-formed, of witness versions 2 and 16: what pays them anyone may be able to take.
          "bcrt1zqurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurszqtpkz",
          "bcrt1squrswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qursfzcfsm",
        ),
        fc.string({ maxLength: 100 }),
      ),
      async (address) => {
        const outputs = [{ address, amountSats: "40000" }];
        const answer = await rest.call("POST", "/api/v1/policy/check", {
          body: { outputs, maxFeeSats: "1000" },
        });
        assertProper(answer, address);
        assert.ok(answer.status >= 400, `${address} was taken`);
        assert.ok(
          ["address-invalid", "wrong-network", "malformed"].includes(String(answer.json.code)),
          answer.text,
        );
      },
    ),
    RUNS,
  );
});

/** Sends `bytes` as they are and reads until the other side hangs up. */
async function throwAt(port: number, bytes: Uint8Array): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  let answer = "";
  socket.on("data", (chunk) => {
    answer += chunk.toString("latin1");
  });
  socket.on("error", () => {});
  socket.end(bytes);
  await new Promise((resolve) => socket.on("close", resolve));
  return answer;
}

test("addresses of witness versions that nobody uses are refused each by its name", async () => {
  for (const address of [
    "bcrt1zqurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurszqtpkz",
    "bcrt1squrswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qursfzcfsm",
  ]) {
    const outputs = [{ address, amountSats: "40000" }];
    const answer = await rest.call("POST", "/api/v1/policy/check", { body: { outputs, maxFeeSats: "1000" } });
    assert.equal(answer.json.code, "address-invalid", answer.text);
  }
});

test("random bytes on the API's port and on the peers' port, and foreign certificates, change nothing for a daemon", {
  timeout: 120_000,
}, async () => {
  const cluster = testCluster();
  const folder = await NodeFolder.create(cluster);
  const daemon = new Daemon("main-reduced", ["--config", folder.config]);
  try {
    const { api, peer } = await daemon.logged("node ready");
    const apiPort = Number(new URL(String(api)).port);
    const peerPort = Number(String(peer).split(":").at(-1));
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 2_000 }), async (bytes) => {
        const answer = await throwAt(apiPort, bytes);
        if (answer !== "") assert.match(answer, /^HTTP\/1\.1 4[0-9]{2} /);
        await throwAt(peerPort, bytes);
      }),
      { numRuns: 40 },
    );
    const stranger = testCluster();
    const [identity] = stranger.identities;
    assert.ok(identity !== undefined);
    const certificate = issueNodeCertificate(
      stranger.authority,
      { cluster: cluster.manifest.cluster, index: nodeIndexSchema.parse(2), identity: identity.publicKey },
      { now: Date.now() },
      { random: systemRandom },
    );
    for (const credentials of [
      {},
      { cert: Buffer.from(certificateToPem(certificate)), key: Buffer.from(identity.toPem()) },
    ]) {
      const socket = connectTls({
        host: "127.0.0.1",
        port: peerPort,
        rejectUnauthorized: false,
        ...credentials,
      });
      let received = 0;
      socket.on("data", (chunk) => {
        received += chunk.length;
      });
      socket.on("error", () => {});
      socket.on("secureConnect", () => socket.write(systemRandom.bytes(500)));
      await new Promise((resolve) => socket.on("close", resolve));
      assert.equal(received, 0, "a stranger was answered");
    }
    const client = new CairnClient({ endpoints: [String(api)], token: ADMIN_TOKEN });
    assert.equal((await client.call("health", {})).storage, "ok");
    assert.equal((await client.call("getClusterStatus", {})).up, 1);
    daemon.process.kill("SIGTERM");
    assert.equal(await daemon.exit, 0);
    assert.deepEqual(
      daemon.lines.filter(({ level }) => level === "error"),
      [],
    );
  } finally {
    await daemon.stop();
    await folder.remove();
  }
});
