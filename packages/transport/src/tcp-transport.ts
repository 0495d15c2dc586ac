import { constants } from "node:crypto";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import {
  connect,
  createSecureContext,
  createServer as createTlsServer,
  type SecureContext,
  type SecureContextOptions,
  type TLSSocket,
  type Server as TlsServer,
} from "node:tls";
import {
  CairnError,
  type Clock,
  type Ed25519Signer,
  isCairnError,
  MAX_FRAME_BYTES,
  type Manifest,
  type NodeIndex,
  type Nonce,
  type PeerStatus,
  type Random,
  type Timer,
  type Transport,
  type TransportHandler,
  toHex,
  type UnixMs,
} from "@cairn/core";
import {
  certificateToPem,
  nodeName,
  type RevocationList,
  type VerifiedCertificate,
  verifyNodeCertificate,
} from "@cairn/pki";
import { ConnectionGate } from "./connection-gate.ts";
import { FrameSocket, frameTypes, socketError } from "./frame-socket.ts";
import { channelBinding, greetDialer, greetListener, type Handshake, refusalIn } from "./hand-shake.ts";
import type { Hello } from "./hello.ts";
import { MemberAddresses } from "./member-addresses.ts";
import { createTransportMetrics, type TransportMetrics } from "./metrics.ts";
import { parsePeerAddress } from "./peer-address.ts";
import { RateLimiter, type RateLimits } from "./rate-limiter.ts";
import { reconnectDelay } from "./reconnect-delay.ts";

/** What a node shows at TLS, and what it checks there. */
export interface TcpCredentials {
  /** Own certificate, DER. */
  readonly certificate: Uint8Array;
  /** The CA's certificate, DER. */
  readonly authority: Uint8Array;
  readonly revocations: RevocationList | null;
}

export interface TcpTransportOptions {
  readonly me: NodeIndex;
  /** This node's epoch. */
  readonly epoch: number;
  /** Versions of the peer protocol that this program speaks; those that the manifest also allows are offered. */
  readonly protocolVersions: readonly number[];
  /** Where to listen; port 0 takes a free one. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly manifest: Manifest;
  readonly credentials: TcpCredentials;
  readonly limits?: Partial<TcpLimits>;
}

export interface TcpLimits {
  /** From the TCP connection to the end of HELLO; 10 s. */
  readonly handshakeTimeoutMs: number;
  /** Between pings; 5 s. */
  readonly pingIntervalMs: number;
  /** Silence after which a peer is down; 15 s. */
  readonly livenessTimeoutMs: number;
  /** First and longest wait before dialing again; 200 ms and 15 s. */
  readonly reconnectBaseMs: number;
  readonly reconnectMaxMs: number;
  /** What the node with the higher index grants the lower one to dial first; 300 ms. */
  readonly headStartMs: number;
  /** Bytes that may wait to be written to one peer; 16 MiB. */
  readonly maxQueueBytes: number;
  /** Connections without HELLO, of all strangers and of one remote address; 64 and 16. */
  readonly maxPendingStrangers: number;
  readonly maxPendingPerAddress: number;
  /** New connections a second, of all strangers and of one remote address; 50 and 20. */
  readonly strangersPerSecond: number;
  readonly attemptsPerSecond: number;
  /** What one peer may send; 5,000 frames and 64 MiB a second. */
  readonly rate: RateLimits;
}

const DEFAULT_LIMITS: TcpLimits = {
  handshakeTimeoutMs: 10_000,
  pingIntervalMs: 5000,
  livenessTimeoutMs: 15_000,
  reconnectBaseMs: 200,
  reconnectMaxMs: 15_000,
  headStartMs: 300,
  maxQueueBytes: 16 * 1024 * 1024,
  maxPendingStrangers: 64,
  maxPendingPerAddress: 16,
  strangersPerSecond: 50,
  attemptsPerSecond: 20,
  rate: { framesPerSecond: 5000, bytesPerSecond: 64 * 1024 * 1024 },
};

