import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { NodeIndex, UnixMs } from "@cairn/core";
import {
  formCertificate,
  initial,
  intentHash,
  restore,
  step,
  type VotingEffect,
  type VotingEvent,
  type VotingState,
  type VotingStep,
} from "../src/index.ts";
import {
  clusterOf,
  HOUR,
  hash,
  intentOf,
  NOW,
  ROUND_MS,
  rejection,
  signerOf,
  voidOf,
  voteOf,
  votingContext,
} from "./cluster.ts";

// Golden transcripts: what the machine of node 1 does, step by step. After an intended change, write them anew with
// `node packages/consensus/test/voting-transcripts.test.ts --update` and read the difference.

const cluster = clusterOf();
const subject = { intent: intentHash(intentOf(cluster)), expiry: (NOW + HOUR) as UnixMs };
const LOWER = "00".repeat(32) as typeof subject.intent;
const HIGHER = "ff".repeat(32) as typeof subject.intent;

interface Line {
  readonly at: number;
  readonly label: string;
  readonly event: VotingEvent;
}

const line = (at: number, label: string, event: VotingEvent): Line => ({ at, label, event });
const open = (at = 0) => line(at, "open", { kind: "open" });
const tick = (at: number) => line(at, "tick", { kind: "tick" });
const vote = (at: number, voter: number, round = 1, change: Parameters<typeof voteOf>[2] = {}) =>
  line(at, `vote of ${voter} in round ${round}: ${change.approve === false ? "reject" : "approve"}`, {
    kind: "vote",
    from: voter as NodeIndex,
    vote: voteOf(cluster, voter, { round, ...change }),
  });
const approve = (at: number, round = 1) =>
  line(at, `verdict of round ${round}: approve`, { kind: "verdict", round, verdict: { kind: "approve" } });
const reject = (at: number, round = 1) =>
  line(at, `verdict of round ${round}: reject`, {
    kind: "verdict",
    round,
    verdict: { kind: "reject", code: "psbt-invalid", blocking: [] },
  });
const defer = (
  at: number,
  round: number,
  ...blocking: { intent: typeof subject.intent; certified: boolean }[]
) =>
  line(
    at,
    `verdict of round ${round}: defer for ${blocking.map((each) => nameOf(each.intent)).join(", ") || "lag"}`,
    {
      kind: "verdict",
      round,
      verdict: { kind: "defer", code: blocking.length > 0 ? "coin-reserved" : "chain-unavailable", blocking },
    },
  );
const voidBy = (at: number, node: number) =>
  line(at, `void of ${node}`, { kind: "void", from: node as NodeIndex, void: voidOf(cluster, node) });
const certificate = formCertificate(
  [2, 3, 4, 5].map((voter) => voteOf(cluster, voter)),
  cluster.manifest,
);
assert.ok(certificate);
const certified = (at: number) =>
  line(at, "certificate from 2", { kind: "certificate", from: 2 as NodeIndex, certificate });
const plain = (at: number, kind: "unblocked" | "submitted" | "confirmed" | "unconfirmed") =>
  line(at, kind, { kind });

