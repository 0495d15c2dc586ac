import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import type { NodeIndex } from "@cairn/core";
import type { EngineListener, EngineSpec } from "@cairn/signing";
import {
  type Cluster,
  executionId,
  failureOf,
  frostKey,
  type Key,
  type Message,
  node,
  openCluster,
  results,
  runSession,
  signerFacts,
  type Tamper,
} from "./support/wire.ts";

const signers = [1, 2, 3, 4].map(node);
/** Version, kind, round, broadcast, item (2), execution id (32), context (32). */
const header = 70;

describe("sessions", () => {
  let cluster: Cluster;
  let key: Key;

  before(async () => {
    cluster = await openCluster();
    key = await frostKey(cluster);
  });
  after(() => cluster.close());

  const spec =
    (execution = executionId()) =>
    (me: NodeIndex): EngineSpec => ({
      kind: "frost-sign",
      ...signerFacts(key, signers, me, execution),
      items: [{ path: [0, 0], preimage: new Uint8Array([0, 9]) }],
    });

  test("a cancelled session emits nothing more and ignores what still comes", async () => {
    const heard: string[] = [];
    const note = (what: string) => () => {
      heard.push(what);
    };
    const listener: EngineListener = {
      send: note("send"),
      progress: note("progress"),
      done: note("done"),
      failed: note("failed"),
    };
    const session = cluster.engine(node(1)).start(spec()(node(1)), listener);
    session.cancel();
    session.cancel();
    session.receive(node(2), randomBytes(100));
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(heard, []);
  });

  test("events come in order, on later turns, and the end comes once and last", async () => {
    const execution = executionId();
    const heard: string[] = [];
    const inboxes = new Map<NodeIndex, (from: NodeIndex, payload: Uint8Array) => void>();
    let sync = true;
    await new Promise<void>((resolve, reject) => {
      let open = signers.length;
      for (const me of signers) {
        const session = cluster.engine(me).start(spec(execution)(me), {
          send: ({ round, payload }) => {
            assert.equal(sync, false);
            if (me === 1) heard.push(`send ${round}`);
            for (const other of signers) if (other !== me) inboxes.get(other)?.(me, payload);
          },
          progress: ({ round, rounds }) => {
            if (me === 1) heard.push(`progress ${round} of ${rounds}`);
          },
          done: ({ kind }) => {
            if (me === 1) heard.push(`done ${kind}`);
            open -= 1;
            if (open === 0) setTimeout(resolve, 50);
          },
          failed: reject,
        });
        inboxes.set(me, (from, payload) => session.receive(from, payload));
      }
      sync = false;
    });
    assert.deepEqual(heard, ["progress 1 of 2", "send 1", "progress 2 of 2", "send 2", "done frost-sign"]);
  });

  /** Messages that node 3 could send in place of an honest one. */
  const corpus: [string, (message: Message) => Uint8Array][] = [
    ["nothing", () => new Uint8Array()],
    ["one byte", () => new Uint8Array([1])],
    ["random bytes", () => randomBytes(400)],
    ["a header alone", ({ payload }) => payload.slice(0, header)],
    ["a cut message", ({ payload }) => payload.slice(0, -1)],
    ["a trailing byte", ({ payload }) => Buffer.concat([payload, new Uint8Array(1)])],
    ["another version", (message) => at(message, 0, 2)],
    ["another kind", (message) => at(message, 1, 5)],
    ["round zero", (message) => at(message, 2, 0)],
    ["a later round", (message) => at(message, 2, 2)],
    ["a round that does not exist", (message) => at(message, 2, 200)],
    ["a private message in place of a broadcast", (message) => at(message, 3, 0)],
    ["an item that does not exist", (message) => at(message, 5, 1)],
    ["two megabytes", ({ payload }) => Buffer.concat([payload, new Uint8Array(2 << 20)])],
    ["deep nesting", ({ payload }) => Buffer.concat([payload.slice(0, header), Buffer.alloc(5000, 0x81)])],
    [
      "an endless array",
      ({ payload }) => Buffer.concat([payload.slice(0, header), Buffer.alloc(5000, 0x9f)]),
    ],
    [
      "an array that claims 2^63 entries",
      ({ payload }) => Buffer.concat([payload.slice(0, header), Buffer.from("9b7fffffffffffffff", "hex")]),
    ],
    ["random content", ({ payload }) => Buffer.concat([payload.slice(0, header), randomBytes(150)])],
  ];

  function at({ payload }: Message, index: number, value: number): Uint8Array {
    const altered = Uint8Array.from(payload);
    altered[index] = value;
    return altered;
  }

  for (const [name, forge] of corpus) {
    test(`malformed: ${name} ends the session and names its sender`, async () => {
      const forging: Tamper = (message) =>
        message.from === 3 && message.to === 1 && message.round === 1
          ? [{ ...message, payload: forge(message) }]
          : [message];
      const ends = await runSession(cluster, signers, spec(), forging, [node(1)]);
      const { code, blamed } = failureOf(ends, node(1));
      assert.deepEqual([code, blamed], ["invalid-round-message", [3]]);
    });
  }

  test("bit flips anywhere in a message never crash and never yield a wrong signature", async () => {
    for (let bit = 0; bit < 64; bit += 1) {
      const flipping: Tamper = (message) => {
        if (message.from !== 3 || message.to !== 1) return [message];
        const flipped = Math.floor((bit / 64) * message.payload.length);
        return [
          { ...message, payload: at(message, flipped, (message.payload[flipped] ?? 0) ^ (1 << (bit % 8))) },
        ];
      };
      const ends = await runSession(cluster, signers, spec(), flipping, [node(1)]);
      const { blamed } = failureOf(ends, node(1));
      assert.ok(blamed.length === 0 || (blamed.length === 1 && blamed[0] === 3), `bit ${bit}: ${blamed}`);
    }
  });

  test("after all that the engine still signs", async () => {
    results(await runSession(cluster, signers, spec()), "frost-sign");
  });

  test("a closed engine refuses work", async () => {
    const other = await openCluster({ size: 2 });
    const { engine, vault } = other.opened(node(1));
    await engine.close();
    await engine.close();
    const listener = { send() {}, progress() {}, done() {}, failed() {} };
    assert.throws(
      () => engine.start({ ...spec()(node(1)), signers: [1, 2].map(node) } as EngineSpec, listener),
      {
        code: "closed",
      },
    );
    await assert.rejects(vault.seal("x", new Uint8Array(1)), { code: "closed" });
    await other.close();
  });
});
