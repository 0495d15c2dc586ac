import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CairnError,
  type Courier,
  type CourierHandler,
  type MessageKind,
  type NodeIndex,
  type PeerMessage,
  SealingKey,
  type SessionId,
  sealEnvelope,
} from "@cairn/core";
import { type CourierOptions, createCourier, MemoryHub } from "../src/index.ts";
import { encodeSealedPayload } from "../src/wire-message.ts";
import { eventually } from "./eventually.ts";
import { OutboxMemory } from "./outbox-memory.ts";
import { SettlingClock, settle } from "./settling-clock.ts";
import { nodeOf, type TestNode, testCluster } from "./test-cluster.ts";

const cluster = testCluster(3);
const one = 1 as NodeIndex;
const two = 2 as NodeIndex;
const three = 3 as NodeIndex;
const session = "5e".repeat(32) as SessionId;

function text(kind: MessageKind, content: string, of: SessionId | null = null): PeerMessage {
  return { kind, session: of, round: of === null ? 0 : 1, payload: Buffer.from(content), trace: null };
}

interface Running {
  readonly courier: Courier;
  readonly got: string[];
  readonly refused: string[];
  readonly reports: unknown[];
  onMessage: (from: NodeIndex, message: PeerMessage) => Promise<void>;
}

class Bench {
  readonly clock = new SettlingClock();
  readonly hub = new MemoryHub({ members: [one, two, three] }, { clock: this.clock });
  readonly disks = new Map<NodeIndex, OutboxMemory>();

  disk(node: NodeIndex): OutboxMemory {
    const disk = this.disks.get(node) ?? new OutboxMemory();
    this.disks.set(node, disk);
    return disk;
  }

  async run(index: NodeIndex, options: Partial<CourierOptions> = {}): Promise<Running> {
    const { signer, sealing }: TestNode = nodeOf(cluster, index);
    const reports: unknown[] = [];
    const courier = createCourier(
      { me: index, epoch: 0, ...options },
      {
        transport: this.hub.join(index),
        store: this.disk(index),
        clock: this.clock,
        signer,
        sealing,
        manifest: () => cluster.manifest,
        report: (cause) => void reports.push(cause),
      },
    );
    const running: Running = { courier, got: [], refused: [], reports, onMessage: async () => {} };
    const handler: CourierHandler = {
      message: async (from, message) => {
        await running.onMessage(from, message);
        running.got.push(`${from}:${message.kind}:${Buffer.from(message.payload).toString()}`);
      },
      peer: () => {},
      refused: (from, code) => void running.refused.push(`${from}:${code}`),
    };
    await courier.start(handler);
    await settle();
    return running;
  }

  async post(from: NodeIndex, courier: Courier, to: NodeIndex, id: string, message: PeerMessage) {
    const writes = [courier.posting(to, id, message)];
    await this.disk(from).commit(writes);
    courier.kick(writes);
    await settle();
  }
}

test("messages of any size arrive once and in the order of sending", async () => {
  const bench = new Bench();
  const [a, b] = [await bench.run(one), await bench.run(two)];
  const sent = Array.from({ length: 50 }, (_, n) => `${n}${"x".repeat((n % 3) * 9)}`);
  for (const content of sent) a.courier.send(two, text("ack", content));
  await settle();
  await settle();
  await eventually(() =>
    assert.deepEqual(
      b.got,
      sent.map((content) => `1:ack:${content}`),
    ),
  );
});

test("a message to a peer that is down is lost, one that is posted waits for it", async () => {
  const bench = new Bench();
  const a = await bench.run(one);
  a.courier.send(two, text("ack", "lost"));
  await bench.post(one, a.courier, two, "v1", text("vote", "kept"));
  const b = await bench.run(two);
  await settle();
  await eventually(() => assert.deepEqual(b.got, ["1:vote:kept"]));
  await bench.clock.advance(600);
  await eventually(() => assert.equal(bench.disk(one).rows.length, 0, "the receipt removed the row"));
});