const scenarios: Record<string, readonly Line[]> = {
  "a payment from open to confirmed": [
    open(),
    approve(5),
    vote(10, 1),
    vote(20, 2),
    vote(20, 2),
    vote(30, 3),
    vote(40, 4),
    vote(50, 5),
    plain(5_000, "submitted"),
    plain(60_000, "confirmed"),
    plain(70_000, "unconfirmed"),
    plain(80_000, "confirmed"),
    tick(HOUR),
  ],
  "votes of others come before this node opens and decide without it": [
    vote(1, 2),
    vote(2, 3, 2),
    vote(3, 3),
    vote(4, 4),
    vote(5, 5),
    open(10),
  ],
  "two static rejections end it and name their reasons": [
    open(),
    reject(5),
    vote(10, 1, 1, rejection("psbt-invalid")),
    vote(20, 2),
    vote(30, 3, 1, rejection("policy-denied")),
    voidBy(40, 1),
    voidBy(50, 2),
    voidBy(60, 3),
    tick(HOUR),
  ],
  "rejections in different rounds count together, once a voter": [
    open(),
    vote(10, 3, 1, rejection("psbt-invalid")),
    tick(ROUND_MS),
    vote(ROUND_MS + 10, 3, 2, rejection("dust")),
    vote(ROUND_MS + 20, 4, 2, rejection("psbt-invalid")),
  ],
  "lag defers to the next round, and the payment goes through there": [
    open(),
    defer(5, 1),
    vote(10, 2),
    vote(10, 3),
    tick(ROUND_MS - 1),
    tick(ROUND_MS),
    approve(ROUND_MS + 5, 2),
    vote(ROUND_MS + 10, 1, 2),
    vote(ROUND_MS + 20, 2, 2),
    vote(ROUND_MS + 30, 3, 2),
    vote(ROUND_MS + 40, 4, 2),
  ],
  "in the second round the lower intent wins: this one gives way": [
    open(),
    defer(5, 1, { intent: LOWER, certified: false }),
    tick(ROUND_MS),
    defer(ROUND_MS + 5, 2, { intent: LOWER, certified: false }),
    voidBy(ROUND_MS + 10, 1),
    certified(ROUND_MS + 15),
    voidBy(ROUND_MS + 20, 2),
    voidBy(ROUND_MS + 30, 3),
  ],
  "in the second round the lower intent wins: the others give way to this one": [
    open(),
    defer(5, 1, { intent: HIGHER, certified: false }),
    tick(ROUND_MS),
    defer(ROUND_MS + 5, 2, { intent: HIGHER, certified: false }),
    plain(ROUND_MS + 50, "unblocked"),
    approve(ROUND_MS + 55, 2),
    vote(ROUND_MS + 60, 1, 2),
  ],
  "a certified blocker never gives way, whatever its hash": [
    open(),
    defer(5, 1, { intent: HIGHER, certified: true }),
    tick(ROUND_MS),
    defer(ROUND_MS + 5, 2, { intent: HIGHER, certified: true }),
  ],
  "another intent won while this one was approved": [
    open(),
    approve(5),
    vote(10, 1),
    line(ROUND_MS + 5, "displaced by the lower one", { kind: "displaced", by: LOWER }),
    vote(ROUND_MS + 10, 2),
    vote(ROUND_MS + 10, 3),
    vote(ROUND_MS + 10, 4),
  ],
  "three rounds without a quorum time out, and void after one more": [
    open(),
    approve(5),
    vote(10, 1),
    tick(ROUND_MS),
    approve(ROUND_MS + 5, 2),
    vote(ROUND_MS + 10, 1, 2),
    tick(2 * ROUND_MS),
    approve(2 * ROUND_MS + 5, 3),
    vote(2 * ROUND_MS + 10, 1, 3),
    tick(3 * ROUND_MS),
    tick(4 * ROUND_MS - 1),
    tick(4 * ROUND_MS),
    voidBy(4 * ROUND_MS + 1, 1),
    certified(4 * ROUND_MS + 2),
  ],
  "a late certificate revives what timed out": [
    open(),
    tick(ROUND_MS),
    tick(2 * ROUND_MS),
    tick(3 * ROUND_MS),
    certified(3 * ROUND_MS + 10),
  ],
  "a certificate beats this node's own deferral": [open(), defer(5, 1), certified(10), approve(15)],
  "a double vote is proven and disregarded, and the others suffice": [
    open(),
    vote(10, 5),
    vote(20, 5, 1, rejection("psbt-invalid")),
    vote(30, 1),
    vote(30, 2),
    vote(30, 3),
    vote(40, 4),
  ],
  "a double vote after the certificate changes nothing but is proven": [
    open(),
    vote(10, 2),
    vote(10, 3),
    vote(10, 4),
    vote(10, 5),
    vote(20, 5, 1, rejection("psbt-invalid")),
  ],
  "two double voters leave no quorum": [
    open(),
    vote(10, 5),
    vote(20, 5, 1, rejection("psbt-invalid")),
    vote(30, 4),
    vote(40, 4, 1, rejection("dust")),
    plain(50, "submitted"),
  ],
  "messages that do not verify change nothing and blame their sender": [
    open(),
    line(10, "3's vote signed by a thief, from 2", {
      kind: "vote",
      from: 2 as NodeIndex,
      vote: voteOf(cluster, 3, {}, signerOf("thief")),
    }),
    line(20, "a vote of another intent", {
      kind: "vote",
      from: 2 as NodeIndex,
      vote: voteOf(cluster, 2, { intentHash: LOWER }),
    }),
    line(30, "a vote under another manifest", {
      kind: "vote",
      from: 2 as NodeIndex,
      vote: voteOf(cluster, 2, { manifestHash: hash("old") as never }),
    }),
    line(40, "a certificate with an altered round", {
      kind: "certificate",
      from: 2 as NodeIndex,
      certificate: { ...certificate, round: 2 },
    }),
    line(50, "1's void signed by 2", {
      kind: "void",
      from: 2 as NodeIndex,
      void: { ...voidOf(cluster, 1), signature: voidOf(cluster, 2).signature },
    }),
  ],
  "the request expires while votes are out": [
    open(),
    approve(5),
    vote(10, 1),
    tick(HOUR),
    certified(HOUR + 1),
  ],
  "certified, but too few are left to sign it: others gave way before they knew of the certificate": [
    open(),
    approve(5),
    vote(10, 1),
    certified(20),
    voidBy(30, 2),
    voidBy(40, 3),
    voidBy(50, 1),
  ],
  "certified once too few are left to sign it": [
    open(),
    voidBy(10, 2),
    voidBy(20, 3),
    certified(30),
    voidBy(40, 1),
  ],
  "the request expires after the certificate, and may still confirm": [
    open(),
    certified(10),
    tick(HOUR),
    plain(HOUR + 10, "confirmed"),
  ],
  "a conflicting transaction six deep kills it": [
    open(),
    certified(10),
    line(20, "conflicted, 5 deep", { kind: "conflicted", depth: 5 }),
    line(30, "conflicted, 6 deep", { kind: "conflicted", depth: 6 }),
    plain(40, "submitted"),
  ],
};

