import { parseTransaction } from "@cairn/bitcoin";
import { grantIdOf, type Intent, intentSchema } from "@cairn/consensus";
import {
  decodeCanonical,
  type Ed25519PublicKey,
  type ExecutionId,
  type IntentHash,
  type LineageId,
  type NodeIndex,
  outpointText,
  type PresignatureId,
  type RequestHash,
  type SessionId,
  type StoreWrite,
  type TransactionRow,
  type Txid,
  type WalletId,
} from "@cairn/core";
import type { ClusterPlan } from "./cluster-plan.ts";
import type { Observation } from "./observation.ts";

/** An intent that stands on some node's disk. */
export interface KnownIntent {
  readonly hash: IntentHash;
  readonly request: RequestHash;
  readonly lineage: LineageId;
  readonly txid: Txid;
  readonly wallet: WalletId;
  readonly outpoints: readonly string[];
  /** To recipients together. */
  readonly paysSats: bigint;
  /** What limits count: recipients and the whole fee allowance. */
  readonly countsSats: bigint;
  readonly destinations: Intent["request"]["body"]["outputs"];
}

/** What a node's disk holds, by its commits: kept beside the disk, so that a disk that forgets is found out. */
export interface DiskModel {
  /** Rounds in which the node itself approved. */
  readonly approvals: Map<IntentHash, Set<number>>;
  readonly certified: Set<IntentHash>;
  /** People whose approvals the disk was given, by request. */
  readonly consents: Map<RequestHash, Set<Ed25519PublicKey>>;
  readonly subjects: Map<SessionId, string>;
  readonly executions: Map<ExecutionId, string>;
  /** Executions of key generation, whose test signatures move no coin. */
  readonly keygens: Set<ExecutionId>;
  readonly burned: Map<PresignatureId, SessionId>;
  readonly states: Map<IntentHash, TransactionRow["state"]>;
  /** Intents whose lineage the node freed because all of it is dead. */
  readonly dead: Set<IntentHash>;
  readonly bans: Set<string>;
}

/** What everybody's disks and words say together: what no node knows, and what invariants are judged by. */
export class World {
  readonly plan: ClusterPlan;
  readonly hostile: NodeIndex | null;
  readonly intents = new Map<IntentHash, KnownIntent>();
  readonly #disks: ReadonlyMap<NodeIndex, DiskModel>;
  readonly #byGrant = new Map<string, IntentHash>();
  readonly #byTxid = new Map<Txid, IntentHash[]>();
  /** When each intent's signatures were first seen whole. */
  readonly signed = new Map<IntentHash, number>();
  /** Nodes that lost their database: what they signed before still exists. */
  readonly lost = new Set<NodeIndex>();
  now = 0;

