import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Courier,
  type MessageKind,
  type NodeIndex,
  type PeerMessage,
  systemClock,
  type Transport,
} from "@cairn/core";
import { createCourier } from "../src/index.ts";
import { eventually } from "./eventually.ts";
import { OutboxMemory } from "./outbox-memory.ts";
import { nodeOf, type TestCluster } from "./test-cluster.ts";

/** Five members over one kind of transport. */
export interface CourierNetwork {
  readonly cluster: TestCluster;
  transport(node: NodeIndex): Promise<Transport>;
  close(): Promise<void>;
}

interface Running {
  readonly node: NodeIndex;
  readonly courier: Courier;
  readonly disk: OutboxMemory;
  readonly got: string[];
  readonly refused: string[];
  /** When a peer came up or went down last. */
  changedAt: number;
}

/** Two nodes that dialed each other at once settle on one connection, and what is under way on the other is lost meanwhile. */
const SETTLED_MS = 1_500;

const message = (kind: MessageKind, text: string): PeerMessage => ({
  kind,
  session: null,
  round: 0,
  payload: Buffer.from(text),
  trace: null,
});

async function run(network: CourierNetwork, node: NodeIndex, disk = new OutboxMemory()): Promise<Running> {
  const { signer, sealing } = nodeOf(network.cluster, node);
  const courier = createCourier(
    { me: node, epoch: 0, resendAfterMs: 200, receiptDelayMs: 20, replayLeaseMs: 100 },
    {
      transport: await network.transport(node),
      store: disk,
      clock: systemClock,
      signer,
      sealing,
      manifest: () => network.cluster.manifest,
    },
  );
  const running: Running = { node, courier, disk, got: [], refused: [], changedAt: performance.now() };
  await courier.start({
    message: async (from, { kind, payload }) => {
      running.got.push(`${from}:${kind}:${Buffer.from(payload).toString()}`);
    },
    peer: () => {
      running.changedAt = performance.now();
    },
    refused: (from, code) => void running.refused.push(`${from}:${code}`),
  });
  return running;
}

async function post(from: Running, to: NodeIndex, id: string, content: PeerMessage): Promise<void> {
  await from.disk.commit([from.courier.posting(to, id, content)]);
  from.courier.kick();
}

const up = (running: Running) => running.courier.peers().filter((peer) => peer.up).length;

/** What a courier does over every transport. */
export function courierContract(name: string, open: () => Promise<CourierNetwork>): void {
  const scenario = (title: string, body: (network: CourierNetwork, started: Running[]) => Promise<void>) => {
    test(`courier over ${name}: ${title}`, async () => {
      const network = await open();
      const started: Running[] = [];
      try {
        await body(network, started);
      } finally {
        for (const { courier } of started) await courier.close();
        await network.close();
      }
    });
  };
  const [one, two] = [1 as NodeIndex, 2 as NodeIndex];

  scenario(
    "in a mesh of five every posted and every sent message arrives once, in order",
    async (network, started) => {
      const nodes = [1, 2, 3, 4, 5].map((index) => index as NodeIndex);
      for (const node of nodes) started.push(await run(network, node));
      await eventually(() => {
        assert.deepEqual(started.map(up), [4, 4, 4, 4, 4]);
        for (const { changedAt } of started) assert.ok(performance.now() - changedAt > SETTLED_MS);
      }, 30_000);
      for (let n = 0; n < 10; n++) {
        for (const from of started) {
          for (const to of nodes.filter((node) => node !== from.node)) {
            from.courier.send(to, message("ack", `sent ${n} ${"x".repeat(n * 3000)}`));
            await post(from, to, `posted ${n}`, message("vote", `posted ${n}`));
          }
        }
      }
      await eventually(() => {
        for (const { got } of started) assert.equal(got.length, 80);
        for (const { disk } of started) assert.equal(disk.rows.length, 0);
      }, 30_000);
      for (const { node, got, refused } of started) {
        assert.deepEqual(refused, []);
        for (const from of nodes.filter((other) => other !== node)) {
          for (const kind of ["ack", "vote"]) {
            const order = got
              .filter((line) => line.startsWith(`${from}:${kind}:`))
              .map((line) => line.split(" ")[1]);
            assert.deepEqual(
              order,
              Array.from({ length: 10 }, (_, n) => String(n)),
            );
          }
        }
      }
    },
  );

  scenario("what is posted while a peer is gone arrives when it is back", async (network, started) => {
    const a = await run(network, one);
    started.push(a);
    const b = await run(network, two);
    await eventually(() => assert.deepEqual([up(a), up(b)], [1, 1]));
    await post(a, two, "1", message("vote", "1"));
    await eventually(() => assert.deepEqual([b.got, a.disk.rows], [["1:vote:1"], []]));
    await b.courier.close();
    await eventually(() => assert.equal(up(a), 0));
    for (const id of ["2", "3", "4"]) await post(a, two, id, message("vote", id));
    const again = await run(network, two, b.disk);
    started.push(again);
    await eventually(() => assert.deepEqual(again.got, ["1:vote:2", "1:vote:3", "1:vote:4"]));
    await eventually(() => assert.equal(a.disk.rows.length, 0));
    assert.deepEqual(again.refused, []);
  });

  scenario("a sender that restarts delivers what its outbox holds", async (network, started) => {
    const b = await run(network, two);
    started.push(b);
    const a = await run(network, one);
    await eventually(() => assert.deepEqual([up(a), up(b)], [1, 1]));
    a.courier.send(two, message("ack", "before"));
    await eventually(() => assert.deepEqual(b.got, ["1:ack:before"]));
    await a.courier.close();
    await a.disk.commit([a.courier.posting(two, "late", message("certificate", "kept"))]);
    const again = await run(network, one, a.disk);
    started.push(again);
    await eventually(() => assert.deepEqual(b.got, ["1:ack:before", "1:certificate:kept"]));
    await eventually(() => assert.equal(a.disk.rows.length, 0));
    assert.deepEqual(b.refused, []);
  });

  scenario("a message of a megabyte goes through sealed and whole", async (network, started) => {
    const [a, b] = [await run(network, one), await run(network, two)];
    started.push(a, b);
    await eventually(() => assert.deepEqual([up(a), up(b)], [1, 1]));
    const text = "0123456789abcdef".repeat(65_536);
    a.courier.send(two, message("ack", text));
    await eventually(() => assert.equal(b.got[0]?.length, text.length + 6));
    assert.ok(b.got[0]?.endsWith(text));
  });
}