function nameOf(text: string): string {
  if (text === subject.intent) return "this";
  if (text === LOWER) return "lower";
  return text === HIGHER ? "higher" : text;
}

function textOf(effect: VotingEffect): string {
  const time = (at: number) => `+${at - NOW}`;
  switch (effect.kind) {
    case "round":
      return `round ${effect.row.round} ${effect.row.outcome} ${time(effect.row.openedAt)}..${time(effect.row.deadline)}`;
    case "arm":
      return `arm ${time(effect.at)}`;
    case "certified":
      return `certified round ${effect.certificate.round} by ${effect.certificate.votes.map((each) => each.voter)}`;
    case "rejected":
      return `rejected ${effect.reasons.map((each) => `${each.node}: ${each.reason.code}`).join(", ")}`;
    case "violation":
      return `violation ${effect.type} of ${effect.node}, ${effect.evidence === null ? "no proof" : "proven"}`;
    case "cast":
      return `cast ${effect.approve ? "approve" : `reject ${effect.reason?.code}`} in round ${effect.round}`;
    case "defer-notice":
      return `defer-notice round ${effect.round} ${effect.code} [${effect.blocking.map(nameOf)}]`;
    case "displace":
      return `displace [${effect.losers.map(nameOf)}]`;
    case "evaluate":
      return `evaluate round ${effect.round}`;
    case "state":
      return `state ${effect.name}`;
    case "dead":
      return `dead, proven by ${effect.voids.map((each) => each.body.node).join(", ") || "the chain"}`;
    case "sign-void":
      return effect.kind;
  }
}

function play(lines: readonly Line[]): string {
  let state: VotingState = initial(subject);
  const out: string[] = [];
  for (const { at, label, event } of lines) {
    const next: VotingStep = step(state, event, votingContext(cluster, { now: (NOW + at) as UnixMs }));
    state = next.state;
    out.push(
      `+${at} ${label}`,
      ...next.effects.map((effect) => `    ${textOf(effect)}`),
      `  = ${state.name}`,
    );
  }
  return `${out.join("\n")}\n`;
}

const update = process.argv.includes("--update");

for (const [name, lines] of Object.entries(scenarios)) {
  test(`transcript: ${name}`, () => {
    const file = join(import.meta.dirname, "transcripts", `${name.replaceAll(/[^a-z0-9]+/g, "-")}.txt`);
    const played = play(lines);
    if (update) writeFileSync(file, played);
    assert.ok(existsSync(file), `no transcript ${file}; write it with --update and read it`);
    assert.equal(played, readFileSync(file, "utf8"));
  });
}

const stored = {
  subject,
  votes: [],
  voids: [],
  doubleVoters: [],
  rounds: [],
  certificate: null,
  chain: "unseen" as const,
  conflictDepth: 0,
};
const row = { intent: subject.intent, round: 1, openedAt: NOW, deadline: (NOW + ROUND_MS) as UnixMs };
const at = (ms: number) => votingContext(cluster, { now: (NOW + ms) as UnixMs });
const kinds = (done: VotingStep) => done.effects.map((effect) => effect.kind);