test("what was just committed goes without a look into the store, in order with what waits there", async () => {
  const bench = new Bench();
  const [a, b] = [await bench.run(one, { window: 2 }), await bench.run(two)];
  const { reads } = bench.disk(one);
  await bench.post(one, a.courier, two, "v1", text("vote", "1"));
  await bench.post(one, a.courier, two, "v2", text("vote", "2"));
  await eventually(() => assert.deepEqual(b.got, ["1:vote:1", "1:vote:2"]));
  assert.equal(bench.disk(one).reads, reads);
  // The window is full: the rest waits in the store for receipts, and none overtakes another.
  for (let n = 3; n <= 6; n++) await bench.post(one, a.courier, two, `v${n}`, text("vote", `${n}`));
  /** What the peer got up to now: a message comes after all that was sent before it. */
  const arrived = async (mark: string) => {
    a.courier.send(two, text("ack", mark));
    await eventually(() => assert.equal(b.got.at(-1), `1:ack:${mark}`));
    return b.got.filter((line) => line.startsWith("1:vote:"));
  };
  assert.deepEqual(await arrived("full"), ["1:vote:1", "1:vote:2"]);
  await bench.clock.advance(600);
  await eventually(() => assert.ok(b.got.includes("1:vote:4")));
  assert.deepEqual(
    await arrived("full again"),
    [1, 2, 3, 4].map((n) => `1:vote:${n}`),
  );
  await bench.clock.advance(600);
  await eventually(() => assert.deepEqual(b.got.slice(-2), ["1:vote:5", "1:vote:6"]));
  await bench.clock.advance(600);
  await eventually(() => assert.equal(bench.disk(one).rows.length, 0));
  await bench.post(one, a.courier, two, "v7", text("vote", "7"));
  await eventually(() => assert.equal(b.got.at(-1), "1:vote:7"));
});

test("receipts go along with the next message, but for rounds that are sealed to other keys", async () => {
  const bench = new Bench();
  const [a, b] = [await bench.run(one), await bench.run(two)];
  await bench.post(one, a.courier, two, "v1", text("vote", "1"));
  await eventually(() => assert.equal(b.got.length, 1));
  const peers = new Map([[one, SealingKey.generate().publicKey]]);
  b.courier.useSealingKeys(session, { own: SealingKey.generate(), peers });
  b.courier.send(one, text("round", "x", session));
  await settle();
  assert.equal(bench.disk(one).rows.length, 1);
  b.courier.send(one, text("ack", "carrier"));
  await eventually(() => assert.equal(bench.disk(one).rows.length, 0));
  assert.deepEqual(a.got, ["2:ack:carrier"]);
});

test("receipts wait a little for each other, and no longer once many wait", async () => {
  const bench = new Bench();
  const [a, b] = [await bench.run(one), await bench.run(two)];
  const posted = async (from: number, to: number) => {
    for (let n = from; n < to; n++) await bench.post(one, a.courier, two, `v${n}`, text("vote", `${n}`));
    await eventually(() => assert.equal(b.got.length, to));
  };
  await posted(0, 3);
  const { commits } = bench.disk(one);
  await bench.clock.advance(600);
  await eventually(() => assert.equal(bench.disk(one).rows.length, 0));
  assert.equal(bench.disk(one).commits, commits + 2, "one for the receipts, one for the receiver's mark");
  await posted(3, 19);
  await eventually(() => assert.equal(bench.disk(one).rows.length, 0));
});

test("the receipt leaves only after the handler has resolved, and many share one commit", async () => {
  const bench = new Bench();
  const [a, b] = [await bench.run(one), await bench.run(two)];
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  b.onMessage = () => gate;
  await bench.post(one, a.courier, two, "v0", text("vote", "0"));
  await eventually(() => assert.equal(bench.disk(one).rows.length, 1));
  for (let n = 1; n < 40; n++) {
    await bench.disk(one).commit([a.courier.posting(two, `v${n}`, text("vote", `${n}`))]);
  }
  a.courier.kick();
  bench.disk(one).commitMs = 20;
  const commits = bench.disk(one).commits;
  release();
  await eventually(() => assert.equal(b.got.length, 40));
  await bench.clock.advance(600);
  await eventually(() => assert.equal(bench.disk(one).rows.length, 0));
  await eventually(() =>
    assert.ok(
      bench.disk(one).commits - commits < 30,
      `${bench.disk(one).commits - commits} commits for 40 receipts`,
    ),
  );
});

