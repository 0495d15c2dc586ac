import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { ClusterStatus } from "@cairn/client";
import { CairnError, manifestFingerprint } from "@cairn/core";
import { type Bench, createBench, runCairn } from "../bench.ts";
import { FakeNode, statusView } from "../fake-node.ts";

/** A port on which nothing listens. */
const DEAD = "http://127.0.0.1:1";

let bench: Bench;
let second: FakeNode;
let honest: FakeNode["answers"];
before(async () => {
  bench = await createBench();
  second = await FakeNode.start(bench.cluster);
  honest = { ...bench.node.answers };
});
after(() => second.close());
beforeEach(() => {
  bench.node.answers = { ...honest };
});

const statusOf = (node: number, change: Partial<ClusterStatus> = {}): ClusterStatus =>
  statusView(bench.cluster, node, change);

const cairn = (endpoints: readonly string[], ...words: readonly string[]) =>
  runCairn(
    ["--config", bench.cluster.cliConfig, ...endpoints.flatMap((url) => ["--endpoint", url]), ...words],
    {},
  );

test("cluster status asks every node, and says which is down and which disagrees", async () => {
  const other = "9".repeat(64);
  bench.node.answers.getClusterStatus = () => statusOf(1);
  second.answers.getClusterStatus = () =>
    statusOf(2, { manifest: { sequence: 1, hash: other, fingerprint: "x" }, up: 4 });
  const endpoints = [bench.node.url, second.url, DEAD];
  const ran = await cairn(endpoints, "cluster", "status");
  assert.equal(ran.exit, 0, ran.stderr);
  const width = Math.max(...endpoints.map((url) => url.length));
  assert.equal(
    ran.stdout,
    [
      `cluster   ${bench.cluster.signedManifest.manifest.cluster}`,
      `manifest  ${bench.cluster.fingerprint}`,
      "can sign  yes",
      "",
      `NODE  ${"ENDPOINT".padEnd(width)}  STATE      UP   CAN SIGN  KEYS  TIP  PRIMES`,
      `1     ${bench.node.url.padEnd(width)}  agrees     5/5  yes       1     101  4/4`,
      `2     ${second.url.padEnd(width)}  disagrees  4/5  yes       1     101  4/4`,
      `      ${DEAD.padEnd(width)}  ${"down".padEnd(37)}peer-unreachable`,
      "",
    ].join("\n"),
  );
  assert.match(ran.stderr, new RegExp(`${DEAD} gives no answer: no node answered`));
  assert.match(
    ran.stderr,
    new RegExp(`another manifest in force \\(${manifestFingerprint(other as never)}\\)`),
  );

  const json = await cairn(endpoints, "cluster", "status", "--json");
  assert.equal(json.stderr, "");
  const document = JSON.parse(json.stdout);
  assert.equal(document.canSign, true);
  assert.deepEqual(
    document.nodes.map(({ endpoint, state, error }: Record<string, string>) => [endpoint, state, error]),
    [
      [bench.node.url, "agrees", undefined],
      [second.url, "disagrees", undefined],
      [DEAD, "down", "peer-unreachable"],
    ],
  );
});

test("cluster status says which node lost its database, and with whom it could not agree", async () => {
  const peers = [2, 3].map((node) => ({
    node,
    state: node === 2 ? ("whole" as const) : ("failed" as const),
    wholeAt: null,
    reason: node === 2 ? null : "not-found",
    taken: 0,
    refused: 0,
    withheld: node === 2 ? 0 : 5,
  }));
  const lost = { restoredAt: "2026-01-01T00:00:00.000Z", heard: [2], needed: 3, peers };
  const until = "2026-01-08T00:00:00.000Z";
  bench.node.answers.getClusterStatus = () =>
    statusOf(1, { sync: { ...lost, abstains: true, forgottenUntil: until } });
  second.answers.getClusterStatus = () =>
    statusOf(2, { sync: { ...lost, abstains: false, forgottenUntil: until, peers: [] } });
  const { stderr } = await cairn([bench.node.url, second.url], "cluster", "status");
  assert.match(stderr, /node 1 lost its database and takes part in nothing yet: 1 of 3 peers/);
  assert.match(
    stderr,
    /node 1 could not learn all from node 3 \(not-found\): 0 records refused, 5 not handed over/,
  );
  assert.match(
    stderr,
    new RegExp(`node 2 lost its database: it takes no part in requests that expire until ${until}`),
  );
});

test("cluster status says how many nodes reach what they coordinate through", async () => {
  const etcd = { type: "etcd" as const, failingSince: null };
  bench.node.answers.getClusterStatus = () => statusOf(1, { coordination: { ...etcd, state: "ok" } });
  second.answers.getClusterStatus = () =>
    statusOf(2, {
      coordination: { type: "etcd", state: "unreachable", failingSince: "2027-01-15T08:00:00.000Z" },
    });
  const ran = await cairn([bench.node.url, second.url], "cluster", "status");
  assert.match(ran.stdout, /coordination +etcd: 1 of 2 nodes reach it/);
});

