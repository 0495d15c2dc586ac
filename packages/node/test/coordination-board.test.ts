import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type BanRow,
  CairnError,
  hashHexSchema,
  intentHashSchema,
  nodeIndexSchema,
  signatureHexSchema,
  unixMsSchema,
  type VoteRow,
} from "@cairn/core";
import { ManualClock, namedSigner, testManifest } from "@cairn/core/test-support";
import { type Coordination, CoordinationHub, openMemoryCoordination } from "@cairn/storage";
import { CoordinationBoard } from "../src/coordination-board.ts";

const manifest = testManifest(
  [1, 2, 3, 4, 5].map((index) => ({ identity: namedSigner(`node ${index}`).publicKey })),
);
const node = (index: number) => nodeIndexSchema.parse(index);
const intent = intentHashSchema.parse("1".repeat(64));
const txid = "2".repeat(64);

const vote = (voter: number, approve = true, round = 0): VoteRow => ({
  intent,
  round,
  voter: node(voter),
  approve,
  reason: approve ? null : "limit-exceeded",
  signature: signatureHexSchema.parse("ab".repeat(64)),
  body: new Uint8Array(),
  receivedAt: unixMsSchema.parse(5),
});
const ban = (index: number, until: number | null, change: Partial<BanRow> = {}): BanRow => ({
  node: node(index),
  violation: hashHexSchema.parse("3".repeat(64)),
  from: unixMsSchema.parse(1),
  until: until === null ? null : unixMsSchema.parse(until),
  scope: "cluster",
  count: 1,
  liftedAt: null,
  ...change,
});

/** A store of one test, and the boards of several nodes over it. */
class Wall {
  readonly clock = new ManualClock();
  readonly reader: Coordination;
  readonly votes: VoteRow[] = [];
  readonly bans: BanRow[] = [];
  readonly reported: unknown[] = [];
  manifest = manifest;
  readonly #hub = new CoordinationHub({ clock: this.clock });