test("a posted message whose receipt is lost goes again, and the handler sees it once", async () => {
  const bench = new Bench();
  const [a, b] = [await bench.run(one), await bench.run(two)];
  bench.hub.mute(two, one);
  await bench.post(one, a.courier, two, "v1", text("vote", "x"));
  await eventually(() => assert.equal(bench.disk(one).rows.length, 1));
  bench.hub.heal();
  await bench.clock.advance(2500);
  await eventually(() => assert.deepEqual(b.got, ["1:vote:x"]));
  await eventually(() => assert.equal(bench.disk(one).rows.length, 0));
});

test("a posted message that the network swallows goes again in its order", async () => {
  const bench = new Bench();
  const [a, b] = [await bench.run(one), await bench.run(two)];
  bench.hub.mute(one, two);
  await bench.post(one, a.courier, two, "v1", text("vote", "first"));
  bench.hub.heal();
  await bench.post(one, a.courier, two, "v2", text("vote", "second"));
  await bench.clock.advance(10_000);
  await eventually(() => assert.deepEqual([...b.got].sort(), ["1:vote:first", "1:vote:second"]));
  await eventually(() => assert.equal(bench.disk(one).rows.length, 0));
});

test("a handler that rejects gets the posted message again", async () => {
  const bench = new Bench();
  const [a, b] = [await bench.run(one), await bench.run(two)];
  let refusals = 2;
  b.onMessage = async () => {
    if (refusals-- > 0) throw new CairnError("storage-full", "no room");
  };
  await bench.post(one, a.courier, two, "v1", text("vote", "x"));
  await bench.clock.advance(20_000);
  await eventually(() => assert.deepEqual(b.got, ["1:vote:x"]));
  await eventually(() => assert.equal(b.reports.length, 2));
});

test("after a restart of the sender its outbox is delivered and its new messages are accepted", async () => {
  const bench = new Bench();
  const a = await bench.run(one);
  await bench.post(one, a.courier, two, "v1", text("vote", "before"));
  await a.courier.close();
  const b = await bench.run(two);
  bench.clock.jump(5);
  const again = await bench.run(one);
  again.courier.send(two, text("ack", "after"));
  await settle();
  await eventually(() => assert.deepEqual([...b.got].sort(), ["1:ack:after", "1:vote:before"]));
  await eventually(() => assert.deepEqual(b.refused, []));
});

test("a replayed envelope is refused, also after a crash of the receiver", async () => {
  const bench = new Bench();
  const taped: Uint8Array[] = [];
  bench.hub.setFate(({ from, frame }) => {
    if (from === one) taped.push(frame);
    return { copies: 2, delayMs: 0 };
  });
  const a = await bench.run(one);
  const b = await bench.run(two);
  a.courier.send(two, text("ack", "x"));
  await settle();
  await eventually(() => assert.deepEqual(b.got, ["1:ack:x"]));
  await eventually(() => assert.deepEqual(b.refused, ["1:replayed"]));
  // A crash: the disk is as it was, nothing was closed in order.
  const crashed = bench.disk(two);
  bench.disks.set(two, Object.assign(new OutboxMemory(), { metas: new Map(crashed.metas) }));
  await b.courier.close();
  const again = await bench.run(two);
  await a.courier.close();
  bench.hub.setFate(null);
  const replayer = bench.hub.join(one);
  await replayer.start({ frame: async () => {}, peer: () => {} });
  await settle();
  for (const frame of taped) await replayer.send(two, frame);
  await settle();
  await eventually(() => assert.deepEqual(again.got, []));
  await eventually(() => assert.deepEqual(new Set(again.refused), new Set(["1:replayed"])));
});

