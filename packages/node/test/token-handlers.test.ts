import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { MemoryDisk } from "@cairn/storage";
import { tokenHash } from "../src/index.ts";
import { testCluster } from "./node-folder.ts";
import { type Answer, RestFixture } from "./rest-fixture.ts";

const make = (rest: RestFixture, token: string, change: object = {}): Promise<Answer> =>
  rest.call("POST", "/api/v1/tokens", {
    body: { name: "ci", role: "viewer", hash: tokenHash(token), ...change },
  });
const use = async (rest: RestFixture, token: string, path = "/api/v1/wallets"): Promise<number> => {
  const headers = { authorization: `Bearer ${token}` };
  return (await rest.call("GET", path, { role: null, headers })).status;
};

test("a token lets its holder in from the answer on that makes it, and out from the answer on that revokes it", async () => {
  const disk = new MemoryDisk();
  const cluster = testCluster();
  const rest = await RestFixture.start({ disk, cluster });
  const token = randomBytes(32).toString("base64url");
  try {
    assert.equal(await use(rest, token), 401);
    const made = await make(rest, token);
    assert.deepEqual([made.status, made.json.role, made.json.revokedAt], [201, "viewer", null]);
    assert.equal(await use(rest, token), 200);
    assert.equal(await use(rest, token, "/api/v1/audit"), 403);
    // A retry whose answer was lost is no error.
    assert.equal((await make(rest, token)).status, 201);
    const revoked = await rest.call("POST", `/api/v1/tokens/${tokenHash(token)}/revoke`);
    assert.equal(revoked.status, 200);
    assert.equal(await use(rest, token), 401);
    const again = await rest.call("POST", `/api/v1/tokens/${tokenHash(token)}/revoke`);
    assert.equal(again.json.revokedAt, revoked.json.revokedAt);
    assert.equal((await make(rest, token)).json.code, "wrong-state");
    // Each change once, in the audit log with its row.
    assert.deepEqual(rest.node.recorded, [
      `token-created ${tokenHash(token)}`,
      `token-revoked ${tokenHash(token)}`,
    ]);
    assert.ok(!rest.log.join("").includes(token));
  } finally {
    await rest.close();
  }
  const later = await RestFixture.start({ disk, cluster });
  try {
    assert.equal(await use(later, token), 401);
    assert.ok(!JSON.stringify(await later.store.tokens()).includes(token));
  } finally {
    await later.close();
  }
});

test("a token ends at its time, and its name is free again", async () => {
  const rest = await RestFixture.start();
  try {
    const token = randomBytes(32).toString("base64url");
    const expiresAt = new Date(Date.now() + 700).toISOString();
    assert.equal((await make(rest, token, { expiresAt })).status, 201);
    assert.equal(await use(rest, token), 200);
    while ((await use(rest, token)) === 200) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(Date.now() >= Date.parse(expiresAt));
    assert.equal((await make(rest, "another")).status, 201);
  } finally {
    await rest.close();
  }
});

test("tokens of the configuration are listed, can't be revoked here, and keep their names", async () => {
  const rest = await RestFixture.start();
  try {
    const { tokens } = (await rest.call("GET", "/api/v1/tokens")).json as {
      tokens: { name: string; source: string; hash: string }[];
    };
    assert.deepEqual(
      tokens.map(({ name, source }) => `${name} ${source}`),
      ["viewer", "spender", "operator", "admin"].map((name) => `${name} configuration`),
    );
    const refused = await rest.call("POST", `/api/v1/tokens/${tokens[0]?.hash}/revoke`);
    assert.match(String(refused.json.detail), /cairn\.toml/);
    assert.equal((await make(rest, "t", { name: "admin" })).json.code, "wrong-state");
    for (const name of ["", "a b", "a\n", "x".repeat(65), "__proto__\u0000"]) {
      assert.equal((await make(rest, "t", { name })).json.code, "malformed", name);
    }
  } finally {
    await rest.close();
  }
});

test("there is a bound on tokens in force, and a revoked one makes room", async () => {
  const rest = await RestFixture.start();
  try {
    const now = Date.now();
    await rest.store.commit(
      Array.from({ length: 256 }, (_, i) => ({
        write: "token",
        row: {
          hash: tokenHash(`t${i}`),
          name: `t${i}`,
          role: "viewer",
          createdAt: now as never,
          expiresAt: null,
          revokedAt: null,
        },
      })),
    );
    assert.equal((await make(rest, "one more")).json.code, "limit-exceeded");
    await rest.call("POST", `/api/v1/tokens/${tokenHash("t9")}/revoke`);
    assert.equal((await make(rest, "one more")).status, 201);
  } finally {
    await rest.close();
  }
});