export interface TcpTransportModules {
  readonly clock: Clock;
  readonly random: Random;
  /** The node's identity: its TLS key, and signer of its HELLOs. */
  readonly signer: Ed25519Signer;
  readonly metrics?: TransportMetrics;
  /** Faults of this node itself, and connections that were refused, for the log. */
  readonly report?: (cause: unknown) => void;
}

/** A {@link Transport} over TCP with mutually authenticated TLS 1.3. */
export interface TcpTransport extends Transport {
  /** Where it listens. @throws CairnError `wrong-state` before {@link Transport.start} */
  address(): { readonly host: string; readonly port: number };
  /**
   * Shows a new certificate, and checks peers against a new revocation list, from the next connection on. Connections whose peer
   * passes the new checks stay.
   */
  setCredentials(credentials: TcpCredentials): void;
  /** Follows a new manifest: members, keys and addresses. Connections to members whose identity stayed are kept. */
  setManifest(manifest: Manifest): void;
}

/**
 * TCP with mutual TLS 1.3 and length-prefixed frames: u32 big-endian length, one byte of type, body.
 *
 * A peer is up only after HELLO: dialer's HELLO, listener's HELLO, dialer's READY, each HELLO signed over cluster, both indices, epoch,
 * versions and the TLS connection's exported keying material. Each node dials whom it is not connected to, the lower index first. Of two connections of one pair
 * that meet, both sides keep the one that the lower index dialed; when a peer dials anew while this side believes it to be connected, the
 * older connection is dead and the new one wins.
 */
export function createTcpTransport(options: TcpTransportOptions, modules: TcpTransportModules): TcpTransport {
  return new NodeTcpTransport(options, modules);
}

/** A connection after HELLO. */
interface Link {
  readonly frames: FrameSocket;
  readonly dialer: NodeIndex;
  readonly boot: Nonce;
  /** Monotonic time of the end of HELLO. */
  readonly since: number;
  /** DER. */
  readonly certificate: Uint8Array;
  readonly notAfter: UnixMs;
  heartbeat: Timer | null;
}

interface Peer {
  readonly index: NodeIndex;
  status: PeerStatus;
  link: Link | null;
  /** Ends the dial under way. */
  dialing: (() => void) | null;
  retry: Timer | null;
  attempts: number;
}

/** Two connections of one pair within this time are a race; later, the new one tells that the old one is dead. */
const RACE_MS = 2000;

class NodeTcpTransport implements TcpTransport {
  readonly #options: TcpTransportOptions;
  readonly #modules: TcpTransportModules;
  readonly #limits: TcpLimits;
  readonly #metrics: TransportMetrics;
  readonly #gate: ConnectionGate;
  readonly #memberAddresses = new MemberAddresses();
  readonly #boot: Nonce;
  readonly #peers = new Map<NodeIndex, Peer>();
  /** Every socket that is open, for {@link close}. */
  readonly #sockets = new Set<Socket>();
  /** Ends of handshakes under way at the listener, by the raw connection's remote address and port. */
  readonly #pending = new Map<string, () => void>();
  #manifest: Manifest;
  #credentials: TcpCredentials;
  #context: SecureContext;
  #server: Server | null = null;
  /** Does not listen: it gets the connections that passed the gate. */
  #tls: TlsServer | null = null;
  #handler: TransportHandler | null = null;
  #refused: ReadonlySet<NodeIndex> = new Set();
  #closing: Promise<void> | null = null;

  constructor(options: TcpTransportOptions, modules: TcpTransportModules) {
    this.#options = options;
    this.#modules = modules;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#metrics = modules.metrics ?? createTransportMetrics(null);
    this.#gate = new ConnectionGate(this.#limits, modules.clock.monotonic());
    this.#boot = toHex(modules.random.bytes(32)) as Nonce;
    this.#manifest = options.manifest;
    this.#credentials = options.credentials;
    this.#verify(options.credentials.certificate, options.me);
    this.#context = createSecureContext(this.#secureOptions());
    this.#followManifest();
  }