test("a clean restart of the receiver refuses nothing that is new", async () => {
  const bench = new Bench();
  const a = await bench.run(one);
  const b = await bench.run(two);
  a.courier.send(two, text("ack", "x"));
  await settle();
  await b.courier.close();
  const again = await bench.run(two);
  a.courier.send(two, text("ack", "y"));
  await settle();
  await eventually(() => assert.deepEqual(again.got, ["1:ack:y"]));
});

test("traffic costs at most one commit of the replay guard in a lease", async () => {
  const bench = new Bench();
  const [a, b] = [await bench.run(one), await bench.run(two)];
  for (let n = 0; n < 100; n++) a.courier.send(two, text("ack", `${n}`));
  for (let turn = 0; turn < 5; turn++) await settle();
  await eventually(() => assert.equal(b.got.length, 100));
  await eventually(() => assert.equal(bench.disk(two).commits, 1));
});

test("the guard's commit serves all peers, also those that send later in the lease", async () => {
  const bench = new Bench();
  const [a, b, c] = [await bench.run(one), await bench.run(two), await bench.run(three)];
  const said = async (from: Running, content: string) => {
    from.courier.send(two, text("ack", content));
    await eventually(() => assert.ok(b.got.some((line) => line.endsWith(content))));
  };
  await said(a, "first");
  await said(c, "second");
  bench.clock.jump(5_000);
  const { commits } = bench.disk(two);
  await said(a, "third");
  await said(c, "fourth");
  assert.equal(bench.disk(two).commits, commits + 1);
});

test("envelopes of another sender, recipient, cluster or time are refused with their own codes", async () => {
  const bench = new Bench();
  const b = await bench.run(two);
  const raw = bench.hub.join(one);
  await raw.start({ frame: async () => {}, peer: () => {} });
  await settle();
  const { signer } = nodeOf(cluster, 1);
  const recipient = nodeOf(cluster, 2).sealing.publicKey;
  const now = bench.clock.now();
  const header = {
    version: 1,
    cluster: cluster.manifest.cluster,
    epoch: 0,
    session: null,
    round: 0,
    from: one,
    to: two,
    seq: now * 1000,
    sentAt: now,
    kind: "ack",
    trace: null,
  } as const;
  const body = encodeSealedPayload({ id: null, body: Buffer.from("x"), receipts: [] });
  const cases = [
    [{ from: three }, "not-member"],
    [{ to: three }, "wrong-recipient"],
    [{ cluster: "00".repeat(32) as never }, "wrong-cluster"],
    [{ sentAt: (now - 31_000) as never }, "clock-skew"],
    [{ sentAt: (now + 31_000) as never }, "clock-skew"],
  ] as const;
  for (const [change, code] of cases) {
    await raw.send(two, await sealEnvelope({ ...header, ...change }, body, recipient, signer));
    await settle();
    assert.equal(b.refused.pop(), `1:${code}`);
  }
  await raw.send(two, await sealEnvelope(header, body, recipient, nodeOf(cluster, 3).signer));
  await raw.send(two, await sealEnvelope(header, body, SealingKey.generate().publicKey, signer));
  await raw.send(two, Buffer.from("noise"));
  await raw.send(two, await sealEnvelope(header, Buffer.from("no structure"), recipient, signer));
  await settle();
  await eventually(() =>
    assert.deepEqual(b.refused, ["1:signature-invalid", "1:malformed", "1:malformed", "1:malformed"]),
  );
  await eventually(() => assert.deepEqual(b.got, []));
});