test("restart: a stored own vote is never cast again, in the same round", () => {
  const votes = [voteOf(cluster, 1)];
  const done = restore({ ...stored, votes, rounds: [{ ...row, outcome: "open" }] }, at(100));
  assert.equal(done.state.name, "Collecting");
  assert.deepEqual(kinds(done), ["arm"]);
  const asked = step(
    done.state,
    { kind: "verdict", round: 1, verdict: { kind: "reject", code: "dust", blocking: [] } },
    at(110),
  );
  assert.deepEqual(asked.effects, []);
});

test("restart: a vote that was ordered but not stored is evaluated anew", () => {
  const done = restore({ ...stored, rounds: [{ ...row, outcome: "open" }] }, at(100));
  assert.deepEqual(kinds(done), ["arm", "evaluate"]);
});

test("restart: an own vote that a peer still has is not contradicted after this node lost it", () => {
  const done = restore({ ...stored, rounds: [{ ...row, outcome: "open" }] }, at(100));
  const told = step(done.state, { kind: "vote", from: 2 as NodeIndex, vote: voteOf(cluster, 1) }, at(110));
  const asked = step(
    told.state,
    { kind: "verdict", round: 1, verdict: { kind: "reject", code: "dust", blocking: [] } },
    at(120),
  );
  assert.deepEqual(asked.effects, []);
});

test("restart: a voter caught double voting stays disregarded", () => {
  const votes = [1, 2, 3].map((voter) => voteOf(cluster, voter));
  const rounds = [{ ...row, outcome: "open" as const }];
  const done = restore({ ...stored, votes, rounds, doubleVoters: [3 as NodeIndex] }, at(100));
  const fourth = step(done.state, { kind: "vote", from: 4 as NodeIndex, vote: voteOf(cluster, 4) }, at(110));
  assert.equal(fourth.state.name, "Collecting");
  const fifth = step(fourth.state, { kind: "vote", from: 5 as NodeIndex, vote: voteOf(cluster, 5) }, at(120));
  assert.deepEqual(
    fifth.state.name === "ThresholdReached" && fifth.state.certificate.votes.map((each) => each.voter),
    [1, 2, 4, 5],
  );
});

test("restart: time that passed meanwhile opens the next round or ends voting", () => {
  const late = restore({ ...stored, rounds: [{ ...row, outcome: "open" }] }, at(ROUND_MS + 5));
  assert.equal(late.state.name === "Collecting" && late.state.round, 2);
  assert.deepEqual(kinds(late), ["arm", "round", "round", "arm", "evaluate"]);
  const expired = restore({ ...stored, rounds: [{ ...row, outcome: "open" }] }, at(HOUR));
  assert.equal(expired.state.name, "AbortedTimeout");
  assert.ok(kinds(expired).includes("sign-void"));
});

test("restart: every end is found again, and an outstanding void is ordered again", () => {
  const votes = [2, 3, 4, 5].map((voter) => voteOf(cluster, voter));
  const names = [
    [{ votes }, "ThresholdReached"],
    [{ certificate }, "ThresholdReached"],
    [{ certificate, chain: "submitted" as const }, "Submitted"],
    [{ chain: "confirmed" as const }, "Confirmed"],
    [{ rounds: [{ ...row, outcome: "rejected" as const }] }, "Rejected"],
    [
      { rounds: [{ ...row, outcome: "byzantine" as const }], doubleVoters: [4, 5] as NodeIndex[] },
      "AbortedByzantine",
    ],
    [{ rounds: [{ ...row, outcome: "deferred" as const }] }, "Voided"],
    [{ rounds: [{ ...row, round: 3, outcome: "timeout" as const }] }, "AbortedTimeout"],
    [{ voids: [2, 3, 4].map((node) => voidOf(cluster, node)) }, "Dead"],
    [{ conflictDepth: 6 }, "Dead"],
    [{}, "Initial"],
  ] as const;
  for (const [change, name] of names) {
    const done = restore({ ...stored, ...change }, at(100));
    assert.equal(done.state.name, name);
    const owed = ["Rejected", "AbortedByzantine", "Voided"].includes(name);
    assert.equal(kinds(done).includes("sign-void"), owed, name);
    const voids = [voidOf(cluster, 1)];
    assert.ok(!kinds(restore({ ...stored, voids, ...change }, at(100))).includes("sign-void"), name);
  }
});
