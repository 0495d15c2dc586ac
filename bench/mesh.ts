import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Courier,
  executionIdSchema,
  MAX_FRAME_BYTES,
  type NodeIndex,
  type PeerMessage,
  type SessionId,
  sessionIdSchema,
  systemClock,
  type Transport,
} from "@cairn/core";
import { createKeyFile, type OpenEngineOptions, type OpenedEngine } from "@cairn/engine";
import type { EngineResult, EngineSession, EngineSpec } from "@cairn/signing";
import { createCourier } from "@cairn/transport";
import { OutboxMemory } from "../packages/transport/test/outbox-memory.ts";
import { TcpNetwork } from "../packages/transport/test/tcp-network.ts";
import { nodeOf } from "../packages/transport/test/test-cluster.ts";

type EngineMaker = (options: OpenEngineOptions) => Promise<OpenedEngine>;

interface Node {
  readonly index: NodeIndex;
  readonly engine: OpenedEngine["engine"];
  readonly courier: Courier;
}

/** The execution id is the mesh's: all parties of a run share it. */
export type SpecOf = (me: NodeIndex, executionId: EngineSpec["executionId"]) => EngineSpec;

const POLL_MS = 20;
const UP_LIMIT_MS = 30_000;

/**
 * Five engines in one process that talk through couriers (sealed and signed envelopes) over mutual TLS on loopback. Every frame can be held
 * back for a fixed time on its way, as a far network does.
 */
export class Mesh {
  /** Time that every frame takes beside what loopback takes, in milliseconds. */
  delayMs = 0;
  readonly nodes: readonly NodeIndex[] = [1, 2, 3, 4, 5].map((at) => at as NodeIndex);
  readonly #members: readonly Node[];
  readonly #handlers = new Map<SessionId, Map<NodeIndex, (from: NodeIndex, message: PeerMessage) => void>>();
  readonly #close: () => Promise<void>;

  private constructor(members: readonly Node[], close: () => Promise<void>) {
    this.#members = members;
    this.#close = close;
  }

  static async open(create: EngineMaker, primes: NonNullable<OpenEngineOptions["primes"]>): Promise<Mesh> {
    const folder = await mkdtemp(join(tmpdir(), "cairn-bench-"));
    const network = await TcpNetwork.open();
    const members: Node[] = [];
    const mesh = new Mesh(members, async () => {
      for (const { engine, courier } of members) {
        await courier.close();
        await engine.close();
      }
      await network.close();
      await rm(folder, { recursive: true, force: true });
    });
    const limits = { maxFrameBytes: MAX_FRAME_BYTES, rate: { framesPerSecond: 1e6, bytesPerSecond: 1e10 } };
    for (const index of mesh.nodes) {
      const { signer, sealing } = nodeOf(network.cluster, index);
      const key = join(folder, `key-${index}`);
      await createKeyFile(key);
      const { manifest } = network.cluster;
      const { engine } = await create({
        clusterId: manifest.cluster,
        me: index,
        dataDir: join(folder, String(index)),
        keySource: { kind: "file", path: key },
        primes,
      });
      const transport = delayed(network.tcp(index, { limits }), () => mesh.delayMs);
      const courier = createCourier(
        { me: index, epoch: 0 },
        {
          transport,
          store: new OutboxMemory(),
          clock: systemClock,
          signer,
          sealing,
          manifest: () => manifest,
        },
      );
      members.push({ index, engine, courier });
    }
    for (const { index, courier } of members) {
      await courier.start({
        message: async (from, message) => {
          if (message.session !== null) mesh.#handlers.get(message.session)?.get(index)?.(from, message);
        },
        peer: () => {},
        refused: (from, code) => console.error(`node ${index} refused a message of node ${from}: ${code}`),
      });
    }
    await waitFor(() => members.every(({ courier }) => courier.peers().filter(({ up }) => up).length === 4));
    return mesh;
  }

  engine(index: NodeIndex): OpenedEngine["engine"] {
    const member = this.#members.find((node) => node.index === index);
    if (member === undefined) throw new RangeError(`no node ${index}`);
    return member.engine;
  }

  /** Runs one engine session at `parties` and gives what each made. @throws Error when one fails */
  async run(parties: readonly NodeIndex[], spec: SpecOf): Promise<ReadonlyMap<NodeIndex, EngineResult>> {
    const session = sessionIdSchema.parse(randomBytes(32).toString("hex"));
    const executionId = executionIdSchema.parse(randomBytes(32).toString("hex"));
    const handlers = new Map<NodeIndex, (from: NodeIndex, message: PeerMessage) => void>();
    this.#handlers.set(session, handlers);
    const running: EngineSession[] = [];
    try {
      const ends = parties.map(
        (me) =>
          new Promise<readonly [NodeIndex, EngineResult]>((resolve, reject) => {
            const opened = this.engine(me).start(spec(me, executionId), {
              send: ({ to, round, payload }) => {
                for (const party of parties) {
                  if (party !== me && (to === null || to === party))
                    this.send(me, party, { kind: "round", session, round, payload, trace: null });
                }
              },
              progress: () => {},
              done: (result) => resolve([me, result]),
              failed: (failure) => reject(new Error(`node ${me}: ${failure.message}`)),
            });
            running.push(opened);
            handlers.set(me, (from, { payload }) => opened.receive(from, payload));
          }),
      );
      return new Map(await Promise.all(ends));
    } finally {
      for (const each of running) each.cancel();
      this.#handlers.delete(session);
    }
  }

  /** Hears of every message of `session` at `node`. */
  listen(
    session: SessionId,
    node: NodeIndex,
    heard: ((from: NodeIndex, message: PeerMessage) => void) | null,
  ): void {
    if (heard === null) this.#handlers.delete(session);
    else this.#handlers.set(session, new Map([[node, heard]]));
  }

  send(from: NodeIndex, to: NodeIndex, message: PeerMessage): void {
    this.#members.find(({ index }) => index === from)?.courier.send(to, message);
  }

  close(): Promise<void> {
    return this.#close();
  }
}

/** A transport whose frames arrive later, in their order. */
function delayed(transport: Transport, delayMs: () => number): Transport {
  return {
    start: (handler) => transport.start(handler),
    send: async (to, frame) => {
      const wait = delayMs();
      // Sent frames are held, not their sender: a far network takes the next frame before it has delivered the last.
      if (wait === 0) return transport.send(to, frame);
      setTimeout(() => void transport.send(to, frame).catch((error) => console.error(error)), wait);
    },
    peers: () => transport.peers(),
    setRefused: (refused) => transport.setRefused(refused),
    close: () => transport.close(),
  };
}

async function waitFor(condition: () => boolean): Promise<void> {
  const end = performance.now() + UP_LIMIT_MS;
  while (!condition()) {
    if (performance.now() > end) throw new Error("the nodes did not connect");
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
