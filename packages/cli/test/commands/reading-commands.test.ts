import assert from "node:assert/strict";
import { before, test } from "node:test";
import { deriveKey } from "@cairn/bitcoin";
import { type Bench, createBench, runCairn } from "../bench.ts";
import { makeWallet } from "../fake-node.ts";

let bench: Bench;
before(async () => {
  bench = await createBench();
});

const keyId = "ab".repeat(32);
const at = "2027-01-15T08:00:00.000Z";
const codeOf = (stderr: string): string => JSON.parse(stderr.trim().split("\n").at(-1) ?? "{}").code;

const stock = {
  target: 50,
  refillBelow: 20,
  batch: 10,
  keys: [{ keyId, ready: 12, pending: 3, burned: 7, usable: 11, wanted: 50 }],
};

test("presig generate asks for the only active ECDSA key; status prints the stock", async () => {
  const key = { protocol: "cggmp24", purpose: "spend", epoch: 0, stage: null, progress: null, reason: null };
  const active = { ...key, keyId, status: "active", approvals: [], createdAt: at, updatedAt: at };
  bench.node.answers.listKeys = () => ({
    keys: [active, { ...active, keyId: "cd".repeat(32), protocol: "frost" }],
  });
  bench.node.answers.generatePresignatures = () => stock;
  bench.node.answers.getPresignatureStatus = () => stock;
  const text = [
    "target        50",
    "refill below  20",
    "batch         10",
    "",
    "KEY               USABLE  READY  PENDING  BURNED  WANTED",
    "abababababababab  11      12     3        7       50",
    "",
  ].join("\n");
  assert.equal((await bench.cairn("presig", "generate", "--count", "10")).stdout, text);
  assert.deepEqual(bench.node.called("generatePresignatures").at(-1)?.body, { keyId, count: 10 });
  assert.equal((await bench.cairn("presig", "status")).stdout, text);
  assert.deepEqual(JSON.parse((await bench.cairn("presig", "status", "--json")).stdout), stock);
  assert.equal((await bench.cairn("presig", "generate", "--count", "201", "--json")).exit, 2);
  bench.node.answers.listKeys = () => ({ keys: [] });
  assert.equal(
    codeOf((await bench.cairn("presig", "generate", "--count", "1", "--json")).stderr),
    "not-found",
  );
});

test("presig list, session list and show, audit list and tx list print what the node lists, with its filters", async () => {
  const presignature = { id: "1".repeat(64), keyId, path: [0, 3], signers: [1, 2, 3, 4], state: "ready" };
  bench.node.answers.listPresignatures = ({ query }) => {
    assert.deepEqual(query, { state: "ready", limit: 50 });
    return { presignatures: [{ ...presignature, createdAt: at, burnedAt: null }], next: "onward" };
  };
  const listed = await bench.cairn("presig", "list", "--state", "ready");
  assert.match(listed.stderr, /cairn presig list --cursor onward/);
  assert.equal(
    listed.stdout,
    [
      "PRESIGNATURE      KEY               PATH  SIGNERS  STATE  CREATED                   BURNED",
      `1111111111111111  abababababababab  0/3   1,2,3,4  ready  ${at}`,
      "",
    ].join("\n"),
  );
  const session = {
    session: "2".repeat(64),
    purpose: "sign",
    subject: "3".repeat(64),
    attempt: 1,
    initiator: 2,
  };
  const view = {
    ...session,
    signers: [1, 2, 3, 5],
    state: "done",
    failure: null,
    startedAt: at,
    endedAt: at,
  };
  bench.node.answers.listSessions = ({ query }) => {
    assert.equal(query.live, true);
    return { sessions: [view], next: null };
  };
  bench.node.answers.getSession = ({ params }) => ({ ...view, session: params.session });
  assert.match((await bench.cairn("session", "list", "--live")).stdout, /sign +1 +2 +1,2,3,5 +done/);
  assert.match((await bench.cairn("session", "show", "2".repeat(64))).stdout, /initiator +2/);
  assert.equal((await bench.cairn("session", "show", "22", "--json")).exit, 2);
  bench.node.answers.listAudit = ({ query }) => {
    assert.deepEqual(query, { from: 5, limit: 1 });
    const entry = { seq: 5, at, kind: "vote-cast", subject: "4".repeat(64), data: { approve: true } };
    return { entries: [{ ...entry, hash: "5".repeat(64) }], next: 6 };
  };
  const audit = await bench.cairn("audit", "list", "--from", "5", "--limit", "1");
  assert.match(audit.stdout, /5 +2027-01-15T08:00:00\.000Z +vote-cast +4444444444444444 +\{"approve":true\}/);
  assert.match(audit.stderr, /cairn audit list --from 6/);
  bench.node.answers.listTransactions = ({ query }) => {
    assert.deepEqual(query, { limit: 20, state: "voting,signing" });
    return { transactions: [], next: null };
  };
  assert.equal(
    (await bench.cairn("tx", "list", "--state", "voting", "--state", "signing")).stdout,
    "No transactions.\n",
  );
  bench.node.answers.listTransactions = ({ query }) => {
    const since = Date.parse("2026-01-31T00:00:00Z");
    assert.deepEqual(query, { limit: 20, recipient: "bcrt1q", since });
    return { transactions: [], next: null };
  };
  const filtered = await bench.cairn("tx", "list", "--to", "bcrt1q", "--since", "2026-01-31");
  assert.equal(filtered.exit, 0, filtered.stderr);
  assert.equal((await bench.cairn("tx", "list", "--since", "soon", "--json")).exit, 2);
  assert.equal((await bench.cairn("tx", "list", "--state", "nowhere", "--json")).exit, 2);
  assert.equal((await bench.cairn("tx", "status", "zz", "--json")).exit, 2);
});