test("rounds of a session with ephemeral keys open with those alone, before and after Start", async () => {
  const bench = new Bench();
  const [a, b, c] = [await bench.run(one), await bench.run(two), await bench.run(three)];
  const keys = new Map([one, two, three].map((node) => [node, SealingKey.generate()]));
  const own = (node: NodeIndex) => keys.get(node) ?? SealingKey.generate();
  const peers = new Map([...keys].map(([node, key]) => [node, key.publicKey]));
  a.courier.useSealingKeys(session, { own: own(one), peers });
  a.courier.send(two, text("round", "early 1", session));
  a.courier.send(two, text("round", "early 2", session));
  await settle();
  await eventually(() => assert.deepEqual(b.got, [], "node 2 does not know its part in the session yet"));
  b.courier.useSealingKeys(session, { own: own(two), peers });
  await settle();
  await eventually(() => assert.deepEqual(b.got, ["1:round:early 1", "1:round:early 2"]));
  a.courier.send(two, text("round", "then", session));
  a.courier.send(two, text("abort", "static", session));
  await settle();
  await eventually(() => assert.deepEqual(b.got.slice(2), ["1:round:then", "1:abort:static"]));
  // A node with keys of its own for the session never opens with its static key.
  c.courier.send(two, text("round", "static round", session));
  await settle();
  await eventually(() => assert.deepEqual(b.refused, ["3:malformed"]));
  // After the end, what comes late is neither opened nor held against its sender.
  b.courier.useSealingKeys(session, null);
  a.courier.send(two, text("round", "late", session));
  await settle();
  await eventually(() => assert.equal(b.refused.pop(), "1:wrong-state"));
});

test("a round is never sent to a peer that the session's keys do not name", async () => {
  const bench = new Bench();
  const [a, b] = [await bench.run(one), await bench.run(two)];
  a.courier.useSealingKeys(session, { own: SealingKey.generate(), peers: new Map() });
  a.courier.send(two, text("round", "x", session));
  await settle();
  await eventually(() => assert.deepEqual([b.got, b.refused], [[], []]));
});

test("rounds that wait for keys that never come are let go", async () => {
  const bench = new Bench();
  const [a, b] = [await bench.run(one), await bench.run(two)];
  const peers = new Map([[two, SealingKey.generate().publicKey]]);
  a.courier.useSealingKeys(session, { own: SealingKey.generate(), peers });
  a.courier.send(two, text("round", "x", session));
  await bench.clock.advance(11_000);
  await eventually(() => assert.deepEqual(b.refused, ["1:wrong-state"]));
});

test("a refused member's envelopes are answered before any other work", async () => {
  const bench = new Bench();
  const [a, b] = [await bench.run(one), await bench.run(two)];
  b.courier.setRefused(new Set([one]));
  await settle();
  await eventually(() =>
    assert.equal(a.courier.peers().find(({ node }) => node === two)?.lastError, "NodeBanned"),
  );
  a.courier.send(two, text("ack", "x"));
  await settle();
  await eventually(() => assert.deepEqual(b.got, []));
  b.courier.setRefused(new Set());
  await settle();
  a.courier.send(two, text("ack", "y"));
  await settle();
  await eventually(() => assert.deepEqual(b.got, ["1:ack:y"]));
});

test("a store that fails is reported, and what was posted goes when it works again", async () => {
  const bench = new Bench();
  const [a, b] = [await bench.run(one), await bench.run(two)];
  await bench.disk(one).commit([a.courier.posting(two, "v1", text("vote", "x"))]);
  bench.disk(one).broken = true;
  a.courier.kick();
  await settle();
  await eventually(() => assert.equal(a.reports.length, 1));
  bench.disk(one).broken = false;
  await bench.clock.advance(2500);
  await eventually(() => assert.deepEqual(b.got, ["1:vote:x"]));
});

test("messages that no frame can hold are refused where they are made", async () => {
  const bench = new Bench();
  const a = await bench.run(one);
  const message = { ...text("vote", ""), payload: new Uint8Array(4 * 1024 * 1024) };
  assert.throws(
    () => a.courier.posting(two, "v", message),
    (error) => error instanceof CairnError && error.code === "too-large",
  );
  assert.throws(() => a.courier.posting(two, "", text("vote", "x")));
});
