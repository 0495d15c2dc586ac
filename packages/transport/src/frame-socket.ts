import type { TLSSocket } from "node:tls";
import { CairnError, type Clock, isCairnError, MAX_FRAME_BYTES, type UnixMs } from "@cairn/core";
import { FRAME_HEADER_BYTES, FrameDecoder } from "./frame-decoder.ts";
import { encodeRefusal, MAX_HELLO_BYTES } from "./hello.ts";

/** First byte of each frame. */
export const frameTypes = { hello: 0, ready: 1, refusal: 2, data: 3, ping: 4, pong: 5 } as const;
const TYPE_BYTES = 1;

export interface TypedFrame {
  readonly type: number;
  readonly body: Uint8Array;
}

export interface FrameSocketOptions {
  /** Bytes that may wait to be written. */
  readonly maxQueueBytes: number;
}

/** Frames read ahead of their handler; beyond that the socket is paused, and TCP holds the sender back. */
const READ_AHEAD_BYTES = 1024 * 1024;
const READ_AHEAD_FRAMES = 1024;
/** How long a socket may take to send its last words. */
const LINGER_MS = 500;
/** A peer that sends pings faster than it reads pongs gets no more of them. */
const PONG_BACKLOG_BYTES = 64 * 1024;

/**
 * Length-prefixed, typed frames over a TLS socket. Data is pulled with {@link FrameSocket.next}; pings are answered at once,
 * whatever waits. Until {@link FrameSocket.widen} only frames of a HELLO's size are read.
 */
export class FrameSocket {
  readonly #socket: TLSSocket;
  readonly #clock: Clock;
  readonly #options: FrameSocketOptions;
  readonly #decoder = new FrameDecoder(MAX_HELLO_BYTES);
  #inbox: TypedFrame[] = [];
  #inboxBytes = 0;
  #waiter: { resolve: (frame: TypedFrame) => void; reject: (error: CairnError) => void } | null = null;
  #queuedBytes = 0;
  #paused = false;
  #wide = false;
  #widenAtReady = false;
  #error: CairnError | null = null;
  #pingSentAt: number | null = null;
  #roundTripMs: number | null = null;
  #heardAt: number;
  #lastSeen: UnixMs;
  #bytesIn = 0;
  /** Resolves with the reason when the socket has ended. */
  readonly ended: Promise<CairnError>;
  #end: (error: CairnError) => void = () => {};

  constructor(socket: TLSSocket, options: FrameSocketOptions, modules: { readonly clock: Clock }) {
    this.#socket = socket;
    this.#options = options;
    this.#clock = modules.clock;
    this.#heardAt = this.#clock.monotonic();
    this.#lastSeen = this.#clock.now();
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", (cause: Error) => this.#fail(socketError(cause)));
    socket.on("close", () =>
      this.#fail(new CairnError("peer-unreachable", "the peer closed the connection")),
    );
  }

  /** Smoothed round-trip time in milliseconds, or null before the first pong. */
  get roundTripMs(): number | null {
    return this.#roundTripMs;
  }

  /** When anything last came. */
  get lastSeen(): UnixMs {
    return this.#lastSeen;
  }

  /** Milliseconds of silence; none while this side itself does not read. */
  get silentMs(): number {
    return this.#paused ? 0 : this.#clock.monotonic() - this.#heardAt;
  }

  /** Frames of full size are read from now on, and pings answered. */
  widen(): void {
    this.#wide = true;
    this.#decoder.limit = MAX_FRAME_BYTES + TYPE_BYTES;
  }

  /** Widens at the peer's READY itself: what follows it may come in the same chunk. */
  widenAtReady(): void {
    this.#widenAtReady = true;
  }

