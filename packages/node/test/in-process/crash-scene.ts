import assert from "node:assert/strict";
import { decodeAddress, deriveKey } from "@cairn/bitcoin";
import {
  isCairnError,
  type NodeIndex,
  type PeerMessage,
  type Sats,
  type TransactionRow,
  type WalletRecord,
} from "@cairn/core";
import type { MemoryFault } from "@cairn/storage";
import { InProcessCluster, type InProcessClusterOptions } from "./cluster.ts";
import { ReleasedPartials } from "./released-partials.ts";

const recipient = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

/** Where a crash strikes: at which commit of which node, counted from when it is armed, before or after it is on the disk. */
export interface CrashPoint {
  readonly node: number;
  readonly commit: number;
  readonly fault: Exclude<MemoryFault, "full">;
  /** Counted from the node's next burn, which is the first, or from when it next sends such a message; without it from now. */
  readonly from?: PeerMessage["kind"] | "burn";
}

export function describePoint({ node, commit, fault, from }: CrashPoint): string {
  const place = fault === "lost" ? "before" : "after";
  return `node ${node} dies ${place} commit ${commit}${from === undefined ? "" : ` from its ${from} on`}`;
}

/** What strikes, and whether it did. */
class Sabotage {
  point: CrashPoint | null = null;
  left = 0;
  struck = false;

  arm(point: CrashPoint): void {
    this.point = point;
    this.struck = false;
    this.left = point.from === undefined ? point.commit : 0;
  }

  fault(node: NodeIndex): MemoryFault | null {
    if (this.point === null || this.point.node !== node || this.left === 0) return null;
    this.left -= 1;
    if (this.left > 0) return null;
    const { fault } = this.point;
    this.point = null;
    this.struck = true;
    return fault;
  }

  begins(node: NodeIndex, what: CrashPoint["from"]): void {
    const { point } = this;
    if (point !== null && point.node === node && point.from === what && this.left === 0)
      this.left = point.commit;
  }
}

/** A cluster whose disks fail on command; a node whose disk failed is killed and started again over it. */
export class CrashScene {
  readonly cluster: InProcessCluster;
  readonly partials: ReleasedPartials;
  readonly #sabotage: Sabotage;
  #funded = 0;

  private constructor(cluster: InProcessCluster, partials: ReleasedPartials, sabotage: Sabotage) {
    this.cluster = cluster;
    this.partials = partials;
    this.#sabotage = sabotage;
  }

  static async start(options: InProcessClusterOptions = {}): Promise<CrashScene> {
    const sabotage = new Sabotage();
    const partials = new ReleasedPartials();
    const cluster = await InProcessCluster.start({
      timeouts: { ackMs: 800, startMs: 1_200, roundMs: 6_000, sessionMs: 15_000 },
      keygenTimeouts: { ackMs: 800, startMs: 1_200, roundMs: 3_000, sessionMs: 10_000 },
      attempts: { slotMs: 300, patienceMs: 500 },
      ...options,
      tampering: (index) => ({
        fault: () => sabotage.fault(index),
        burning: () => sabotage.begins(index, "burn"),
        courier: (courier) => partials.over(index, courier, ({ kind }) => sabotage.begins(index, kind)),
      }),
    });
    return new CrashScene(cluster, partials, sabotage);
  }

  fund(record: WalletRecord, amountSats: bigint, index = this.#funded % 20): void {
    const booked = [...this.cluster.nodes.values()]
      .flatMap(({ runtime }) => runtime.wallets.all())
      .find(({ row }) => row.wallet === record.wallet);
    assert.ok(booked);
    this.#funded += 1;
    const { address } = deriveKey(booked.descriptor, [0, index]);
    this.cluster.chain.fund(decodeAddress(address, "regtest").script, amountSats);
    this.cluster.chain.mine(1);
  }

