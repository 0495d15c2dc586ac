import assert from "node:assert/strict";
import { connect as connectTcp, createServer as createTcpServer, type Socket } from "node:net";
import { test } from "node:test";
import { connect as connectTls, type TLSSocket } from "node:tls";
import {
  CairnError,
  Ed25519Signer,
  isCairnError,
  type NodeIndex,
  systemClock,
  systemRandom,
} from "@cairn/core";
import {
  certificateToPem,
  createAuthority,
  encodeRevocationList,
  openRevocationList,
  signRevocationList,
  verifyNodeCertificate,
} from "@cairn/pki";
import { FrameSocket, frameTypes, type TypedFrame } from "../src/frame-socket.ts";
import { channelBinding } from "../src/hand-shake.ts";
import { decodeRefusal, encodeHello, type Hello, openHello } from "../src/hello.ts";
import { createTransportMetrics } from "../src/metrics.ts";
import { eventually } from "./eventually.ts";
import { TcpNetwork } from "./tcp-network.ts";
import { nodeOf } from "./test-cluster.ts";
import { begin, Listener } from "./transport-contract.ts";

const one = 1 as NodeIndex;
const two = 2 as NodeIndex;
const three = 3 as NodeIndex;

async function withNetwork(run: (network: TcpNetwork) => Promise<void>): Promise<void> {
  const network = await TcpNetwork.open();
  try {
    await run(network);
  } finally {
    await network.close();
  }
}

/** A TCP connection to a node, made by hand. */
async function knock(
  network: TcpNetwork,
  node: NodeIndex,
  localAddress?: string,
): Promise<{ socket: Socket; closed: Promise<void> }> {
  const socket = connectTcp({
    ...network.place(node),
    ...(localAddress === undefined ? {} : { localAddress }),
  });
  socket.on("error", () => {});
  socket.resume();
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  return { socket, closed };
}