  constructor(plan: ClusterPlan, hostile: NodeIndex | null) {
    this.plan = plan;
    this.hostile = hostile;
    this.#disks = new Map(
      plan.members.map((node) => [
        node,
        {
          approvals: new Map(),
          certified: new Set(),
          consents: new Map(),
          subjects: new Map(),
          executions: new Map(),
          keygens: new Set(),
          burned: new Map(),
          states: new Map(),
          dead: new Set(),
          bans: new Set(),
        },
      ]),
    );
  }

  honest(node: NodeIndex): boolean {
    return node !== this.hostile;
  }

  disk(node: NodeIndex): DiskModel {
    const disk = this.#disks.get(node);
    if (disk === undefined) throw new RangeError(`no node ${node}`);
    return disk;
  }

  /** The intent that a session signs, or null. */
  signedBy(node: NodeIndex, execution: ExecutionId): IntentHash | null {
    return this.#byGrant.get(this.disk(node).executions.get(execution) ?? "") ?? null;
  }

  /** The intent for which a presignature was burned, or null. */
  burnedFor(node: NodeIndex, presignature: PresignatureId): IntentHash | null {
    const disk = this.disk(node);
    const session = disk.burned.get(presignature);
    return session === undefined ? null : (this.#byGrant.get(disk.subjects.get(session) ?? "") ?? null);
  }

  /** Whether the node went as far as an execution for the intent, in which it may have released its part of the signature. */
  tookPart(node: NodeIndex, intent: IntentHash): boolean {
    const grant = grantIdOf(intent) as string;
    return [...this.disk(node).executions.values()].includes(grant);
  }

  /** The intent whose transaction it is; of several around one transaction, the one that most approved. */
  intentOf(txid: Txid): IntentHash | null {
    const all = this.#byTxid.get(txid) ?? [];
    const most = Math.max(0, ...all.map((intent) => this.approvals(intent)));
    return all.find((intent) => this.approvals(intent) === most) ?? null;
  }

  /** Approvals of one round that exist: those on honest disks, and the one that a hostile node can always make. */
  approvals(intent: IntentHash): number {
    const counts = new Map<number, number>();
    for (const [node, { approvals }] of this.#disks) {
      if (!this.honest(node)) continue;
      for (const round of approvals.get(intent) ?? []) counts.set(round, (counts.get(round) ?? 0) + 1);
    }
    return Math.max(0, ...counts.values()) + (this.hostile === null ? 0 : 1);
  }

  /** Takes in what was seen; invariants look at it afterwards. */
  see(event: Observation, now: number): void {
    this.now = now;
    switch (event.kind) {
      case "committed":
        for (const write of event.writes) this.#write(event.node, write);
        return;
      case "burned":
        this.disk(event.node).burned.set(event.presignature, event.session);
        return;
      case "signatures": {
        const intent = this.signedBy(event.node, event.spec.executionId);
        if (intent !== null) this.#sign(intent);
        return;
      }
      case "broadcast": {
        const intent = this.intentOf(parseTransaction(event.raw).txid);
        if (intent !== null) this.#sign(intent);
        return;
      }
      case "lost":
        this.lost.add(event.node);
        return;
      case "sent":
      case "engine-started":
      case "partial-issued":
      case "acknowledged":
      case "started":
      case "stopped":
      case "reported":
        return;
    }
  }

  #sign(intent: IntentHash): void {
    if (!this.signed.has(intent)) this.signed.set(intent, this.now);
  }

  #write(node: NodeIndex, write: StoreWrite): void {
    const disk = this.disk(node);
    switch (write.write) {
      case "transaction": {
        const { row } = write;
        this.#know(row);
        disk.states.set(row.intent, row.state);
        if (row.certificate !== null) disk.certified.add(row.intent);
        if (row.signedTx !== null) this.#sign(row.intent);
        return;
      }
      case "vote": {
        const { intent, round, voter, approve } = write.row;
        if (voter !== node || !approve) return;
        disk.approvals.set(intent, (disk.approvals.get(intent) ?? new Set()).add(round));
        return;
      }
      case "approval": {
        const { request, approver } = write.row;
        disk.consents.set(request, (disk.consents.get(request) ?? new Set()).add(approver));
        return;
      }
      case "session": {
        const { session, subject, execution, purpose } = write.row;
        disk.subjects.set(session, subject);
        if (execution !== null) disk.executions.set(execution, subject);
        if (execution !== null && purpose === "keygen") disk.keygens.add(execution);
        return;
      }
      case "reservation": {
        const { intents, freedAt } = write.row;
        if (freedAt !== null && intents.every(({ dead }) => dead))
          for (const { intent } of intents) disk.dead.add(intent);
        return;
      }
      case "ban":
        disk.bans.add(`${write.row.node}/${write.row.violation}`);
        return;
      default:
        return;
    }
  }

  #know(row: TransactionRow): void {
    if (this.intents.has(row.intent)) return;
    const { body } = decodeCanonical(intentSchema, row.intentBody).request;
    this.intents.set(row.intent, {
      hash: row.intent,
      request: row.request,
      lineage: row.lineage,
      txid: row.txid,
      wallet: row.wallet,
      outpoints: row.outpoints.map(outpointText),
      paysSats: row.amountSats,
      countsSats: row.amountSats + body.maxFeeSats,
      destinations: body.outputs,
    });
    this.#byGrant.set(grantIdOf(row.intent), row.intent);
    this.#byTxid.set(row.txid, [...(this.#byTxid.get(row.txid) ?? []), row.intent]);
  }
}
