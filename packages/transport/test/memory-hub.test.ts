import assert from "node:assert/strict";
import { test } from "node:test";
import { type NodeIndex, systemClock, type Transport } from "@cairn/core";
import { MemoryHub } from "../src/index.ts";
import { SettlingClock, settle } from "./settling-clock.ts";
import { begin, mesh, type TransportNetwork, transportContract } from "./transport-contract.ts";

const members = [1, 2, 3, 4, 5].map((index) => index as NodeIndex);
const [one, two, three] = [1 as NodeIndex, 2 as NodeIndex, 3 as NodeIndex];

function network(hub: MemoryHub): TransportNetwork {
  const open: Transport[] = [];
  return {
    transport: async (node, self) => {
      const transport = hub.join(node, self);
      open.push(transport);
      return transport;
    },
    close: async () => {
      for (const transport of open) await transport.close();
    },
  };
}

transportContract("memory", async () => network(new MemoryHub({ members }, { clock: systemClock })));

test("a partition takes down what crosses it and nothing else, until it heals", async () => {
  const hub = new MemoryHub({ members }, { clock: systemClock });
  const nodes = await mesh(network(hub), members);
  hub.partition([[one, two], members.slice(2)]);
  await settle();
  assert.deepEqual(
    nodes.map((node) => node.up()),
    [1, 1, 2, 2, 2],
  );
  hub.heal();
  await settle();
  assert.deepEqual(
    nodes.map((node) => node.up()),
    [4, 4, 4, 4, 4],
  );
});

test("a muted direction loses frames while both believe the other up", async () => {
  const hub = new MemoryHub({ members }, { clock: systemClock });
  const [a, b] = await mesh(network(hub), [one, two]);
  assert.ok(a && b);
  hub.mute(one, two);
  await a.transport.send(two, Buffer.from("lost"));
  await b.transport.send(one, Buffer.from("heard"));
  await settle();
  assert.deepEqual([a.texts(), b.texts(), a.up(), b.up()], [["heard"], [], 1, 1]);
});

test("delayed frames keep their order, and a cut takes with it what is under way", async () => {
  const clock = new SettlingClock();
  const hub = new MemoryHub({ members }, { clock });
  const net = network(hub);
  const [a, b, c] = [await begin(net, one), await begin(net, two), await begin(net, three)];
  await settle();
  hub.setFate(({ number }) => ({ copies: 1, delayMs: number === 0 ? 500 : 10 }));
  await a.transport.send(two, Buffer.from("slow"));
  await a.transport.send(two, Buffer.from("quick"));
  await a.transport.send(three, Buffer.from("other"));
  await clock.advance(100);
  assert.deepEqual([b.texts(), c.texts()], [[], ["other"]]);
  await clock.advance(500);
  assert.deepEqual(b.texts(), ["slow", "quick"]);
  await a.transport.send(two, Buffer.from("under way"));
  hub.sever(one, two);
  hub.heal();
  await clock.advance(500);
  assert.deepEqual(b.texts(), ["slow", "quick"]);
});

test("runs over a virtual clock repeat exactly", async () => {
  const run = async (): Promise<string[]> => {
    const clock = new SettlingClock();
    const hub = new MemoryHub({ members }, { clock });
    const net = network(hub);
    const log: string[] = [];
    hub.setFate(({ number }) => ({ copies: number % 5 === 0 ? 0 : 1, delayMs: (number * 37) % 100 }));
    const nodes = await mesh(net, members);
    for (const [at, node] of nodes.entries()) {
      node.onFrame = async (from, frame) => void log.push(`${clock.now()} ${from}>${at + 1} ${frame[0]}`);
    }
    for (let round = 0; round < 5; round++) {
      for (const [at, node] of nodes.entries()) {
        for (const to of members) {
          if (to !== members[at]) await node.transport.send(to, Uint8Array.of(round));
        }
      }
      await clock.advance(20);
    }
    await clock.advance(1000);
    return log;
  };
  const first = await run();
  assert.equal(first.length, 80);
  assert.deepEqual(await run(), first);
});