  async start(handler: TransportHandler): Promise<void> {
    if (this.#closing !== null) throw closedError();
    if (this.#handler !== null) throw new CairnError("wrong-state", "the transport has started already");
    this.#handler = handler;
    const tls = createTlsServer({
      ...this.#secureOptions(),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: this.#limits.handshakeTimeoutMs,
    });
    this.#tls = tls;
    tls.on("secureConnection", (socket) => void this.#accept(socket));
    tls.on("tlsClientError", (cause: Error) => this.#failed(socketError(cause)));
    const server = createTcpServer((socket) => this.#knock(socket, tls));
    this.#server = server;
    await listen(server, this.#options.listen);
    server.on("error", (cause) => this.#report(cause));
    for (const peer of this.#peers.values()) this.#dialLater(peer);
  }

  async send(to: NodeIndex, frame: Uint8Array): Promise<void> {
    if (this.#closing !== null) throw closedError();
    if (frame.length > MAX_FRAME_BYTES) {
      throw new CairnError("too-large", "the frame is larger than peers accept", {
        bytes: frame.length,
        limit: MAX_FRAME_BYTES,
      });
    }
    const link = this.#peers.get(to)?.link;
    if (link === undefined || link === null) {
      throw new CairnError("peer-unreachable", `node ${to} is not connected`, { node: to });
    }
    try {
      await link.frames.write(frameTypes.data, frame);
    } catch (error) {
      if (isCairnError(error, "busy")) throw error;
      if (this.#closing !== null) throw closedError();
      throw new CairnError("peer-unreachable", `node ${to} went down`, { node: to }, { cause: error });
    }
    this.#metrics.bytes.inc({ direction: "out" }, frame.length);
  }

  peers(): readonly PeerStatus[] {
    return [...this.#peers.values()].map(currentStatus);
  }

  setRefused(refused: ReadonlySet<NodeIndex>): void {
    this.#refused = new Set(refused);
    for (const peer of this.#peers.values()) {
      if (this.#refused.has(peer.index)) this.#drop(peer, bannedError(peer.index));
      else this.#dialLater(peer);
    }
  }

  address(): { readonly host: string; readonly port: number } {
    const address = this.#server?.address();
    if (address === undefined || address === null || typeof address === "string") {
      throw new CairnError("wrong-state", "the transport does not listen");
    }
    return { host: address.address, port: address.port };
  }

  setCredentials(credentials: TcpCredentials): void {
    const before = this.#credentials;
    this.#credentials = credentials;
    try {
      this.#verify(credentials.certificate, this.#options.me);
    } catch (error) {
      this.#credentials = before;
      throw error;
    }
    this.#context = createSecureContext(this.#secureOptions());
    this.#tls?.setSecureContext(this.#secureOptions());
    this.#recheck();
  }

  setManifest(manifest: Manifest): void {
    this.#manifest = manifest;
    this.#followManifest();
    this.#recheck();
    for (const peer of this.#peers.values()) this.#dialLater(peer);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // Let `#closing` be set before anything ends.
    await Promise.resolve();
    for (const peer of this.#peers.values()) this.#drop(peer, closedError());
    const server = this.#server;
    const closed = server === null ? null : new Promise<void>((resolve) => server.close(() => resolve()));
    // Those that have just been told why take a moment to send it.
    const told = new Promise<void>((resolve) => setImmediate(resolve));
    await told;
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #secureOptions(): SecureContextOptions {
    const { certificate, authority } = this.#credentials;
    return {
      key: Buffer.from(this.#modules.signer.toPem()),
      cert: Buffer.from(certificateToPem(certificate)),
      ca: [Buffer.from(certificateToPem(authority))],
      minVersion: "TLSv1.3",
      maxVersion: "TLSv1.3",
      sigalgs: "ed25519",
      // Each connection shows its certificate anew: a resumed one would rest on an earlier check.
      secureOptions: constants.SSL_OP_NO_TICKET,
    };
  }

  #verify(certificate: Uint8Array, index: NodeIndex | null): VerifiedCertificate {
    return verifyNodeCertificate(certificate, {
      manifest: this.#manifest,
      authority: this.#credentials.authority,
      revocations: this.#credentials.revocations,
      index,
      now: this.#modules.clock.now(),
    });
  }

  /** Ends connections whose certificate no longer passes. */
  #recheck(): void {
    for (const peer of this.#peers.values()) {
      const { link } = peer;
      if (link === null) continue;
      try {
        this.#verify(link.certificate, peer.index);
      } catch (error) {
        if (!isCairnError(error)) throw error;
        this.#drop(peer, error);
        this.#dialLater(peer);
      }
    }
  }

  #followManifest(): void {
    this.#memberAddresses.follow(this.#manifest.members);
    const members = new Set(this.#manifest.members.map(({ index }) => index));
    for (const peer of this.#peers.values()) {
      if (members.has(peer.index)) continue;
      this.#drop(peer, new CairnError("not-member", "the node is no member any more", { node: peer.index }));
      this.#peers.delete(peer.index);
    }
    for (const index of members) {
      if (index === this.#options.me || this.#peers.has(index)) continue;
      const status = {
        node: index,
        up: false,
        lastSeen: null,
        roundTripMs: null,
        protocolVersion: null,
        epoch: null,
        lastError: null,
      };
      this.#peers.set(index, { index, status, link: null, dialing: null, retry: null, attempts: 0 });
    }
  }

  #versions(): readonly number[] {
    return this.#options.protocolVersions.filter((version) =>
      this.#manifest.protocolVersions.includes(version),
    );
  }

  #self() {
    return {
      me: this.#options.me,
      boot: this.#boot,
      epoch: this.#options.epoch,
      protocolVersions: this.#versions(),
      manifest: this.#manifest,
      signer: this.#modules.signer,
    };
  }

  /** Somebody has connected: bounds first, TLS after. */
  #knock(socket: Socket, tls: TlsServer): void {
    const address = socket.remoteAddress ?? "";
    const { clock } = this.#modules;
    const expected = this.#memberAddresses.has(address, this.#refused);
    const leave = this.#closing === null ? this.#gate.enter(address, expected, clock.monotonic()) : null;
    if (leave === null) {
      this.#metrics.connectionFailures.inc({ code: "rate-limited" });
      socket.destroy();
      return;
    }
    const name = `${address} ${socket.remotePort}`;
    const deadline = clock.after(this.#limits.handshakeTimeoutMs, () => socket.destroy());
    const done = () => {
      deadline.cancel();
      leave();
      this.#pending.delete(name);
    };
    this.#pending.set(name, done);
    this.#track(socket);
    socket.once("close", done);
    tls.emit("connection", socket);
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  async #accept(socket: TLSSocket): Promise<void> {
    const address = socket.remoteAddress ?? "";
    const name = `${address} ${socket.remotePort}`;
    this.#track(socket);
    const frames = this.#frames(socket);
    try {
      const certificate = socket.getPeerX509Certificate()?.raw ?? new Uint8Array();
      const { index, notAfter } = this.#verify(certificate, null);
      if (this.#refused.has(index)) throw bannedError(index);
      const peer = this.#peers.get(index);
      if (peer === undefined) {
        throw new CairnError("not-member", "a node does not connect to itself", { node: index });
      }
      const handshake = await greetDialer(frames, channelBinding(socket), index, this.#self(), (hello) =>
        this.#beforeCommitting(peer, index, hello),
      );
      this.#whenComplete(peer, index, handshake.hello);
      this.#metrics.connections.inc({ direction: "in" });
      this.#memberAddresses.met(index, address);
      this.#adopt(peer, this.#link(frames, index, handshake, certificate, notAfter), handshake);
    } catch (error) {
      this.#refuse(frames, error);
    } finally {
      this.#pending.get(name)?.();
    }
  }

  #dialLater(peer: Peer): void {
    const idle = peer.link === null && peer.dialing === null && peer.retry === null;
    if (!idle || this.#closing !== null || this.#handler === null || this.#refused.has(peer.index)) return;
    // A node without an address here, behind NAT for one, dials itself.
    if (this.#addresses(peer).length === 0) return;
    const { reconnectBaseMs, reconnectMaxMs, headStartMs } = this.#limits;
    const { clock, random } = this.#modules;
    const backoff = { baseMs: reconnectBaseMs, maxMs: reconnectMaxMs };
    // The first attempt is immediate for the lower index and a little later for the higher.
    const wait =
      (peer.attempts === 0 ? 0 : reconnectDelay(peer.attempts - 1, backoff, random)) +
      (this.#options.me > peer.index ? headStartMs : 0);
    peer.retry = clock.after(wait, () => {
      peer.retry = null;
      if (peer.link === null && peer.dialing === null) void this.#dial(peer);
    });
  }

  #addresses(peer: Peer): readonly string[] {
    const member = this.#manifest.members.find(({ index }) => index === peer.index);
    return member?.addresses.filter((address) => address.startsWith("tcp:")) ?? [];
  }

  async #dial(peer: Peer): Promise<void> {
    const attempt = peer.attempts++;
    try {
      const addresses = this.#addresses(peer);
      const address = addresses[attempt % Math.max(1, addresses.length)];
      if (address === undefined) {
        throw new CairnError("peer-unreachable", `the manifest names no tcp address of node ${peer.index}`, {
          node: peer.index,
        });
      }
      await this.#dialAddress(peer, parsePeerAddress(address));
    } catch (error) {
      // Otherwise the peer's own connection was there first.
      if (peer.link === null) {
        const failure = isCairnError(error)
          ? error
          : new CairnError("internal", "the dial failed", {}, { cause: error });
        this.#failed(failure);
        peer.status = { ...peer.status, lastError: failure.code };
      }
    } finally {
      peer.dialing = null;
      this.#dialLater(peer);
    }
  }

  async #dialAddress(peer: Peer, { host, port }: { host: string; port: number }): Promise<void> {
    const { clock } = this.#modules;
    const name = nodeName(this.#manifest.cluster, peer.index);
    const socket = connect({
      host,
      port,
      secureContext: this.#context,
      minVersion: "TLSv1.3",
      maxVersion: "TLSv1.3",
      servername: name.dns,
      rejectUnauthorized: true,
      checkServerIdentity: (_, { raw }) => {
        try {
          this.#verify(raw, peer.index);
          return undefined;
        } catch (error) {
          return error instanceof Error ? error : new Error("the certificate was refused");
        }
      },
    });
    this.#track(socket);
    socket.on("lookup", (_: unknown, address?: string) =>
      this.#memberAddresses.resolved(peer.index, address ?? ""),
    );
    const frames = this.#frames(socket);
    const deadline = clock.after(this.#limits.handshakeTimeoutMs, () =>
      frames.destroy(new CairnError("timeout", `node ${peer.index} did not complete the handshake in time`)),
    );
    peer.dialing = () => frames.destroy(new CairnError("closed", "the dial is not needed any more"));
    try {
      await Promise.race([
        new Promise<void>((resolve) => {
          socket.once("secureConnect", resolve);
        }),
        frames.ended.then((error) => Promise.reject(error)),
      ]);
      const address = socket.remoteAddress ?? "";
      const certificate = socket.getPeerX509Certificate()?.raw ?? new Uint8Array();
      const { notAfter } = this.#verify(certificate, peer.index);
      const { me } = this.#options;
      const handshake = await greetListener(
        frames,
        channelBinding(socket),
        peer.index,
        this.#self(),
        (hello) => this.#beforeCommitting(peer, me, hello),
      );
      this.#whenComplete(peer, me, handshake.hello);
      this.#metrics.connections.inc({ direction: "out" });
      this.#memberAddresses.met(peer.index, address);
      this.#adopt(peer, this.#link(frames, me, handshake, certificate, notAfter), handshake);
    } catch (error) {
      frames.close(
        isCairnError(error) ? error : new CairnError("internal", "the handshake could not be handled"),
      );
      throw error;
    } finally {
      deadline.cancel();
    }
  }

  #frames(socket: TLSSocket): FrameSocket {
    return new FrameSocket(
      socket,
      { maxQueueBytes: this.#limits.maxQueueBytes },
      { clock: this.#modules.clock },
    );
  }

  /**
   * Asked when the peer's HELLO was read and before this side commits itself with its own HELLO or READY: nothing is lost by
   * giving up here, so whatever is up stays up.
   * @throws CairnError `session-conflict`, `closed`
   */
  #beforeCommitting(peer: Peer, dialer: NodeIndex, hello: Hello): void {
    if (this.#closing !== null) throw closedError();
    if (this.#meetsTwin(peer, dialer, hello)) throw twinError(peer.index);
  }

  /**
   * Asked when the handshake is complete: the other side may hold this connection to be up already, so both decide alike.
   * @throws CairnError `session-conflict`, `closed`, `NodeBanned`
   */
  #whenComplete(peer: Peer, dialer: NodeIndex, hello: Hello): void {
    if (this.#closing !== null) throw closedError();
    if (this.#refused.has(peer.index)) throw bannedError(peer.index);
    const twin = this.#meetsTwin(peer, dialer, hello);
    if (twin !== null && twin.dialer < dialer) throw twinError(peer.index);
  }

  /** The connection in use when it and the new one were dialed by either side at about the same time, or null. */
  #meetsTwin(peer: Peer, dialer: NodeIndex, hello: Hello): Link | null {
    const { link } = peer;
    // Another boot is a restarted peer; a dialer dials again only when it has lost the connection.
    if (link === null || hello.boot !== link.boot || dialer === link.dialer) return null;
    return this.#modules.clock.monotonic() - link.since > RACE_MS ? null : link;
  }

  #link(
    frames: FrameSocket,
    dialer: NodeIndex,
    { hello }: Handshake,
    certificate: Uint8Array,
    notAfter: UnixMs,
  ): Link {
    const since = this.#modules.clock.monotonic();
    return { frames, dialer, boot: hello.boot, since, certificate, notAfter, heartbeat: null };
  }

  #adopt(peer: Peer, link: Link, { hello, protocolVersion }: Handshake): void {
    if (peer.link !== null) {
      this.#drop(peer, new CairnError("session-conflict", "a newer connection took this one's place"));
    }
    peer.retry?.cancel();
    peer.retry = null;
    peer.attempts = 0;
    peer.link = link;
    peer.status = {
      node: peer.index,
      up: true,
      lastSeen: link.frames.lastSeen,
      roundTripMs: null,
      protocolVersion,
      epoch: hello.epoch,
      lastError: null,
    };
    link.frames.widen();
    link.frames.ping();
    this.#beat(peer, link);
    this.#handler?.peer(peer.status);
    void link.frames.ended.then((error) => this.#ended(peer, link, error));
    void this.#readAll(peer, link);
  }

  async #readAll(peer: Peer, link: Link): Promise<void> {
    const { clock } = this.#modules;
    const limiter = new RateLimiter(this.#limits.rate, clock.monotonic());
    try {
      for (;;) {
        const frame = await link.frames.next();
        // Another connection took its place: what comes late here would overtake.
        if (peer.link !== link) return;
        const refusal = refusalIn(frame);
        if (refusal !== null) throw refusal;
        if (frame.type !== frameTypes.data) {
          throw new CairnError("malformed", "the peer sent a frame of an unknown type", { type: frame.type });
        }
        this.#metrics.bytes.inc({ direction: "in" }, frame.body.length);
        await this.#handler?.frame(peer.index, frame.body);
        const wait = limiter.frame(frame.body.length, clock.monotonic());
        if (wait > 0) {
          this.#metrics.rateLimited.inc({});
          await new Promise<void>((resolve) => {
            clock.after(wait, resolve);
          });
        }
      }
    } catch (error) {
      if (isCairnError(error)) {
        link.frames.close(error);
      } else {
        this.#report(error);
        link.frames.close(new CairnError("internal", "a frame could not be handled", {}, { cause: error }));
      }
      this.#ended(
        peer,
        link,
        isCairnError(error) ? error : new CairnError("internal", "a frame could not be handled"),
      );
    }
  }

  #beat(peer: Peer, link: Link): void {
    const { clock } = this.#modules;
    link.heartbeat = clock.after(this.#limits.pingIntervalMs, () => {
      if (link.frames.silentMs > this.#limits.livenessTimeoutMs) {
        const error = new CairnError("timeout", `node ${peer.index} has been silent for too long`);
        link.frames.destroy(error);
        return;
      }
      if (clock.now() > link.notAfter) {
        link.frames.close(
          new CairnError("certificate-expired", `node ${peer.index}'s certificate has expired`),
        );
        return;
      }
      link.frames.ping();
      this.#beat(peer, link);
    });
  }

  /** Ends the peer's connection and dial, for a reason of this side's. */
  #drop(peer: Peer, error: CairnError): void {
    peer.retry?.cancel();
    peer.retry = null;
    peer.dialing?.();
    const { link } = peer;
    if (link === null) {
      peer.status = { ...peer.status, lastError: error.code };
      return;
    }
    link.frames.close(error);
    this.#ended(peer, link, error);
  }

  #ended(peer: Peer, link: Link, error: CairnError): void {
    if (peer.link !== link) return;
    link.heartbeat?.cancel();
    peer.status = { ...currentStatus(peer), up: false, protocolVersion: null, lastError: error.code };
    peer.link = null;
    if (error.code !== "closed" && error.code !== "session-conflict") this.#failed(error);
    this.#handler?.peer(peer.status);
    this.#dialLater(peer);
  }

  #refuse(frames: FrameSocket, error: unknown): void {
    if (!isCairnError(error)) {
      this.#report(error);
      frames.close(new CairnError("internal", "the handshake could not be handled", {}, { cause: error }));
      return;
    }
    frames.close(error);
    if (error.code !== "session-conflict" && error.code !== "closed") this.#failed(error);
  }

  #failed(error: CairnError): void {
    this.#metrics.connectionFailures.inc({ code: error.code });
    this.#report(error);
  }

  #report(cause: unknown): void {
    this.#modules.report?.(cause);
  }
}

function currentStatus(peer: Peer): PeerStatus {
  if (peer.link === null) return peer.status;
  const { lastSeen, roundTripMs } = peer.link.frames;
  return { ...peer.status, lastSeen, roundTripMs };
}

function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (cause: Error): void => {
      reject(
        new CairnError(
          "config-invalid",
          `can't listen for peers on ${host}:${port}; is another process using the port?`,
          { host, port },
          { cause },
        ),
      );
    };
    server.once("error", failed);
    server.listen({ host, port }, () => {
      server.off("error", failed);
      resolve();
    });
  });
}

function closedError(): CairnError {
  return new CairnError("closed", "the transport is closed");
}

function twinError(node: NodeIndex): CairnError {
  return new CairnError("session-conflict", "the two nodes are connected already", { node });
}

function bannedError(node: NodeIndex): CairnError {
  return new CairnError("NodeBanned", `node ${node} is banned`, { node });
}