  constructor() {
    this.reader = openMemoryCoordination(this.#hub);
  }

  board(index: number, change: Partial<Coordination> = {}): CoordinationBoard {
    const own = openMemoryCoordination(this.#hub);
    const coordination = new Proxy(own, {
      get: (of, name) => {
        const value = change[name as keyof Coordination] ?? of[name as keyof Coordination];
        return typeof value === "function" ? value.bind(of) : value;
      },
    });
    return new CoordinationBoard(
      { me: node(index), manifest: () => this.manifest },
      {
        coordination,
        store: { votes: async () => this.votes, bans: async () => this.bans },
        clock: this.clock,
        report: (cause) => this.reported.push(cause),
      },
    );
  }

  /** Resolves once nothing is left to write. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 100; turn += 1) await Promise.resolve();
  }

  async shown(prefix = "/"): Promise<Record<string, string>> {
    await this.settle();
    const entries = await this.reader.list(prefix);
    return Object.fromEntries(entries.map(({ key, value }) => [key, value]));
  }

  says(
    board: CoordinationBoard,
    type: "transaction" | "ban" | "change",
    subject: string,
    state: string,
  ): void {
    board.onEvent({ id: 1, at: this.clock.now(), type, subject, state, data: { intent } });
  }
}

test("a board shows the cluster, its own node while it runs, and bans for their term", async () => {
  const wall = new Wall();
  wall.bans.push(ban(3, wall.clock.now() + 60_000), ban(4, null), ban(5, wall.clock.now() - 1));
  const board = wall.board(2);
  await board.start();
  const shown = await wall.shown();
  assert.deepEqual(Object.keys(shown).sort(), [
    "/bans/3",
    "/bans/4",
    "/config/bitcoin_network",
    "/config/threshold",
    "/config/total_nodes",
    "/peers/2",
  ]);
  assert.deepEqual(
    [shown["/config/threshold"], shown["/config/total_nodes"], shown["/config/bitcoin_network"]],
    ["4", "5", "regtest"],
  );
  assert.equal(JSON.parse(shown["/peers/2"] ?? "").status, "up");
  for (let beat = 0; beat < 7; beat += 1) {
    wall.clock.advance(10_000);
    await wall.settle();
  }
  assert.deepEqual(Object.keys(await wall.shown("/bans/")), ["/bans/4"]);
  assert.ok((await wall.shown("/peers/"))["/peers/2"]);
  await board.close();
  wall.clock.advance(31_000);
  assert.deepEqual(await wall.shown("/peers/"), {});
});

test("a board shows the manifest in force, once operators have changed it", async () => {
  const wall = new Wall();
  const board = wall.board(1);
  await board.start();
  assert.equal((await wall.shown("/config/"))["/config/threshold"], "4");
  wall.manifest = { ...manifest, threshold: 5 };
  wall.says(board, "change", "ab", "committed");
  assert.equal((await wall.shown("/config/"))["/config/threshold"], "4");
  wall.says(board, "change", "ab", "in-force");
  assert.equal((await wall.shown("/config/"))["/config/threshold"], "5");
  // What somebody else writes there lasts until the next heartbeat.
  await wall.reader.put("/config/threshold", "1");
  wall.clock.advance(10_000);
  assert.equal((await wall.shown("/config/"))["/config/threshold"], "5");
  await board.close();
});

test("a lifted ban is taken down", async () => {
  const wall = new Wall();
  const board = wall.board(1);
  wall.bans.push(ban(3, null));
  wall.says(board, "ban", "3", "banned");
  assert.ok((await wall.shown("/bans/"))["/bans/3"]);
  wall.bans[0] = ban(3, null, { liftedAt: wall.clock.now() });
  wall.says(board, "ban", "3", "lifted");
  assert.deepEqual(await wall.shown("/bans/"), {});
  await board.close();
});

test("of several nodes' words on one transaction the furthest stands, and votes are counted by round", async () => {
  const wall = new Wall();
  const [one, two] = [wall.board(1), wall.board(2)];
  wall.votes.push(vote(1), vote(2, false));
  wall.says(one, "transaction", txid, "signing");
  wall.says(two, "transaction", txid, "voting");
  assert.deepEqual(await wall.shown("/tx/"), {
    [`/tx/${txid}/state`]: "signing",
    [`/tx/${txid}/votes/approve`]: "1",
    [`/tx/${txid}/votes/reject`]: "1",
  });
  const own = JSON.parse((await wall.shown("/votes/"))[`/votes/${txid}/2`] ?? "");
  assert.deepEqual(own, {
    value: "reject: limit-exceeded",
    round: 0,
    timestamp: 5,
    signature: "ab".repeat(64),
  });
  wall.says(one, "transaction", txid, "confirmed");
  wall.says(two, "transaction", txid, "aborted-timeout");
  assert.equal((await wall.shown("/tx/"))[`/tx/${txid}/state`], "confirmed");
  // What somebody else wrote there gives way.
  await wall.reader.put(`/tx/${txid}/state`, "<html>");
  wall.says(one, "transaction", txid, "voting");
  assert.equal((await wall.shown("/tx/"))[`/tx/${txid}/state`], "voting");
  await Promise.all([one.close(), two.close()]);
});

test("while the store is away a board keeps the last word for each key, says so once, and catches up", async () => {
  const wall = new Wall();
  let away = true;
  const refuse = async (): Promise<never> => {
    throw new CairnError("peer-unreachable", "no member of etcd can be asked");
  };
  const board = wall.board(1, {
    get: (key: string) => (away ? refuse() : wall.reader.get(key)),
    put: (key: string, value: string) => (away ? refuse() : wall.reader.put(key, value)),
  });
  for (const state of ["voting", "approved", "signed"]) wall.says(board, "transaction", txid, state);
  for (let payment = 0; payment < 1_500; payment += 1) {
    wall.says(board, "transaction", `payment-${payment}`, "voting");
  }
  for (let second = 0; second < 5; second += 1) {
    wall.clock.advance(1_000);
    await wall.settle();
  }
  assert.equal(wall.reported.length, 1);
  assert.equal(board.failingSince, wall.clock.now() - 4_000);
  away = false;
  wall.says(board, "transaction", txid, "confirmed");
  for (let second = 0; second < 200; second += 1) {
    wall.clock.advance(1_000);
    await wall.settle();
  }
  const shown = await wall.shown("/tx/");
  assert.equal(board.failingSince, null);
  assert.equal(shown[`/tx/${txid}/state`], "confirmed");
  const states = Object.keys(shown).filter((key) => key.endsWith("/state")).length;
  assert.ok(states >= 499 && states <= 502, `${states} of 1,501 transactions were kept`);
  await board.close();
});