/** Strangers, each from an address of its own, that begin TLS and stay for as long as they may. */
async function crowd(
  network: TcpNetwork,
  node: NodeIndex,
  size: number,
): Promise<{ left: () => number; leave: () => void }> {
  const come = Array.from({ length: size }, async (_, at) => {
    const { socket } = await knock(network, node, `127.66.0.${1 + at}`);
    socket.write(Uint8Array.of(0x16, 0x03, 0x01));
    return socket;
  });
  const sockets = await Promise.all(come);
  return {
    left: () => sockets.filter(({ destroyed }) => !destroyed).length,
    leave: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A TLS connection to a node with a chosen certificate, or none. */
async function dial(
  network: TcpNetwork,
  node: NodeIndex,
  shown: { readonly certificate: Uint8Array; readonly signer: Ed25519Signer } | null,
): Promise<{ socket: TLSSocket; frames: FrameSocket }> {
  const socket = connectTls({
    ...network.place(node),
    ca: [Buffer.from(certificateToPem(network.authority.certificate))],
    minVersion: "TLSv1.3",
    checkServerIdentity: () => undefined,
    ...(shown === null
      ? {}
      : {
          key: Buffer.from(shown.signer.toPem()),
          cert: Buffer.from(certificateToPem(shown.certificate)),
        }),
  });
  const frames = new FrameSocket(socket, { maxQueueBytes: 1 << 24 }, { clock: systemClock });
  await Promise.race([new Promise((resolve) => socket.once("secureConnect", resolve)), frames.ended]);
  return { socket, frames };
}

/** The refusal that a connection ends with, or the code of its error. */
async function refusal(frames: FrameSocket): Promise<string> {
  try {
    for (;;) {
      const frame: TypedFrame = await frames.next();
      if (frame.type === frameTypes.refusal) return decodeRefusal(frame.body);
    }
  } catch (error) {
    return isCairnError(error) ? error.code : String(error);
  }
}

function helloOf(network: TcpNetwork, socket: TLSSocket, change: Partial<Hello> = {}): Hello {
  return {
    version: 1,
    cluster: network.cluster.manifest.cluster,
    from: one,
    to: two,
    role: "dialer",
    boot: "77".repeat(32) as Hello["boot"],
    epoch: 0,
    protocolVersions: [1],
    binding: channelBinding(socket) as Hello["binding"],
    ...change,
  };
}

test("random bytes on the port do no harm", () =>
  withNetwork(async (network) => {
    const b = new Listener(network.tcp(two, { limits: { handshakeTimeoutMs: 500 } }));
    await b.transport.start(b);
    await begin(network, one);
    await eventually(() => assert.equal(b.up(), 1));
    for (let n = 0; n < 10; n++) {
      const { socket, closed } = await knock(network, two);
      socket.write(systemRandom.bytes(1 + n * 100));
      await closed;
    }
    assert.equal(b.up(), 1);
    assert.equal(b.changes.length, 1);
  }));

test("a stalled handshake is cut off and blocks nobody", () =>
  withNetwork(async (network) => {
    const b = new Listener(network.tcp(two, { limits: { handshakeTimeoutMs: 1500 } }));
    await b.transport.start(b);
    const silent = await knock(network, two);
    const slow = await knock(network, two);
    const drip = setInterval(() => slow.socket.write(Buffer.of(0x16)), 100);
    const mute = await dial(network, two, {
      certificate: network.certificate(three),
      signer: nodeOf(network.cluster, 3).signer,
    });
    const a = await begin(network, one);
    await eventually(() => assert.deepEqual([a.up(), b.up()], [1, 1]));
    await Promise.all([silent.closed, slow.closed, mute.frames.ended]);
    clearInterval(drip);
    assert.equal(b.status(three)?.up, false);
  }));

test("strangers beyond the limits are dropped, and members still come in", () =>
  withNetwork(async (network) => {
    const b = new Listener(
      network.tcp(two, {
        limits: { handshakeTimeoutMs: 1000, maxPendingPerAddress: 4, maxPendingStrangers: 8 },
      }),
    );
    await b.transport.start(b);
    const strangers = await Promise.all(Array.from({ length: 12 }, () => knock(network, two)));
    const dropped = await Promise.race([
      Promise.all(strangers.slice(4).map(({ closed }) => closed)).then(() => "dropped"),
      new Promise((resolve) => setTimeout(resolve, 800, "held")),
    ]);
    assert.equal(dropped, "dropped");
    const a = await begin(network, one);
    await eventually(() => assert.deepEqual([a.up(), b.up()], [1, 1]));
    for (const { socket } of strangers) socket.destroy();
  }));

test("a crowd of strangers from many addresses is dropped before TLS, and ends and shuts out no member", () =>
  withNetwork(async (network) => {
    const failures: Record<string, number> = {};
    const metrics = createTransportMetrics({
      counter: (name) => ({
        inc: ({ code }) => {
          if (name === "p2p_connection_failures") failures[code ?? ""] = (failures[code ?? ""] ?? 0) + 1;
        },
      }),
    });
    // Node 2 dials nobody, so that members come to it.
    const manifest = structuredClone(network.cluster.manifest);
    for (const member of manifest.members) member.addresses = [];
    const limits = { maxPendingStrangers: 4, handshakeTimeoutMs: 60_000 };
    const b = new Listener(network.tcp(two, { manifest, limits, metrics }));
    await b.transport.start(b);
    const a = await begin(network, one);
    await eventually(() => assert.deepEqual([a.up(), b.up()], [1, 1]));

    const { left, leave } = await crowd(network, two, 40);
    await eventually(() => assert.equal(left(), 4));
    assert.deepEqual(failures, { "rate-limited": 36 });
    await a.transport.send(two, Buffer.from("still here"));
    await eventually(() => assert.deepEqual(b.texts(), ["still here"]));
    assert.equal(b.changes.length, 1);

    await a.transport.close();
    const again = await begin(network, one);
    await eventually(() => assert.deepEqual([again.up(), b.up()], [1, 1]));
    assert.equal(left(), 4);
    leave();
  }));

test("a member that was never met comes in past a crowd from where the manifest's name for it leads", () =>
  withNetwork(async (network) => {
    const manifest = structuredClone(network.cluster.manifest);
    for (const { index, addresses } of manifest.members) {
      addresses.splice(0, addresses.length, ...(index === one ? ["tcp://localhost:1"] : []));
    }
    const limits = { maxPendingStrangers: 4, handshakeTimeoutMs: 60_000 };
    const b = new Listener(network.tcp(two, { manifest, limits }));
    await b.transport.start(b);
    await eventually(() => assert.equal(b.status(one)?.lastError, "peer-unreachable"));
    const { left, leave } = await crowd(network, two, 8);
    await eventually(() => assert.equal(left(), 4));
    const a = await begin(network, one);
    await eventually(() => assert.deepEqual([a.up(), b.up()], [1, 1]));
    assert.equal(left(), 4);
    leave();
  }));

test("a client without a certificate, or with one of another authority, never comes up", () =>
  withNetwork(async (network) => {
    const b = await begin(network, two);
    const bare = await dial(network, two, null);
    // Whether the alert or the reset is seen first is up to the operating system.
    const ends = ["handshake-failed", "peer-unreachable"];
    assert.ok(ends.includes(await refusal(bare.frames)));
    const foreign = createAuthority({ now: Date.now() }, { random: systemRandom });
    const { signer } = nodeOf(network.cluster, 1);
    const certificate = network.certificate(one, { authority: foreign });
    const stranger = await dial(network, two, { certificate, signer });
    assert.ok(ends.includes(await refusal(stranger.frames)));
    assert.equal(b.changes.length, 0);
  }));

test("a certificate of the CA whose key the manifest does not pin is refused", () =>
  withNetwork(async (network) => {
    await begin(network, two);
    const signer = Ed25519Signer.generate();
    const certificate = network.certificate(one, { identity: signer });
    const { frames } = await dial(network, two, { certificate, signer });
    assert.equal(await refusal(frames), "certificate-refused");
  }));

test("a server with another member's certificate is refused by the dialer", () =>
  withNetwork(async (network) => {
    // Node 1 listens where the manifest expects node 3.
    const manifest = structuredClone(network.cluster.manifest);
    const [first, , third] = manifest.members;
    assert.ok(first && third);
    first.addresses = [];
    third.addresses = [`tcp://${network.place(one).address}`];
    const a = await begin(network, one);
    const b = new Listener(network.tcp(two, { manifest }));
    await b.transport.start(b);
    await eventually(() => assert.equal(b.status(three)?.lastError, "certificate-refused"));
    assert.equal(b.status(three)?.up, false);
    assert.ok(a.changes.every(({ node }) => node !== three));
  }));

test("a HELLO that names another index, cluster, node, role or version is refused by name", () =>
  withNetwork(async (network) => {
    const b = await begin(network, two);
    const { signer } = nodeOf(network.cluster, 1);
    const shown = { certificate: network.certificate(one), signer };
    const cases: readonly (readonly [Partial<Hello>, Ed25519Signer, string])[] = [
      [{ from: three }, signer, "not-member"],
      [{ from: three }, nodeOf(network.cluster, 3).signer, "not-member"],
      [{ cluster: "00".repeat(32) as never }, signer, "wrong-cluster"],
      [{ to: three }, signer, "wrong-recipient"],
      [{ role: "listener" }, signer, "handshake-failed"],
      [{ protocolVersions: [9] }, signer, "unsupported-version"],
      [{}, nodeOf(network.cluster, 3).signer, "signature-invalid"],
    ];
    for (const [change, by, code] of cases) {
      const { socket, frames } = await dial(network, two, shown);
      await frames.write(frameTypes.hello, encodeHello(helloOf(network, socket, change), by));
      assert.equal(await refusal(frames), code);
    }
    assert.equal(b.changes.length, 0);
  }));

test("a HELLO recorded on one connection is refused on another", () =>
  withNetwork(async (network) => {
    const b = await begin(network, two);
    const { signer } = nodeOf(network.cluster, 1);
    const shown = { certificate: network.certificate(one), signer };
    const first = await dial(network, two, shown);
    const recorded = encodeHello(helloOf(network, first.socket), signer);
    const second = await dial(network, two, shown);
    await second.frames.write(frameTypes.hello, recorded);
    assert.equal(await refusal(second.frames), "handshake-failed");
    await first.frames.write(frameTypes.hello, recorded);
    const answer = await first.frames.next();
    assert.equal(answer.type, frameTypes.hello);
    openHello(answer.body, {
      cluster: network.cluster.manifest.cluster,
      from: two,
      me: one,
      role: "listener",
      binding: channelBinding(first.socket),
      senderKey: nodeOf(network.cluster, 2).signer.publicKey,
    });
    assert.equal(b.up(), 0, "no READY, not up");
    first.frames.widen();
    await first.frames.write(frameTypes.ready, new Uint8Array());
    await eventually(() => assert.equal(b.up(), 1));
    first.socket.destroy();
    second.socket.destroy();
  }));

test("data before the end of HELLO, frames larger than the limit and unknown types end the connection", () =>
  withNetwork(async (network) => {
    const b = await begin(network, two);
    const { signer } = nodeOf(network.cluster, 1);
    const shown = { certificate: network.certificate(one), signer };
    const early = await dial(network, two, shown);
    await early.frames.write(frameTypes.data, Buffer.from("early"));
    assert.equal(await refusal(early.frames), "handshake-failed");
    const large = await dial(network, two, shown);
    large.socket.write(Buffer.from([0, 0, 0x20, 0]));
    assert.equal(await refusal(large.frames), "too-large");
    for (const [bytes, code] of [
      [Buffer.from([0, 0x40, 0, 2]), "too-large"],
      [Buffer.from([0, 0, 0, 1, 99]), "malformed"],
      [Buffer.from([0, 0, 0, 0]), "malformed"],
      [Buffer.from([0, 0, 0, 2, frameTypes.ping, 0]), "malformed"],
    ] as const) {
      const { socket, frames } = await dial(network, two, shown);
      await frames.write(frameTypes.hello, encodeHello(helloOf(network, socket), signer));
      assert.equal((await frames.next()).type, frameTypes.hello);
      frames.widen();
      await frames.write(frameTypes.ready, new Uint8Array());
      await eventually(() => assert.equal(b.up(), 1));
      socket.write(bytes);
      assert.equal(await refusal(frames), code);
      await eventually(() => assert.equal(b.up(), 0));
    }
    assert.equal(b.got.length, 0);
  }));

test("a banned member hears NodeBanned before its HELLO is read", () =>
  withNetwork(async (network) => {
    const b = await begin(network, two);
    b.transport.setRefused(new Set([one]));
    const { signer } = nodeOf(network.cluster, 1);
    const { frames } = await dial(network, two, { certificate: network.certificate(one), signer });
    assert.equal(await refusal(frames), "NodeBanned");
  }));

test("of two nodes that dial each other at once, one connection stays and carries frames both ways", () =>
  withNetwork(async (network) => {
    for (let round = 0; round < 5; round++) {
      const limits = { headStartMs: 0 };
      const a = new Listener(network.tcp(one, { limits }));
      const b = new Listener(network.tcp(two, { limits }));
      await Promise.all([a.transport.start(a), b.transport.start(b)]);
      await eventually(() => assert.deepEqual([a.up(), b.up()], [1, 1]));
      await eventually(async () => {
        await a.transport.send(two, Buffer.from("ping"));
        await b.transport.send(one, Buffer.from("pong"));
      });
      await eventually(() => assert.ok(a.texts().includes("pong") && b.texts().includes("ping")));
      await Promise.all([a.transport.close(), b.transport.close()]);
    }
  }));

test("a peer that vanishes without a word is down after the liveness timeout, and a half-open connection is replaced", () =>
  withNetwork(async (network) => {
    // A proxy that can swallow everything stands between the two.
    let swallow = false;
    const pairs: Socket[] = [];
    const proxy = createTcpServer((client) => {
      const server = connectTcp(network.place(two));
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        pairs.push(from);
        from.on("error", () => {});
        from.on("data", (chunk) => {
          if (!swallow) to.write(chunk);
        });
        from.on("close", () => {
          if (!swallow) to.destroy();
        });
      }
    });
    await new Promise<void>((resolve) => proxy.listen({ host: "127.0.0.1", port: 0 }, resolve));
    const address = proxy.address();
    assert.ok(address !== null && typeof address === "object");
    try {
      const manifest = structuredClone(network.cluster.manifest);
      const second = manifest.members[1];
      assert.ok(second);
      second.addresses = [`tcp://127.0.0.1:${address.port}`];
      const limits = { pingIntervalMs: 100, livenessTimeoutMs: 600, handshakeTimeoutMs: 500 };
      const a = new Listener(network.tcp(one, { manifest, limits }));
      // Node 2 can't dial node 1, so that all goes through the proxy.
      const blind = structuredClone(network.cluster.manifest);
      for (const member of blind.members) member.addresses = [];
      const b = new Listener(
        network.tcp(two, { manifest: blind, limits: { ...limits, livenessTimeoutMs: 60_000 } }),
      );
      await Promise.all([a.transport.start(a), b.transport.start(b)]);
      await eventually(() => assert.deepEqual([a.up(), b.up()], [1, 1]));
      await eventually(() => assert.ok((a.status(two)?.roundTripMs ?? -1) >= 0));
      swallow = true;
      await eventually(() => assert.equal(a.status(two)?.lastError, "timeout"));
      assert.equal(b.up(), 1, "node 2 still believes in its half of the connection");
      swallow = false;
      await eventually(() => assert.equal(a.up(), 1));
      await eventually(() =>
        assert.deepEqual(
          b.changes.map(({ up }) => up),
          [true, false, true],
        ),
      );
      await a.transport.send(two, Buffer.from("through"));
      await eventually(() => assert.deepEqual(b.texts(), ["through"]));
    } finally {
      for (const socket of pairs) socket.destroy();
      await new Promise((resolve) => proxy.close(resolve));
    }
  }));

test("a new certificate is shown without ending connections, and a revoked one ends them", () =>
  withNetwork(async (network) => {
    const first = network.certificate(one);
    const a = network.tcp(one, { certificate: first });
    const b = network.tcp(two);
    const [left, right] = [new Listener(a), new Listener(b)];
    await a.start(left);
    await b.start(right);
    await eventually(() => assert.deepEqual([left.up(), right.up()], [1, 1]));
    const authority = network.authority.certificate;
    const second = network.certificate(one);
    a.setCredentials({ certificate: second, authority, revocations: null });
    await a.send(two, Buffer.from("still here"));
    await eventually(() => assert.deepEqual(right.texts(), ["still here"]));
    assert.deepEqual(
      right.changes.map(({ up }) => up),
      [true],
    );

    const { manifest } = network.cluster;
    const { serial } = verifyNodeCertificate(first, {
      manifest,
      authority,
      index: one,
      now: Date.now(),
      revocations: null,
    });
    const issuedAt = systemClock.now();
    const list = {
      version: 1 as const,
      cluster: manifest.cluster,
      number: 1,
      issuedAt,
      revoked: [{ serial, revokedAt: issuedAt, reason: "rotated" }],
    };
    const encoded = encodeRevocationList(signRevocationList(network.authority, list));
    const revocations = openRevocationList(encoded, { authority, cluster: manifest.cluster, atLeast: 0 });
    b.setCredentials({ certificate: network.certificate(two), authority, revocations });
    // The connection rested on the revoked certificate; the next one shows the new one.
    await eventually(() =>
      assert.deepEqual(
        right.changes.map(({ up }) => up),
        [true, false, true],
      ),
    );
    const { signer } = nodeOf(network.cluster, 1);
    const thief = await dial(network, two, { certificate: first, signer });
    assert.equal(await refusal(thief.frames), "certificate-refused");
  }));

test("credentials that are not this node's are refused and the old ones stay", () =>
  withNetwork(async (network) => {
    const a = network.tcp(one);
    const authority = network.authority.certificate;
    assert.throws(
      () => a.setCredentials({ certificate: network.certificate(two), authority, revocations: null }),
      (error) => isCairnError(error, "certificate-refused"),
    );
    assert.throws(() => network.tcp(one, { certificate: network.certificate(two) }), isCairnError);
    const left = new Listener(a);
    await a.start(left);
    const right = await begin(network, two);
    await eventually(() => assert.deepEqual([left.up(), right.up()], [1, 1]));
  }));

test("a connection ends when the peer's certificate does", () =>
  withNetwork(async (network) => {
    const certificate = network.certificate(one, { validForMs: 3000 });
    const limits = { pingIntervalMs: 100 };
    const a = new Listener(network.tcp(one, { certificate, limits }));
    const b = new Listener(network.tcp(two, { limits }));
    await a.transport.start(a);
    await b.transport.start(b);
    await eventually(() => assert.deepEqual([a.up(), b.up()], [1, 1]));
    await eventually(() => assert.ok(b.changes.some(({ lastError }) => lastError === "certificate-expired")));
    assert.equal(b.up(), 0);
  }));

test("a member that a new manifest leaves out is cut off", () =>
  withNetwork(async (network) => {
    const a = network.tcp(one);
    const left = new Listener(a);
    await a.start(left);
    await begin(network, two);
    await begin(network, 5 as NodeIndex);
    await eventually(() => assert.equal(left.up(), 2));
    const { manifest } = network.cluster;
    a.setManifest({ ...manifest, members: manifest.members.slice(0, 4) });
    assert.deepEqual(
      left.transport.peers().map(({ node, up }) => [node, up]),
      [
        [2, true],
        [3, false],
        [4, false],
      ],
    );
  }));

test("a handler that rejects ends the connection, and the peer comes back", () =>
  withNetwork(async (network) => {
    const reports: unknown[] = [];
    const b = new Listener(network.tcp(two, { report: (cause) => void reports.push(cause) }));
    await b.transport.start(b);
    const a = await begin(network, one);
    await eventually(() => assert.deepEqual([a.up(), b.up()], [1, 1]));
    b.onFrame = async () => {
      throw new TypeError("a fault of the program");
    };
    await a.transport.send(two, Buffer.from("x"));
    await eventually(() =>
      assert.deepEqual(
        b.changes.map(({ up }) => up),
        [true, false, true],
      ),
    );
    assert.ok(reports.some((cause) => cause instanceof TypeError));
  }));

test("a peer that exceeds its rate is slowed down and loses nothing", () =>
  withNetwork(async (network) => {
    const rate = { framesPerSecond: 50, bytesPerSecond: 1 << 20 };
    const b = new Listener(network.tcp(two, { limits: { rate } }));
    await b.transport.start(b);
    const a = await begin(network, one);
    await eventually(() => assert.deepEqual([a.up(), b.up()], [1, 1]));
    const began = performance.now();
    for (let n = 0; n < 150; n++) await a.transport.send(two, Buffer.from(`${n}`));
    await eventually(() => assert.equal(b.got.length, 150));
    assert.ok(performance.now() - began > 800, "100 at once, 50 more in a second");
  }));

test("a port that is taken is a configuration error that says so", () =>
  withNetwork(async (network) => {
    await begin(network, one);
    const second = network.tcp(one);
    await assert.rejects(second.start(new Listener(second)), (error) =>
      isCairnError(error, "config-invalid"),
    );
    assert.ok(new CairnError("config-invalid", "") instanceof Error);
  }));
