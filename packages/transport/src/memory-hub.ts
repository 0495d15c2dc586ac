import {
  CairnError,
  type Clock,
  MAX_FRAME_BYTES,
  type NodeIndex,
  type PeerStatus,
  type Transport,
  type TransportHandler,
  type UnixMs,
} from "@cairn/core";

/** One frame on its way through the hub. */
export interface FrameInFlight {
  readonly from: NodeIndex;
  readonly to: NodeIndex;
  readonly frame: Uint8Array;
  /** Counts all frames of the hub, from 0. */
  readonly number: number;
}

/**
 * What befalls a frame: `copies` 0 loses it, 2 delivers it twice (which a {@link Transport} never does of itself). It arrives `delayMs`
 * after it was sent, and never before an earlier frame of the same pair.
 */
export interface FrameFate {
  readonly copies: number;
  readonly delayMs: number;
}

export interface MemoryHubOptions {
  /** Every node that may join; the peers of each. */
  readonly members: readonly NodeIndex[];
  /** Bytes that may wait for one recipient before `send` answers `busy`; 16 MiB by default. */
  readonly maxQueueBytes?: number;
}

export interface MemoryNode {
  /** Said to peers as by HELLO; 0 by default. */
  readonly epoch?: number;
  /** Versions of the peer protocol, `[1]` by default. */
  readonly protocolVersions?: readonly number[];
}

const DEFAULT_QUEUE_BYTES = 16 * 1024 * 1024;
const WHOLE: FrameFate = { copies: 1, delayMs: 0 };

/**
 * A network inside one process: the twin of the real transports for simulation and tests. Nothing in it depends on anything
 * but the order of calls and the clock it is given, so a run repeats exactly under a virtual clock.
 */
export class MemoryHub {
  readonly #clock: Clock;
  readonly #members: readonly NodeIndex[];
  readonly #maxQueueBytes: number;
  readonly #nodes = new Map<NodeIndex, MemoryTransport>();
  readonly #severed = new Set<string>();
  readonly #muted = new Set<string>();
  #fate: (flight: FrameInFlight) => FrameFate = () => WHOLE;
  #frames = 0;

  constructor(options: MemoryHubOptions, modules: { readonly clock: Clock }) {
    this.#clock = modules.clock;
    this.#members = options.members;
    this.#maxQueueBytes = options.maxQueueBytes ?? DEFAULT_QUEUE_BYTES;
  }

