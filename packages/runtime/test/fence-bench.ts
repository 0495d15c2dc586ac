import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import {
  type AuditRow,
  decodeCanonical,
  encodeCanonical,
  type HashHex,
  type Manifest,
  type NodeIndex,
  type NodeStatusRow,
  type PeerMessage,
  type PresignatureRow,
  type StoreWrite,
  sha256Hex,
} from "@cairn/core";
import { ManualClock, namedSigner, testManifest } from "@cairn/core/test-support";
import { z } from "zod";
import { FenceDesk, type SetBackAnswers } from "../src/fence-desk.ts";
import { Loop } from "../src/loop.ts";
import { OwnFence } from "../src/own-fence.ts";

export const hashOf = (text: string): HashHex => sha256Hex(Buffer.from(text)) as HashHex;

/** What a node has on its disk, as far as fences read it. A copy of it is a snapshot. */
export interface FenceDisk {
  entries: HashHex[];
  burns: number;
  epoch: number | null;
  statuses: Map<NodeIndex, NodeStatusRow>;
  ready: string[];
}

export const emptyDisk = (): FenceDisk => ({
  entries: [],
  burns: 0,
  epoch: null,
  statuses: new Map(),
  ready: [],
});

export const copyOf = (disk: FenceDisk): FenceDisk => ({
  ...disk,
  entries: [...disk.entries],
  statuses: new Map(disk.statuses),
  ready: [...disk.ready],
});

/** One started node: its two fences over a disk. */
export interface FencedNode {
  readonly index: NodeIndex;
  readonly disk: FenceDisk;
  readonly own: OwnFence;
  readonly desk: FenceDesk;
  /** Kinds of what its log took. */
  readonly audited: string[];
  readonly events: string[];
}

/** Nodes whose fences ask each other over wires that a test holds. */
export class FenceBench {
  /** What nodes would hand to others when they find one set back. */
  readonly proofs: { readonly by: NodeIndex; readonly answers: SetBackAnswers }[] = [];
  readonly clock = new ManualClock();
  readonly manifest: Manifest;
  readonly nodes = new Map<NodeIndex, FencedNode>();
  /** Every message that was sent, oldest first. */
  readonly wire: { readonly from: NodeIndex; readonly to: NodeIndex; readonly message: PeerMessage }[] = [];
  /** What a test has do with a message instead of delivering it. */
  intercept: (from: NodeIndex, to: NodeIndex, message: PeerMessage) => PeerMessage | null = (
    _,
    __,
    message,
  ) => message;
  /** What nodes refused of each other's messages. */
  readonly refusals: unknown[] = [];
  #random = 0;

  constructor(total = 5) {
    this.manifest = testManifest(
      Array.from({ length: total }, (_, at) => ({ identity: namedSigner(`node ${at + 1}`).publicKey })),
    );
  }

  /** Starts a node over a disk; its connections come up with {@link connect}. */
  async start(index: number, disk: FenceDisk, epoch = 0): Promise<FencedNode> {
    const me = index as NodeIndex;
    const audited: string[] = [];
    const events: string[] = [];
    const take = (write: StoreWrite): void => {
      if (write.write === "audit") {
        audited.push(write.row.kind);
        disk.entries.push(write.row.hash);
      }
      if (write.write === "meta" && write.key === "fence-epoch")
        disk.epoch = decodeCanonical(z.number(), write.value);
      if (write.write === "node-status") disk.statuses.set(write.row.node, write.row);
      if (write.write === "presignature-state") disk.ready = disk.ready.filter((id) => id !== write.id);
    };
    const courier = {
      send: (to: NodeIndex, message: PeerMessage) => {
        this.wire.push({ from: me, to, message });
        const said = this.intercept(me, to, message);
        if (said !== null) this.deliver(me, to, said).catch((error: unknown) => this.refusals.push(error));
      },
    } as never;
    const loop = new Loop({
      store: { commit: async (writes) => writes.forEach(take) },
      courier,
      audit: {
        entries: (facts) =>
          facts.map(({ kind }, at) => ({
            write: "audit",
            row: {
              kind,
              hash: hashOf(`${disk.entries.at(-1)}/${kind}/${at}/${this.#random++}`),
            } as AuditRow,
          })),
        committed: () => {},
        discarded: () => {},
      },
      report: (cause) => assert.fail(String(cause)),
    });
    const row = (seq: number): AuditRow | null => {
      const hash = disk.entries[seq];
      return hash === undefined ? null : ({ seq, hash } as AuditRow);
    };
    const store = {
      meta: async (key: string) =>
        key !== "fence-epoch" || disk.epoch === null ? null : encodeCanonical(disk.epoch),
      auditHead: async () => row(disk.entries.length - 1),
      audit: async ({ from }: { readonly from: number }) => [row(from)].filter((found) => found !== null),
      burnCounter: async () => disk.burns,
      nodeStatuses: async () => [...disk.statuses.values()],
      presignatures: async ({ state }: { readonly state?: string }) =>
        state === "ready" ? disk.ready.map((id) => ({ id }) as PresignatureRow) : [],
    };
    const { clock, manifest } = this;
    const own = new OwnFence(
      { me, book: { manifest }, epoch },
      {
        loop,
        store,
        signer: namedSigner(`node ${index}`),
        clock,
        remembers: () => true,
        changed: (state) => events.push(state),
      },
    );
    const desk = new FenceDesk(
      { me, book: { manifest }, fenceMs: 60_000 },
      {
        loop,
        store,
        courier,
        own,
        clock,
        random: { bytes: (length) => new Uint8Array(length).fill(++this.#random % 251, 0, 31) },
        current: (node) => events.push(`${node} current`),
        setBack: (_, node, judged, answers) => {
          events.push(`${node} ${judged}`);
          this.proofs.push({ by: me, answers });
        },
      },
    );
    await own.restore();
    await desk.restore();
    const node: FencedNode = { index: me, disk, own, desk, audited, events };
    this.nodes.set(me, node);
    return node;
  }

  /** Brings the connections of a node to all others up, and lets them say what they have to say. */
  async connect(node: FencedNode): Promise<void> {
    for (const other of this.nodes.values()) {
      if (other === node) continue;
      node.desk.peer(status(other.index, true));
      other.desk.peer(status(node.index, true));
    }
    await this.settle();
  }

  disconnect(node: FencedNode): void {
    this.nodes.delete(node.index);
    for (const other of this.nodes.values()) other.desk.peer(status(node.index, false));
  }

  async deliver(from: NodeIndex, to: NodeIndex, { kind, payload }: PeerMessage): Promise<void> {
    const desk = this.nodes.get(to)?.desk;
    if (kind === "fence-challenge") await desk?.onChallenge(from, payload);
    else await desk?.onAnswer(from, payload);
  }

  /** Lets a time pass in which every message arrives at once. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 2_500) {
      this.clock.advance(2_500);
      await this.settle();
    }
  }

  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn += 1) await setImmediate();
  }
}

function status(node: NodeIndex, up: boolean) {
  return { node, up, lastSeen: null, roundTripMs: null, protocolVersion: 1, epoch: 0, lastError: null };
}

/** Five nodes that know each other, with something in their logs. */
export async function fencedCluster(): Promise<FenceBench> {
  const bench = new FenceBench();
  for (const index of [1, 2, 3, 4, 5]) {
    const disk = emptyDisk();
    disk.entries = [hashOf(`first of ${index}`), hashOf(`second of ${index}`)];
    await bench.connect(await bench.start(index, disk));
  }
  return bench;
}