test("policy check asks every node, prints the rule that decides, and ends with the denial's exit code", async () => {
  const { descriptor } = await makeWallet(bench.cluster, "stranger");
  const address = deriveKey(descriptor, [0, 0]).address;
  const check = ["policy", "check", "--to", address, "--amount", "0.5"];
  bench.node.answers.checkPolicy = () => ({ node: 1, decision: "allow", rules: [] });
  const allowed = await bench.cairn(...check);
  assert.equal(allowed.exit, 0, allowed.stderr);
  assert.equal(allowed.stdout, "NODE  DECISION  BECAUSE\n1     allow\n");
  const sent = bench.node.called("checkPolicy").at(-1)?.body;
  assert.deepEqual(sent, {
    wallet: bench.node.wallet.descriptor.wallet,
    outputs: [{ address, amountSats: "50000000" }],
    maxFeeSats: "50000",
  });
  bench.node.answers.checkPolicy = () => ({
    node: 1,
    decision: "deny",
    rules: [
      { rule: "whitelist", decision: "allow", explanation: "known" },
      { rule: "per-transaction", decision: "deny", explanation: "0.5 is over 0.1" },
    ],
  });
  const denied = await bench.cairn(...check, "--json");
  assert.equal(denied.exit, 1);
  assert.equal(codeOf(denied.stderr), "policy-denied");
  assert.equal(JSON.parse(denied.stdout).nodes[0].decision, "deny");
});

/** Resolves once so many streams of events are open. */
async function listeners(count: number): Promise<void> {
  while (bench.node.listeners !== count) await new Promise((resolve) => setTimeout(resolve, 5));
}

test("events are lines, JSON lines with --json, filtered by type, and end after --count", async () => {
  const event = (id: number, type: string) => ({
    id,
    at,
    type,
    subject: "6".repeat(64),
    state: "voting",
    data: { n: id },
  });
  const listen = async (...words: readonly string[]) => {
    await listeners(0);
    const ran = bench.cairn("events", ...words);
    await listeners(1);
    bench.node.emit(event(1, "peer"));
    bench.node.emit(event(2, "transaction"));
    bench.node.emit(event(3, "transaction"));
    return ran;
  };
  const json = await listen("--type", "transaction", "--count", "2", "--json");
  assert.deepEqual(
    json.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).id),
    [2, 3],
  );
  const text = await listen("--count", "1");
  assert.equal(text.stdout, `${at} peer 6666666666666666 voting {"n":1}\n`);
});

test("an interrupt ends events quietly", async () => {
  const interrupt = new AbortController();
  const words = ["--config", bench.cluster.cliConfig, "--endpoint", bench.node.url, "events"];
  await listeners(0);
  const ran = runCairn(words, {}, { signal: interrupt.signal });
  await listeners(1);
  interrupt.abort();
  const { exit, stdout, stderr } = await ran;
  assert.deepEqual({ exit, stdout, stderr }, { exit: 0, stdout: "", stderr: "" });
});