  /** The next frame. One caller at a time. @throws CairnError the reason of the end */
  next(): Promise<TypedFrame> {
    const frame = this.#inbox.shift();
    if (frame !== undefined) {
      this.#inboxBytes -= frame.body.length;
      if (
        this.#paused &&
        this.#inboxBytes < READ_AHEAD_BYTES / 2 &&
        this.#inbox.length < READ_AHEAD_FRAMES / 2
      ) {
        this.#paused = false;
        // Silence while nobody read does not count.
        this.#heardAt = this.#clock.monotonic();
        this.#socket.resume();
      }
      return Promise.resolve(frame);
    }
    if (this.#error !== null) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  /**
   * Resolves when the bytes are with the operating system.
   * @throws CairnError `busy`, or the reason of the end
   */
  async write(type: number, body: Uint8Array): Promise<void> {
    if (this.#error !== null) throw this.#error;
    const bytes = FRAME_HEADER_BYTES + TYPE_BYTES + body.length;
    if (this.#queuedBytes + bytes > this.#options.maxQueueBytes) {
      throw new CairnError("busy", "too much waits to be sent to the peer", { bytes: this.#queuedBytes });
    }
    this.#queuedBytes += bytes;
    await new Promise<void>((resolve, reject) => {
      this.#socket.write(frameBytes(type, body), (cause) => {
        this.#queuedBytes -= bytes;
        if (cause === undefined || cause === null) resolve();
        else reject(this.#error ?? socketError(cause));
      });
    });
  }

  /** Measures the round trip. One ping is under way at a time. */
  ping(): void {
    if (this.#error !== null || this.#pingSentAt !== null) return;
    this.#pingSentAt = this.#clock.monotonic();
    this.#socket.write(frameBytes(frameTypes.ping, new Uint8Array()));
  }

  /** Ends the connection, telling the peer why when there is time. Idempotent. */
  close(error: CairnError, told: string = error.code): void {
    if (this.#error !== null) return;
    this.#socket.end(frameBytes(frameTypes.refusal, encodeRefusal(told)));
    const linger = this.#clock.after(LINGER_MS, () => this.#socket.destroy());
    this.#socket.once("close", () => linger.cancel());
    this.#fail(error);
  }

  /** Ends the connection at once. */
  destroy(error: CairnError): void {
    this.#fail(error);
    this.#socket.destroy();
  }

  /** Bytes of frames read since the last call, for metrics. */
  takeBytesIn(): number {
    const bytes = this.#bytesIn;
    this.#bytesIn = 0;
    return bytes;
  }

  #read(chunk: Buffer): void {
    if (this.#error !== null) return;
    this.#heardAt = this.#clock.monotonic();
    this.#lastSeen = this.#clock.now();
    try {
      for (const frame of this.#decoder.push(chunk)) {
        this.#bytesIn += frame.length;
        this.#take(frame);
      }
    } catch (error) {
      if (!isCairnError(error)) throw error;
      this.close(error);
    }
  }

  #take(frame: Uint8Array): void {
    const type = frame[0];
    if (type === undefined) throw new CairnError("malformed", "the peer sent a frame without a type");
    if (type === frameTypes.ping || type === frameTypes.pong) {
      if (!this.#wide || frame.length !== TYPE_BYTES) {
        throw new CairnError("malformed", "the peer sent a ping that is none");
      }
      if (type === frameTypes.pong) this.#ponged();
      else if (this.#socket.writableLength < PONG_BACKLOG_BYTES) {
        this.#socket.write(frameBytes(frameTypes.pong, new Uint8Array()));
      }
      return;
    }
    if (type === frameTypes.ready && this.#widenAtReady) this.widen();
    const typed = { type, body: frame.subarray(TYPE_BYTES) };
    if (this.#waiter !== null) {
      const waiter = this.#waiter;
      this.#waiter = null;
      waiter.resolve(typed);
      return;
    }
    this.#inbox.push(typed);
    this.#inboxBytes += typed.body.length;
    if (!this.#paused && (this.#inboxBytes > READ_AHEAD_BYTES || this.#inbox.length > READ_AHEAD_FRAMES)) {
      this.#paused = true;
      this.#socket.pause();
    }
  }

  #ponged(): void {
    if (this.#pingSentAt === null) return;
    const sample = this.#clock.monotonic() - this.#pingSentAt;
    this.#pingSentAt = null;
    this.#roundTripMs =
      this.#roundTripMs === null ? sample : this.#roundTripMs + (sample - this.#roundTripMs) / 8;
  }

  #fail(error: CairnError): void {
    if (this.#error !== null) return;
    this.#error = error;
    this.#waiter?.reject(error);
    this.#waiter = null;
    this.#end(error);
  }
}

function frameBytes(type: number, body: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER_BYTES + TYPE_BYTES + body.length);
  bytes.writeUInt32BE(TYPE_BYTES + body.length, 0);
  bytes[FRAME_HEADER_BYTES] = type;
  bytes.set(body, FRAME_HEADER_BYTES + TYPE_BYTES);
  return bytes;
}

/** What a socket's error means. TLS alerts of the peer are its refusal of our handshake. */
export function socketError(cause: Error): CairnError {
  if (isCairnError(cause)) return cause;
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : "";
  const tls = /SSL|TLS|CERT|ISSUER|SIGNED/.test(code);
  return new CairnError(
    tls ? "handshake-failed" : "peer-unreachable",
    tls ? "the TLS handshake with the peer failed" : "the connection to the peer failed",
    { cause: code },
    { cause },
  );
}