  /**
   * Pays once, with a crash on the way, and asks again after the restart as a client that had no answer does.
   * @returns whether the crash struck
   */
  async payThrough(record: WalletRecord, point: CrashPoint): Promise<boolean> {
    const { cluster } = this;
    const { body, signature } = cluster.spendRequest(record, {
      outputs: [{ address: recipient, amountSats: 20_000n as Sats }],
    });
    this.#sabotage.arm(point);
    const submitted = cluster
      .node(1)
      .runtime.submit(body, signature)
      .then(
        () => {},
        (cause: unknown) => {
          if (!isCairnError(cause)) throw cause;
        },
      );
    if (cluster.approvers.length > 0) {
      await submitted;
      const approvals = cluster.approvers.map((approver) => cluster.approval(body, approver));
      for (const approval of approvals) await cluster.node(2).runtime.takeApproval(approval);
    }
    const over = async () => {
      if (this.#sabotage.struck) return true;
      const rows = await this.#rows(body.nonce);
      return rows.length === cluster.nodes.size && rows.every((row) => row.signedTx !== null);
    };
    await cluster.until(over, 60_000, () => `${describePoint(point)}: neither crashed nor paid`);
    const { struck } = this.#sabotage;
    if (struck) await this.#restart(point.node as NodeIndex);
    this.#sabotage.point = null;
    await submitted;
    const again = await cluster.node(1).runtime.submit(body, signature);
    let last: readonly string[] = [];
    await cluster.until(
      async () => {
        const rows = await this.#rows(body.nonce);
        last = rows.map((row) => row.state);
        return rows.length === cluster.nodes.size && rows.every((row) => row.signedTx !== null);
      },
      60_000,
      () => `${describePoint(point)}: the spend is at ${last}`,
    );
    const rows = await this.#rows(body.nonce);
    assert.deepEqual(new Set(rows.map((row) => row.txid)), new Set([again.txid]), "one request, one payment");
    cluster.chain.mine(6);
    await cluster.until(
      () =>
        [...cluster.nodes.values()].every(({ runtime }) => runtime.spends.reservedSats(record.wallet) === 0n),
      30_000,
      () => `${describePoint(point)}: reservations are left`,
    );
    return struck;
  }

  /** Makes a key with a crash on the way. @returns whether it struck, and where every node's key stands */
  async generateThrough(
    point: CrashPoint,
  ): Promise<{ readonly struck: boolean; readonly stages: readonly string[] }> {
    const { cluster } = this;
    const request = cluster.keygenRequest("frost", "crash");
    this.#sabotage.arm(point);
    const asked = cluster
      .node(1)
      .runtime.generateKey(request)
      .then(
        () => {},
        (cause: unknown) => {
          if (!isCairnError(cause)) throw cause;
        },
      );
    const stages = () =>
      [...cluster.nodes.values()].map(
        ({ runtime }) =>
          runtime.keys
            .list()
            .map(({ row }) => row.status)
            .join() || "none",
      );
    const settled = () =>
      stages().length === 5 &&
      new Set(stages()).size === 1 &&
      ["active", "failed"].includes(stages()[0] ?? "");
    await cluster.until(
      () => this.#sabotage.struck || settled(),
      60_000,
      () => `${describePoint(point)}: neither crashed nor done`,
    );
    const { struck } = this.#sabotage;
    if (struck) await this.#restart(point.node as NodeIndex);
    this.#sabotage.point = null;
    await asked;
    await cluster.node(1).runtime.generateKey(request);
    await cluster.until(settled, 60_000, () => `${describePoint(point)}: the key is at ${stages()}`);
    return { struck, stages: stages() };
  }

  async close(): Promise<void> {
    await this.cluster.close();
  }

  async #restart(index: NodeIndex): Promise<void> {
    await this.cluster.node(index).crash();
    await this.cluster.startNode(index);
  }

  async #rows(nonce: string): Promise<readonly TransactionRow[]> {
    const found: TransactionRow[] = [];
    for (const { runtime, store } of this.cluster.nodes.values()) {
      const live = runtime.spends.all().filter(({ intent }) => intent.request.body.nonce === nonce);
      for (const { row } of live) found.push((await store.transaction({ intent: row.intent })) ?? row);
    }
    return found;
  }
}
