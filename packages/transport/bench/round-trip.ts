/**
 * Round trips between two nodes on loopback: bare node:tls, the tcp transport, and the courier with its sealed envelopes, all in one run,
 * so that the ratios hold on a noisy machine.
 *
 *   node packages/transport/bench/round-trip.ts
 */
import { connect, createServer } from "node:tls";
import { type NodeIndex, type PeerMessage, systemClock } from "@cairn/core";
import { certificateToPem } from "@cairn/pki";
import { FrameDecoder } from "../src/frame-decoder.ts";
import { createCourier } from "../src/index.ts";
import { eventually } from "../test/eventually.ts";
import { OutboxMemory } from "../test/outbox-memory.ts";
import { TcpNetwork } from "../test/tcp-network.ts";
import { nodeOf } from "../test/test-cluster.ts";

const one = 1 as NodeIndex;
const two = 2 as NodeIndex;
const SIZES = [1024, 65_536];
const WARM_UP = 200;
const ROUNDS = 1000;
const limits = { rate: { framesPerSecond: 1e6, bytesPerSecond: 1e10 } };

/** Sends and waits for the echo. */
type Trip = (payload: Uint8Array) => Promise<void>;

interface Contender {
  readonly name: string;
  readonly trip: Trip;
  close(): Promise<void>;
}

async function bareTls(): Promise<Contender> {
  const network = await TcpNetwork.open();
  const secure = (node: NodeIndex) => ({
    key: Buffer.from(nodeOf(network.cluster, node).signer.toPem()),
    cert: Buffer.from(certificateToPem(network.certificate(node))),
    ca: [Buffer.from(certificateToPem(network.authority.certificate))],
    minVersion: "TLSv1.3" as const,
  });
  const framed = (body: Uint8Array) => {
    const bytes = Buffer.allocUnsafe(4 + body.length);
    bytes.writeUInt32BE(body.length, 0);
    bytes.set(body, 4);
    return bytes;
  };
  const server = createServer({ ...secure(two), requestCert: true, rejectUnauthorized: true }, (socket) => {
    socket.setNoDelay(true);
    const decoder = new FrameDecoder(1 << 24);
    socket.on("data", (chunk) => {
      for (const frame of decoder.push(chunk)) socket.write(framed(frame));
    });
  });
  const { host, port } = network.place(two);
  await new Promise<void>((resolve) => server.listen({ host, port }, resolve));
  const socket = connect({ ...secure(one), host, port, checkServerIdentity: () => undefined });
  socket.setNoDelay(true);
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  let echoed = () => {};
  const decoder = new FrameDecoder(1 << 24);
  socket.on("data", (chunk) => {
    for (const _ of decoder.push(chunk)) echoed();
  });
  return {
    name: "node:tls",
    trip: (payload) =>
      new Promise((resolve) => {
        echoed = resolve;
        socket.write(framed(payload));
      }),
    close: async () => {
      socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      await network.close();
    },
  };
}

async function transport(): Promise<Contender> {
  const network = await TcpNetwork.open();
  const [a, b] = [network.tcp(one, { limits }), network.tcp(two, { limits })];
  let echoed = () => {};
  await a.start({ frame: async () => echoed(), peer: () => {} });
  await b.start({
    frame: async (from, frame) => {
      void b.send(from, frame);
    },
    peer: () => {},
  });
  await eventually(() => {
    if (![...a.peers(), ...b.peers()].filter(({ up }) => up)[1]) throw new Error("the nodes did not connect");
  });
  return {
    name: "tcp transport",
    trip: (payload) =>
      new Promise((resolve, reject) => {
        echoed = resolve;
        a.send(two, payload).catch(reject);
      }),
    close: () => network.close(),
  };
}

async function courier(): Promise<Contender> {
  const network = await TcpNetwork.open();
  const make = (node: NodeIndex) =>
    createCourier(
      { me: node, epoch: 0 },
      {
        transport: network.tcp(node, { limits }),
        store: new OutboxMemory(),
        clock: systemClock,
        signer: nodeOf(network.cluster, node).signer,
        sealing: nodeOf(network.cluster, node).sealing,
        manifest: () => network.cluster.manifest,
      },
    );
  const [a, b] = [make(one), make(two)];
  let echoed = () => {};
  await a.start({ message: async () => echoed(), peer: () => {}, refused: () => {} });
  await b.start({
    message: async (from, message) => b.send(from, message),
    peer: () => {},
    refused: () => {},
  });
  await eventually(() => {
    if (![...a.peers(), ...b.peers()].filter(({ up }) => up)[1]) throw new Error("the nodes did not connect");
  });
  return {
    name: "courier (sealed, signed)",
    trip: (payload) =>
      new Promise((resolve) => {
        echoed = resolve;
        const message: PeerMessage = { kind: "ack", session: null, round: 0, payload, trace: null };
        a.send(two, message);
      }),
    close: async () => {
      await a.close();
      await b.close();
      await network.close();
    },
  };
}

async function p50(trip: Trip, bytes: number): Promise<number> {
  const payload = new Uint8Array(bytes).fill(7);
  for (let n = 0; n < WARM_UP; n++) await trip(payload);
  const times: number[] = [];
  for (let n = 0; n < ROUNDS; n++) {
    const began = performance.now();
    await trip(payload);
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  return (times[ROUNDS / 2] ?? Number.NaN) * 1000;
}

const contenders = [await bareTls(), await transport(), await courier()];
for (const bytes of SIZES) {
  let base = Number.NaN;
  for (const { name, trip } of contenders) {
    const micros = await p50(trip, bytes);
    if (Number.isNaN(base)) base = micros;
    console.log(
      `${String(bytes / 1024).padStart(3)} KiB  ${name.padEnd(26)} p50 ${micros.toFixed(0).padStart(6)} µs  × ${(micros / base).toFixed(2)}`,
    );
  }
}
for (const { close } of contenders) await close();
