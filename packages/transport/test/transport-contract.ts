import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isCairnError,
  MAX_FRAME_BYTES,
  type NodeIndex,
  type PeerStatus,
  type Transport,
  type TransportHandler,
} from "@cairn/core";
import { eventually } from "./eventually.ts";

/** Some nodes of one cluster whose transports can reach each other. */
export interface TransportNetwork {
  /** A transport of `node`, not started. The one before it, if any, was closed. */
  transport(
    node: NodeIndex,
    self?: { readonly epoch?: number; readonly protocolVersions?: readonly number[] },
  ): Promise<Transport>;
  /** Closes what is left. */
  close(): Promise<void>;
}

/** A node under test and what its handler saw. */
export class Listener implements TransportHandler {
  readonly transport: Transport;
  readonly got: { readonly from: NodeIndex; readonly frame: Uint8Array }[] = [];
  readonly changes: PeerStatus[] = [];
  onFrame: (from: NodeIndex, frame: Uint8Array) => Promise<void> = async () => {};

  constructor(transport: Transport) {
    this.transport = transport;
  }

  async frame(from: NodeIndex, frame: Uint8Array): Promise<void> {
    await this.onFrame(from, frame);
    this.got.push({ from, frame });
  }

  peer(status: PeerStatus): void {
    this.changes.push(status);
  }

  texts(from?: NodeIndex): string[] {
    return this.got
      .filter((entry) => from === undefined || entry.from === from)
      .map(({ frame }) => Buffer.from(frame).toString());
  }

  status(node: NodeIndex): PeerStatus | undefined {
    return this.transport.peers().find((peer) => peer.node === node);
  }

  up(): number {
    return this.transport.peers().filter(({ up }) => up).length;
  }
}

export async function begin(
  network: TransportNetwork,
  node: NodeIndex,
  self?: { readonly epoch?: number; readonly protocolVersions?: readonly number[] },
): Promise<Listener> {
  const listener = new Listener(await network.transport(node, self));
  await listener.transport.start(listener);
  return listener;
}

export async function mesh(network: TransportNetwork, nodes: readonly NodeIndex[]): Promise<Listener[]> {
  const listeners: Listener[] = [];
  for (const node of nodes) listeners.push(await begin(network, node));
  await eventually(() => {
    for (const listener of listeners) assert.equal(listener.up(), nodes.length - 1);
  });
  return listeners;
}

const one = 1 as NodeIndex;
const two = 2 as NodeIndex;
const bytes = (text: string) => Buffer.from(text);