  /** The place of `node` in the hub. A node that starts again joins again, after its earlier transport was closed. */
  join(node: NodeIndex, self: MemoryNode = {}): Transport {
    return new MemoryTransport(this.#place(node), {
      node,
      epoch: self.epoch ?? 0,
      protocolVersions: self.protocolVersions ?? [1],
      peers: this.#members.filter((member) => member !== node),
    });
  }

  /** Decides about every frame from now on; null delivers all. */
  setFate(fate: ((flight: FrameInFlight) => FrameFate) | null): void {
    this.#fate = fate ?? (() => WHOLE);
  }

  /** Cuts the connection between two nodes: both see the other go down. */
  sever(a: NodeIndex, b: NodeIndex): void {
    this.#severed.add(pairName(a, b));
    this.#meet(a, b);
  }

  /** Severs every pair whose nodes are not in one group; pairs within a group are healed. A node in no group is alone. */
  partition(groups: readonly (readonly NodeIndex[])[]): void {
    const groupOf = new Map(groups.flatMap((group, at) => group.map((node) => [node, at] as const)));
    for (const [a, b] of this.#pairs()) {
      const together = groupOf.has(a) && groupOf.get(a) === groupOf.get(b);
      if (together) this.#severed.delete(pairName(a, b));
      else this.#severed.add(pairName(a, b));
      this.#meet(a, b);
    }
  }

  /** Loses, silently, what `from` sends to `to`: both go on believing that the other is up. */
  mute(from: NodeIndex, to: NodeIndex): void {
    this.#muted.add(`${from}>${to}`);
  }

  /** Undoes {@link sever}, {@link partition} and {@link mute}. */
  heal(): void {
    this.#severed.clear();
    this.#muted.clear();
    for (const [a, b] of this.#pairs()) this.#meet(a, b);
  }

  #pairs(): [NodeIndex, NodeIndex][] {
    return this.#members.flatMap((a, at) =>
      this.#members.slice(at + 1).map((b): [NodeIndex, NodeIndex] => [a, b]),
    );
  }

  #place(node: NodeIndex): MemoryPlace {
    return {
      clock: this.#clock,
      maxQueueBytes: this.#maxQueueBytes,
      enter: (transport) => {
        if (this.#nodes.has(node)) {
          throw new CairnError("wrong-state", "the node is in the hub already; close its transport first", {
            node,
          });
        }
        this.#nodes.set(node, transport);
        for (const peer of this.#members) if (peer !== node) this.#meet(node, peer);
      },
      leave: (transport) => {
        if (this.#nodes.get(node) !== transport) return;
        this.#nodes.delete(node);
        for (const peer of this.#members) if (peer !== node) this.#meet(node, peer);
      },
      meet: (peer) => this.#meet(node, peer),
      route: (to, frame) => {
        const flight = { from: node, to, frame, number: this.#frames++ };
        return this.#muted.has(`${node}>${to}`) ? { copies: 0, delayMs: 0 } : this.#fate(flight);
      },
      peer: (to) => this.#nodes.get(to),
    };
  }

  /** Brings the two nodes' view of each other in line with the state of the network. */
  #meet(a: NodeIndex, b: NodeIndex): void {
    const left = this.#nodes.get(a);
    const right = this.#nodes.get(b);
    const meeting = this.#outcome(left, right, pairName(a, b));
    left?.meeting(b, meeting, right?.epoch ?? null);
    right?.meeting(a, meeting, left?.epoch ?? null);
  }

  #outcome(
    left: MemoryTransport | undefined,
    right: MemoryTransport | undefined,
    pair: string,
  ): { readonly version: number } | { readonly error: string } {
    if (left === undefined || right === undefined || this.#severed.has(pair))
      return { error: "peer-unreachable" };
    if (left.refuses(right.node) || right.refuses(left.node)) return { error: "NodeBanned" };
    const common = left.protocolVersions.filter((version) => right.protocolVersions.includes(version));
    return common.length === 0 ? { error: "unsupported-version" } : { version: Math.max(...common) };
  }
}

function pairName(a: NodeIndex, b: NodeIndex): string {
  return `${Math.min(a, b)}-${Math.max(a, b)}`;
}

/** What a transport needs of the hub that it is in. */
interface MemoryPlace {
  readonly clock: Clock;
  readonly maxQueueBytes: number;
  enter(transport: MemoryTransport): void;
  leave(transport: MemoryTransport): void;
  meet(peer: NodeIndex): void;
  route(to: NodeIndex, frame: Uint8Array): FrameFate;
  peer(to: NodeIndex): MemoryTransport | undefined;
}

interface MemorySelf {
  readonly node: NodeIndex;
  readonly epoch: number;
  readonly protocolVersions: readonly number[];
  readonly peers: readonly NodeIndex[];
}

/** Frames from one peer that wait for this node's handler. A new one is made whenever the peer comes up. */
interface Inbound {
  readonly frames: { readonly frame: Uint8Array; readonly dueAt: number }[];
  bytes: number;
  busy: boolean;
}

class MemoryTransport implements Transport {
  readonly node: NodeIndex;
  readonly epoch: number;
  readonly protocolVersions: readonly number[];
  readonly #place: MemoryPlace;
  readonly #statuses = new Map<NodeIndex, PeerStatus>();
  readonly #inbound = new Map<NodeIndex, Inbound>();
  #refused: ReadonlySet<NodeIndex> = new Set();
  #handler: TransportHandler | null = null;
  #closed = false;

  constructor(place: MemoryPlace, self: MemorySelf) {
    this.#place = place;
    this.node = self.node;
    this.epoch = self.epoch;
    this.protocolVersions = self.protocolVersions;
    for (const node of self.peers) {
      this.#statuses.set(node, {
        node,
        up: false,
        lastSeen: null,
        roundTripMs: null,
        protocolVersion: null,
        epoch: null,
        lastError: null,
      });
    }
  }

  async start(handler: TransportHandler): Promise<void> {
    if (this.#closed) throw closedError();
    if (this.#handler !== null) throw new CairnError("wrong-state", "the transport has started already");
    this.#handler = handler;
    this.#place.enter(this);
  }

  async send(to: NodeIndex, frame: Uint8Array): Promise<void> {
    if (this.#closed) throw closedError();
    if (frame.length > MAX_FRAME_BYTES) {
      throw new CairnError("too-large", "the frame is larger than peers accept", {
        bytes: frame.length,
        limit: MAX_FRAME_BYTES,
      });
    }
    const peer = this.#place.peer(to);
    if (peer === undefined || this.#statuses.get(to)?.up !== true) {
      throw new CairnError("peer-unreachable", `node ${to} is not connected`, { node: to });
    }
    const waiting = peer.#inbound.get(this.node)?.bytes ?? 0;
    if (waiting + frame.length > this.#place.maxQueueBytes) {
      throw new CairnError("busy", `too much waits for node ${to} already`, { node: to, bytes: waiting });
    }
    const { copies, delayMs } = this.#place.route(to, frame);
    for (let copy = 0; copy < copies; copy++) peer.#take(this.node, new Uint8Array(frame), delayMs);
  }

  peers(): readonly PeerStatus[] {
    return [...this.#statuses.values()];
  }

  setRefused(refused: ReadonlySet<NodeIndex>): void {
    this.#refused = new Set(refused);
    if (this.#handler === null || this.#closed) return;
    for (const node of this.#statuses.keys()) this.#place.meet(node);
  }

  refuses(node: NodeIndex): boolean {
    return this.#refused.has(node);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#place.leave(this);
    for (const node of this.#statuses.keys()) this.meeting(node, { error: "closed" }, null);
  }

  meeting(
    node: NodeIndex,
    outcome: { readonly version: number } | { readonly error: string },
    epoch: number | null,
  ): void {
    const before = this.#statuses.get(node);
    if (before === undefined) return;
    const up = "version" in outcome;
    const lastError = up ? null : outcome.error;
    if (!up && !before.up) {
      this.#statuses.set(node, { ...before, lastError });
      return;
    }
    if (up && before.up) return;
    this.#inbound.delete(node);
    if (up) this.#inbound.set(node, { frames: [], bytes: 0, busy: false });
    const status = {
      ...before,
      up,
      lastSeen: this.#place.clock.now(),
      roundTripMs: up ? 0 : before.roundTripMs,
      protocolVersion: up ? outcome.version : null,
      epoch: up ? epoch : before.epoch,
      lastError,
    };
    this.#statuses.set(node, status);
    queueMicrotask(() => this.#handler?.peer(status));
  }

  #take(from: NodeIndex, frame: Uint8Array, delayMs: number): void {
    const inbound = this.#inbound.get(from);
    if (inbound === undefined) return;
    inbound.frames.push({ frame, dueAt: this.#place.clock.monotonic() + delayMs });
    inbound.bytes += frame.length;
    if (!inbound.busy) void this.#deliver(from, inbound);
  }

  async #deliver(from: NodeIndex, inbound: Inbound): Promise<void> {
    inbound.busy = true;
    // The sender's turn ends before the recipient's begins, as over a real network.
    await Promise.resolve();
    for (let next = inbound.frames.shift(); next !== undefined; next = inbound.frames.shift()) {
      const { frame, dueAt } = next;
      const wait = dueAt - this.#place.clock.monotonic();
      if (wait > 0) {
        await new Promise<void>((resolve) => {
          this.#place.clock.after(wait, resolve);
        });
      }
      // A connection that ended meanwhile takes its frames with it.
      if (this.#inbound.get(from) !== inbound) return;
      const before = this.#statuses.get(from);
      if (before !== undefined)
        this.#statuses.set(from, { ...before, lastSeen: this.#place.clock.now() as UnixMs });
      await this.#handler?.frame(from, frame);
      inbound.bytes -= frame.length;
    }
    inbound.busy = false;
  }
}

function closedError(): CairnError {
  return new CairnError("closed", "the transport is closed");
}
