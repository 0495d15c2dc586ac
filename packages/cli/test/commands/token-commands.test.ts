import assert from "node:assert/strict";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import type { TokenView } from "@cairn/client";
import { CairnError, sha256Hex } from "@cairn/core";
import { type Bench, createBench, temporaryFolder } from "../bench.ts";
import { FakeNode } from "../fake-node.ts";

let bench: Bench;
let second: FakeNode;
const known = new Map<FakeNode, TokenView[]>();
const at = "2027-01-15T08:00:00.000Z";

before(async () => {
  bench = await createBench();
  second = await FakeNode.start(bench.cluster);
});
after(() => second.close());
beforeEach(() => {
  for (const node of [bench.node, second]) {
    known.set(node, []);
    const tokens = () => known.get(node) ?? [];
    node.answers.createToken = ({ body }) => {
      const { name, role, hash } = body as TokenView;
      const view: TokenView = {
        name,
        role,
        hash,
        source: "api",
        createdAt: at,
        expiresAt: null,
        revokedAt: null,
      };
      if (!tokens().some((token) => token.hash === hash)) tokens().push(view);
      return view;
    };
    node.answers.listTokens = () => ({ tokens: tokens() });
    node.answers.revokeToken = ({ params }) => {
      const position = tokens().findIndex(({ hash }) => hash === params.hash);
      const view = { ...(tokens()[position] as TokenView), revokedAt: at };
      tokens()[position] = view;
      return view;
    };
  }
});

const cairn = (...words: readonly string[]) => bench.cairn("--endpoint", second.url, ...words);

test("a token is made here, shown once, and every node learns its hash alone", async () => {
  const ran = await cairn("token", "create", "--name", "grafana", "--role", "viewer", "--expires", "90d");
  assert.equal(ran.exit, 0, ran.stderr);
  const token = ran.stdout.trim();
  assert.match(token, /^[A-Za-z0-9_-]{43}$/);
  assert.ok(!ran.stderr.includes(token));
  for (const node of [bench.node, second]) {
    const [call] = node.called("createToken").slice(-1);
    assert.ok(call !== undefined);
    const { hash, role, expiresAt } = call.body as { hash: string; role: string; expiresAt: number };
    assert.equal(hash, sha256Hex(Buffer.from(token)));
    assert.equal(role, "viewer");
    assert.ok(Math.abs(expiresAt - Date.now() - 90 * 86_400_000) < 60_000);
    assert.ok(!JSON.stringify(node.calls).includes(token));
  }
  const listed = await cairn("token", "list");
  assert.match(listed.stdout, /grafana +viewer +[0-9a-f]{16} +api +active +never +2\/2/);
});

test("a node that is down is named, the exit code says so, and a retry with the file completes the work", async () => {
  const file = join(await temporaryFolder(), "shop.token");
  const answer = second.answers.createToken;
  second.answers.createToken = () => {
    throw new CairnError("busy", "come back later");
  };
  const words = ["token", "create", "--name", "shop", "--role", "spender", "--file", file];
  const half = await cairn(...words);
  assert.equal(half.exit, 75);
  assert.match(half.stderr, new RegExp(`${second.url} does not know the token`));
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  const token = (await readFile(file, "utf8")).trim();
  assert.ok(!half.stdout.includes(token));
  second.answers.createToken = answer as NonNullable<typeof answer>;
  const whole = await cairn(...words, "--json");
  assert.equal(whole.exit, 0, whole.stderr);
  const document = JSON.parse(whole.stdout);
  assert.equal(document.hash, sha256Hex(Buffer.from(token)));
  assert.equal(document.token, undefined);
  assert.deepEqual(
    [bench.node, second].map((node) => known.get(node)?.map(({ hash }) => hash)),
    [[document.hash], [document.hash]],
  );
  await writeFile(file, "something else\n");
  assert.equal(JSON.parse((await cairn(...words, "--json")).stderr).code, "file-exists");
});

test("revoke ends a token at all nodes by name or hash, and says where it may still count", async () => {
  await cairn("token", "create", "--name", "old", "--role", "admin");
  const hash = known.get(second)?.[0]?.hash ?? "";
  assert.equal(
    (await cairn("token", "revoke", hash.slice(0, 8))).stdout,
    `${hash.slice(0, 8)} is revoked at 2 of 2 nodes\n`,
  );
  assert.match((await cairn("token", "list")).stdout, /old +admin +\S+ +api +revoked/);
  const gone = await cairn("token", "revoke", "old", "--json");
  assert.equal(JSON.parse(gone.stderr).code, "not-found");
  await cairn("token", "create", "--name", "next", "--role", "admin");
  second.answers.listTokens = () => {
    throw new CairnError("forbidden", "this needs a token of role admin");
  };
  const half = await cairn("token", "revoke", "next");
  assert.equal(half.exit, 77);
  assert.match(half.stdout, /revoked at 1 of 2 nodes/);
  assert.match(half.stderr, new RegExp(`${second.url} may still take the token`));
});