test("cluster alerts tells of each thing once, since the first node saw it, and which nodes see it", async () => {
  const alert = (since: string, subject = "3") => ({
    kind: "peer-down" as const,
    subject,
    since,
    what: "a peer cannot be reached",
    advice: "ask its operator",
    data: { lastError: "timeout", other: null },
  });
  bench.node.answers.listAlerts = () => ({ alerts: [alert("2027-01-15T08:00:05.000Z")] });
  second.answers.listAlerts = () => ({
    alerts: [alert("2027-01-15T08:00:00.000Z"), alert("2027-01-15T09:00:00.000Z", "4")],
  });
  const ran = await cairn([bench.node.url, second.url, DEAD], "cluster", "alerts");
  assert.equal(ran.exit, 0, ran.stderr);
  assert.equal(
    ran.stdout,
    [
      "alert      peer-down",
      "about      3",
      "since      2027-01-15T08:00:00.000Z",
      "what       a peer cannot be reached",
      "to do      ask its operator",
      `seen by    ${bench.node.url} ${second.url}`,
      "lastError  timeout",
      "",
      "alert      peer-down",
      "about      4",
      "since      2027-01-15T09:00:00.000Z",
      "what       a peer cannot be reached",
      "to do      ask its operator",
      `seen by    ${second.url}`,
      "lastError  timeout",
      "",
    ].join("\n"),
  );
  assert.match(ran.stderr, new RegExp(`${DEAD} gives no answer`));
  bench.node.answers.listAlerts = () => ({ alerts: [] });
  const quiet = await cairn([bench.node.url], "cluster", "alerts");
  assert.equal(quiet.stdout, "Nothing needs your attention.\n");
});

test("where no node answers, the exit code says to try again", async () => {
  const ran = await cairn([DEAD], "cluster", "status", "--json");
  assert.equal(ran.exit, 75);
  assert.equal(ran.stdout, "");
  assert.equal(JSON.parse(ran.stderr).code, "peer-unreachable");
});

test("a command goes on with the next node when the first is down", async () => {
  const ran = await cairn([DEAD, bench.node.url], "wallet", "list", "--json");
  assert.equal(ran.exit, 0, ran.stderr);
});

test("a refused token is said so, with its own exit code", async () => {
  bench.node.answers.getManifest = () => {
    throw new CairnError("forbidden", "this token may not do that");
  };
  const ran = await bench.cairn("cluster", "manifest", "--json");
  assert.equal(ran.exit, 77);
  assert.equal(JSON.parse(ran.stderr).code, "forbidden");
});

const nodesOf = () =>
  bench.cluster.signedManifest.manifest.members.map((member) => ({
    index: member.index,
    name: member.name,
    self: member.index === 1,
    up: member.index !== 3,
    api: member.api,
    addresses: member.addresses,
    lastSeen: member.index === 3 ? null : "2027-01-15T08:00:00.000Z",
    roundTripMs: member.index === 1 ? null : 1.25,
    protocolVersion: 1,
    epoch: 0,
    banned: member.index === 4,
    bannedUntil: member.index === 4 ? "2027-01-16T08:00:00.000Z" : null,
    lastError: member.index === 3 ? "handshake-failed" : null,
  }));

test("cluster nodes shows who is up, down and banned", async () => {
  bench.node.answers.listNodes = () => ({ nodes: nodesOf() });
  const ran = await bench.cairn("cluster", "nodes");
  const seen = "2027-01-15T08:00:00.000Z";
  assert.equal(
    ran.stdout,
    [
      "NODE  NAME        STATE   ROUND TRIP  VERSION  EPOCH  LAST SEEN                 API                     NOTE",
      `1     n1 (asked)  up                  1        0      ${seen}  http://127.0.0.1:18000`,
      `2     n2          up      1.3 ms      1        0      ${seen}  http://127.0.0.1:18001`,
      "3     n3          down    1.3 ms      1        0      never                     http://127.0.0.1:18002  handshake-failed",
      `4     n4          banned  1.3 ms      1        0      ${seen}  http://127.0.0.1:18003  until 2027-01-16T08:00:00.000Z`,
      `5     n5          up      1.3 ms      1        0      ${seen}  http://127.0.0.1:18004`,
      "",
    ].join("\n"),
  );
});

test("a node that lists other members than the manifest is refused", async () => {
  for (const nodes of [nodesOf().slice(1), nodesOf().map((node) => ({ ...node, name: "mallory" }))]) {
    bench.node.answers.listNodes = () => ({ nodes });
    const ran = await bench.cairn("cluster", "nodes", "--json");
    assert.equal(JSON.parse(ran.stderr).code, "peer-disagrees");
  }
});

test("cluster manifest prints the pinned manifest", async () => {
  const ran = await bench.cairn("cluster", "manifest");
  assert.match(ran.stdout, new RegExp(`fingerprint +${bench.cluster.fingerprint}`));
  assert.match(ran.stdout, /threshold +4 of 5/);
  const document = JSON.parse((await bench.cairn("cluster", "manifest", "--json")).stdout);
  assert.equal(document.hash, bench.cluster.manifestHash);
  assert.equal(document.manifest.members.length, 5);
});
