import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clusterIdSchema, type NodeIndex, nodeIndexSchema, systemClock } from "@cairn/core";
import { openSqliteStore } from "@cairn/storage";
import { TcpNetwork } from "../packages/transport/test/tcp-network.ts";
import { type BoxFloor, measureBoxFloor, processor } from "./box-floor.ts";
import { median } from "./spread.ts";

export type PaymentKind = "frost" | "ecdsaCold" | "ecdsaStocked";

/** What a payment cannot go below: its parts, each measured alone in this run. */
export interface Floor {
  readonly roundTripMs: number;
  readonly commitMs: number;
  /** Messages one after another: intent, vote, proposal, Ack, Start, then the rounds of the protocol. */
  readonly hops: number;
  /** Durable writes one after another: intent, vote, certificate, attempt, and the execution's id or the burn. */
  readonly commits: number;
  /** Threshold cryptography of all parties, spread over the cores that they share. */
  readonly cryptographyMs: number;
  readonly totalMs: number;
  /** The same for five nodes on this machine, which do beside each other what the floor counts once. */
  readonly box: BoxFloor;
}

/** Threshold cryptography of one signature, in milliseconds: of one party, and of all together. */
export interface Cryptography {
  readonly party: number;
  readonly all: number;
}

const SAMPLES = 400;
const CONTROL_HOPS = 5;
export const COMMITS = 5;

export const rounds: Readonly<Record<PaymentKind, number>> = { frost: 2, ecdsaCold: 5, ecdsaStocked: 1 };

export async function measureFloor(
  kind: PaymentKind,
  { party, all }: Cryptography,
  cores: number,
): Promise<Floor> {
  const roundTripMs = await roundTrip();
  const { wallMs: commitMs, processorMs } = await commit();
  const cryptographyMs = Math.max(party, all / cores);
  const hops = CONTROL_HOPS + rounds[kind];
  const totalMs = (hops / 2) * roundTripMs + COMMITS * commitMs + cryptographyMs;
  const box = await measureBoxFloor({
    rounds: rounds[kind],
    commitsEach: COMMITS,
    commitMs: processorMs,
    cryptographyMs: all,
    cores,
  });
  return { roundTripMs, commitMs, hops, commits: COMMITS, cryptographyMs, totalMs, box };
}

/** Median time of 1 KiB and its echo between two nodes over mutual TLS on loopback. */
async function roundTrip(): Promise<number> {
  const network = await TcpNetwork.open();
  const limits = { rate: { framesPerSecond: 1e6, bytesPerSecond: 1e10 } };
  const [one, two] = [1, 2].map((index) => nodeIndexSchema.parse(index)) as [NodeIndex, NodeIndex];
  const [here, there] = [network.tcp(one, { limits }), network.tcp(two, { limits })];
  let echoed = () => {};
  const up = Promise.withResolvers<void>();
  try {
    await there.start({ frame: (from, frame) => there.send(from, frame), peer: () => {} });
    await here.start({
      frame: async () => echoed(),
      peer: (status) => {
        if (status.node === two && status.up) up.resolve();
      },
    });
    await up.promise;
    const payload = new Uint8Array(1024);
    const times: number[] = [];
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      const began = performance.now();
      await new Promise<void>((resolve, reject) => {
        echoed = resolve;
        here.send(two, payload).catch(reject);
      });
      times.push(performance.now() - began);
    }
    return median(times.slice(SAMPLES / 4));
  } finally {
    await network.close();
  }
}

/** Median time of one commit of the node's store, alone, and its processor time over all threads. */
async function commit(): Promise<{ readonly wallMs: number; readonly processorMs: number }> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-bench-"));
  const store = await openSqliteStore(
    {
      path: join(folder, "node.db"),
      cluster: clusterIdSchema.parse("1".padStart(64, "0")),
      node: nodeIndexSchema.parse(1),
    },
    { clock: systemClock },
  );
  try {
    const value = new Uint8Array(600);
    const write = (key: number) => store.commit([{ write: "meta", key: `key ${key}`, value }]);
    const times: number[] = [];
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      const began = performance.now();
      await write(sample % 50);
      times.push(performance.now() - began);
    }
    return { wallMs: median(times.slice(SAMPLES / 4)), processorMs: await processor(() => write(0), 40) };
  } finally {
    await store.close();
    await rm(folder, { recursive: true, force: true });
  }
}