/** What every {@link Transport} does. @param open a fresh network of five members */
export function transportContract(name: string, open: () => Promise<TransportNetwork>): void {
  const scenario = (title: string, run: (network: TransportNetwork) => Promise<void>): void => {
    test(`${name}: ${title}`, async () => {
      const network = await open();
      try {
        await run(network);
      } finally {
        await network.close();
      }
    });
  };

  scenario("frames of any size arrive whole, once and in order", async (network) => {
    const [a, b] = await mesh(network, [one, two]);
    assert.ok(a && b);
    const sizes = [
      0,
      1,
      1024,
      65_536,
      300_000,
      MAX_FRAME_BYTES,
      3,
      ...Array.from({ length: 200 }, (_, n) => n),
    ];
    const frames = sizes.map((size, at) => new Uint8Array(size).fill(at));
    await Promise.all(frames.map((frame) => a.transport.send(two, frame)));
    await eventually(() => assert.equal(b.got.length, frames.length));
    assert.ok(frames.every((frame, at) => Buffer.compare(frame, b.got[at]?.frame ?? new Uint8Array()) === 0));
  });

  scenario("a frame larger than the limit is refused before it is sent", async (network) => {
    const [a] = await mesh(network, [one, two]);
    await assert.rejects(
      a?.transport.send(two, new Uint8Array(MAX_FRAME_BYTES + 1)) ?? Promise.resolve(),
      (e) => isCairnError(e, "too-large"),
    );
  });

  scenario("what the sender does with its buffer afterwards changes nothing", async (network) => {
    const [a, b] = await mesh(network, [one, two]);
    assert.ok(a && b);
    const frame = bytes("before");
    const sent = a.transport.send(two, frame);
    frame.fill(0);
    await sent;
    await eventually(() => assert.deepEqual(b.texts(), ["before"]));
  });

  scenario("a frame to a peer that is not up is refused at once", async (network) => {
    const a = await begin(network, one);
    await assert.rejects(a.transport.send(two, bytes("x")), (e) => isCairnError(e, "peer-unreachable"));
    assert.equal(a.status(two)?.up, false);
  });

  scenario(
    "both sides learn index, version and epoch, and when the other goes and comes back",
    async (network) => {
      const a = await begin(network, one, { epoch: 4 });
      const b = await begin(network, two, { epoch: 7 });
      await eventually(() => assert.equal(a.up() + b.up(), 2));
      assert.deepEqual(
        [a.status(two), b.status(one)].map((status) => [
          status?.epoch,
          status?.protocolVersion,
          status?.lastError,
        ]),
        [
          [7, 1, null],
          [4, 1, null],
        ],
      );
      assert.ok((a.status(two)?.lastSeen ?? 0) > 0);
      await b.transport.close();
      await eventually(() => assert.equal(a.status(two)?.up, false));
      const again = await begin(network, two, { epoch: 8 });
      await eventually(() => assert.equal(a.up() + again.up(), 2));
      assert.equal(a.status(two)?.epoch, 8);
      await eventually(() =>
        assert.deepEqual(
          a.changes.map(({ up }) => up),
          [true, false, true],
        ),
      );
      await again.transport.send(one, bytes("back"));
      await eventually(() => assert.deepEqual(a.texts(two), ["back"]));
    },
  );

  scenario("the highest common version is spoken, and without one neither side comes up", async (network) => {
    const a = await begin(network, one, { protocolVersions: [1, 2] });
    const b = await begin(network, two, { protocolVersions: [2, 1] });
    const c = await begin(network, 3 as NodeIndex, { protocolVersions: [1] });
    const d = await begin(network, 4 as NodeIndex, { protocolVersions: [2] });
    await eventually(() => assert.equal(a.up() + b.up() + c.up() + d.up(), 3 + 3 + 2 + 2));
    assert.equal(a.status(two)?.protocolVersion, 2);
    assert.equal(a.status(3 as NodeIndex)?.protocolVersion, 1);
    assert.equal(c.status(4 as NodeIndex)?.up, false);
    await eventually(() => {
      assert.equal(c.status(4 as NodeIndex)?.lastError, "unsupported-version");
      assert.equal(d.status(3 as NodeIndex)?.lastError, "unsupported-version");
    });
  });

  scenario("the next frame of a peer waits for the handler, others' do not", async (network) => {
    const [a, b, c] = await mesh(network, [one, two, 3 as NodeIndex]);
    assert.ok(a && b && c);
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    let entered = 0;
    b.onFrame = async (from) => {
      if (from !== one) return;
      entered++;
      await gate;
    };
    await a.transport.send(two, bytes("first"));
    await a.transport.send(two, bytes("second"));
    await c.transport.send(two, bytes("other"));
    await eventually(() => assert.deepEqual(b.texts(), ["other"]));
    assert.equal(entered, 1);
    release();
    await eventually(() => assert.deepEqual(b.texts(one), ["first", "second"]));
  });

  scenario(
    "a sender whose peer does not keep up is told so, and nothing it was told is lost",
    async (network) => {
      const [a, b] = await mesh(network, [one, two]);
      assert.ok(a && b);
      let release = () => {};
      const gate = new Promise<void>((resolve) => {
        release = resolve;
      });
      b.onFrame = () => gate;
      const outcomes: Promise<string>[] = [];
      for (let n = 0; n < 64; n++) {
        const outcome = a.transport.send(two, new Uint8Array(1024 * 1024).fill(n)).then(
          () => "sent",
          (error) => (isCairnError(error) ? error.code : String(error)),
        );
        outcomes.push(outcome);
      }
      release();
      const told = await Promise.all(outcomes);
      assert.ok(told.includes("busy"), "64 MiB do not fit into the queue");
      assert.ok(told.includes("sent"));
      const sent = told.flatMap((outcome, n) => (outcome === "sent" ? [n] : []));
      await eventually(() =>
        assert.deepEqual(
          b.got.map(({ frame }) => frame[0]),
          sent,
        ),
      );
    },
  );

  scenario("what piles up between a sender and a peer that handles nothing is bounded", async (network) => {
    const [a, b] = await mesh(network, [one, two]);
    assert.ok(a && b);
    let release = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    b.onFrame = () => gate;
    const stalled = async (): Promise<boolean> => {
      const waits = new Promise<string>((resolve) => setTimeout(resolve, 1000, "waits"));
      const sent = a.transport.send(two, new Uint8Array(1024 * 1024)).then(
        () => "sent",
        (error) => (isCairnError(error) ? error.code : String(error)),
      );
      const outcome = await Promise.race([sent, waits]);
      if (outcome !== "sent") assert.ok(["waits", "busy"].includes(outcome), outcome);
      return outcome !== "sent";
    };
    let sends = 1;
    while (!(await stalled())) assert.ok(sends++ < 64, "64 MiB went to a peer that reads nothing");
    release();
    await eventually(() => assert.ok(b.got.length >= sends - 1));
  });

  scenario("a refused member is down on both sides and hears why, until it is let back", async (network) => {
    const [a, b] = await mesh(network, [one, two]);
    assert.ok(a && b);
    b.transport.setRefused(new Set([one]));
    await eventually(() => {
      assert.deepEqual([a.up(), b.up()], [0, 0]);
      assert.equal(a.status(two)?.lastError, "NodeBanned");
    });
    await assert.rejects(a.transport.send(two, bytes("x")), (e) => isCairnError(e, "peer-unreachable"));
    b.transport.setRefused(new Set());
    await eventually(() => assert.deepEqual([a.up(), b.up()], [1, 1]));
    await a.transport.send(two, bytes("again"));
    await eventually(() => assert.deepEqual(b.texts(), ["again"]));
  });

  scenario("five nodes form a full mesh and every message reaches its peer", async (network) => {
    const nodes = [1, 2, 3, 4, 5].map((index) => index as NodeIndex);
    const listeners = await mesh(network, nodes);
    for (const [at, listener] of listeners.entries()) {
      for (const to of nodes) {
        if (to === nodes[at]) continue;
        for (let n = 0; n < 20; n++) await listener.transport.send(to, bytes(`${nodes[at]}>${to} ${n}`));
      }
    }
    await eventually(() => {
      for (const listener of listeners) assert.equal(listener.got.length, 80);
    });
    for (const [at, listener] of listeners.entries()) {
      for (const from of nodes.filter((node) => node !== nodes[at])) {
        const expected = Array.from({ length: 20 }, (_, n) => `${from}>${nodes[at]} ${n}`);
        assert.deepEqual(listener.texts(from), expected);
      }
    }
  });

  scenario("closing is idempotent and ends sending", async (network) => {
    const [a] = await mesh(network, [one, two]);
    assert.ok(a);
    await Promise.all([a.transport.close(), a.transport.close()]);
    await assert.rejects(a.transport.send(two, bytes("x")), (e) => isCairnError(e, "closed"));
    assert.equal(a.up(), 0);
  });
}
