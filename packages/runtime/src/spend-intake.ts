import { parsePsbt, unsignedTransactionId } from "@cairn/bitcoin";
import { decodeVote, type Intent, initial, intentHash } from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  checkpointHash,
  encodeCanonical,
  type IntentHash,
  isCairnError,
  type LineageId,
  type NodeIndex,
  type NodeStore,
  outpointText,
  type Sats,
  type SignedCheckpoint,
  type SignedSpendApproval,
  spendRequestHash,
  type TransactionRow,
  type Txid,
  type VoteRow,
} from "@cairn/core";
import type { ApprovalBook } from "./approval-book.ts";
import type { EarlyEvents } from "./early-events.ts";
import type { LiveSpend, LiveSpends } from "./live-spends.ts";
import type { Batch, Loop } from "./loop.ts";
import { otherMembers } from "./other-members.ts";
import { peerMessage } from "./peer-message.ts";
import type { SpendClaims } from "./spend-claims.ts";
import { findLineage } from "./spend-lineage.ts";
import { writeMetadata } from "./spend-metadata.ts";
import type { SpendOptions } from "./spend-options.ts";
import type { SpendVoting } from "./spend-voting.ts";

export interface SpendIntakeModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "transactionOfRequest" | "votes">;
  readonly clock: Clock;
  readonly live: LiveSpends;
  readonly claims: SpendClaims;
  readonly early: EarlyEvents;
  readonly approvals: ApprovalBook;
  readonly voting: SpendVoting;
}

/** Intents without a certificate that one peer may have made at a time, and as many that wait for approvals. */
const MAX_OPEN_PER_PEER = 256;
/** Intents of one request that one peer may have made; certified ones count, since each costs a vote of all and a place in the book. */
const MAX_PER_REQUEST = 8;

/** Takes intents in, this node's own and those of peers: stores them and opens voting on them. */
export class SpendIntake {
  readonly #options: SpendOptions;
  readonly #modules: SpendIntakeModules;

  constructor(options: SpendOptions, modules: SpendIntakeModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /**
   * One peer must not fill this node's memory, nor wear it out with variants of one request.
   * @throws CairnError `rate-limited`, `busy`
   */
  checkQuota(from: NodeIndex, { body }: Intent["request"]): void {
    const request = spendRequestHash(body);
    // What nobody approves waits for days: it must not hold up what needs no approval.
    const waits = this.#modules.approvals.waits(request, body);
    let open = 0;
    let same = 0;
    for (const { row, receiver, voting } of this.#modules.live.all()) {
      if (receiver !== from) continue;
      if (row.certificate === null && (voting.name === "Initial") === waits) open += 1;
      if (row.request === request) same += 1;
    }
    if (same >= MAX_PER_REQUEST) {
      throw new CairnError("rate-limited", "the node made too many intents of one request", { node: from });
    }
    if (open >= MAX_OPEN_PER_PEER) {
      throw new CairnError("busy", "too many intents of that node are open here; send it again later", {
        node: from,
      });
    }
  }

  /**
   * Stores an intent that passed its checks, sends it to all where it is this node's own, and opens voting or waits for approvals.
   * @throws CairnError `busy` where a peer's intent replaces what is not here yet, `coin-reserved` where another request of this
   * node was faster
   */
  async insert(intent: Intent, from: NodeIndex): Promise<TransactionRow> {
    const { claims, store, clock } = this.#modules;
    const own = from === this.#options.me;
    const hash = intentHash(intent);
    const lineage = await findLineage(intent.request.body, store).catch((error: unknown) => {
      if (own || !isCairnError(error, "not-found")) throw error;
      throw new CairnError("busy", "what the request replaces is not here yet; send the intent again", {
        intent: hash,
      });
    });
    const row = rowOf(intent, hash, lineage, from, clock.now());
    return claims.knowing(lineage, async () => this.#take(intent, row, from, await store.votes(hash)));
  }

  #take(
    intent: Intent,
    row: TransactionRow,
    from: NodeIndex,
    votes: readonly VoteRow[],
  ): Promise<TransactionRow> {
    const { loop, live, early, voting } = this.#modules;
    const own = from === this.#options.me;
    const hash = row.intent;
    return loop.run((batch) => {
      const known = live.get(hash);
      if (known !== undefined) return known.row;
      if (own) this.#refuseSharedCoins(row);
      beginSpend(batch, live, { intent, row, receiver: from });
      if (own) {
        const others = otherMembers(this.#options.book.manifest, this.#options.me);
        batch.post(others, `intent/${hash}`, peerMessage("intent", row.intentBody));
      }
      voting.open(batch, hash);
      for (const vote of votes) {
        const signed = decodeVote(vote.body);
        voting.step(batch, hash, { kind: "vote", from: vote.voter, vote: signed }, true);
      }
      for (const { event } of early.take(batch, hash)) {
        voting.step(batch, hash, event, event.kind === "vote");
      }
      return row;
    });
  }

  /**
   * Stores a person's approval, hands it on where it is news, and goes on with the spends that waited for it.
   * @throws CairnError those of core's `verifySpendApproval`; `busy` where too many come before their requests
   */
  async takeApproval(signed: SignedSpendApproval, from: NodeIndex): Promise<void> {
    const { loop, live, approvals, voting } = this.#modules;
    const { me, book } = this.#options;
    const { manifest } = book;
    const { requestHash, approver, expiry } = signed.body;
    await loop.run((batch) => {
      if (!approvals.keep(batch, signed)) return;
      batch.audit("approval-stored", requestHash, { from, approver, expiry });
      // Each node hands on what is news to it: whoever took it first may have told some only.
      batch.post(
        otherMembers(manifest, me).filter((node) => node !== from),
        // A longer approval must not be taken for the one that still waits for a peer.
        `approval/${requestHash}/${approver}/${expiry}`,
        peerMessage("approval", encodeCanonical(signed)),
      );
      for (const { row } of live.all()) {
        if (row.request === requestHash) voting.approved(batch, row.intent);
      }
    });
  }

  /** Two requests that reach this node at once must not choose the same coins; what waits for approvals holds none. */
  #refuseSharedCoins(wanted: TransactionRow): void {
    const coins = wanted.outpoints.map(outpointText);
    for (const { row, voting } of this.#modules.live.all()) {
      if (row.lineage === wanted.lineage || row.state === "rejected" || voting.name === "Initial") continue;
      if (!row.outpoints.some((outpoint) => coins.includes(outpointText(outpoint)))) continue;
      throw new CairnError("coin-reserved", "another request took these coins just now; ask again", {
        by: row.intent,
      });
    }
  }
}

/** Which transaction anchors which checkpoint. */
export function keepAnchor(
  batch: Batch,
  { checkpoint }: SignedCheckpoint,
  { intent, txid, createdAt }: TransactionRow,
): void {
  const { sequence } = checkpoint;
  const row = { intent, txid, sequence, checkpoint: checkpointHash(checkpoint), createdAt };
  batch.write({ write: "anchor", row });
}

/** Takes in a spend that is new to this node, and has not been voted on here. */
export function beginSpend(
  batch: Batch,
  live: LiveSpends,
  { intent, row, receiver }: Pick<LiveSpend, "intent" | "row" | "receiver">,
): void {
  live.add(batch, {
    intent,
    row,
    receiver,
    voting: initial({ intent: row.intent, expiry: row.expiry }),
    checked: null,
    reserved: false,
    voiding: false,
  });
  batch.audit("intent-stored", row.intent, { from: receiver, request: row.request, txid: row.txid });
  if (intent.anchor !== null) keepAnchor(batch, intent.anchor, row);
}

/** The row of an intent that is new at this node. @param receiver the node that it came from */
export function rowOf(
  intent: Intent,
  hash: IntentHash,
  lineage: LineageId,
  receiver: NodeIndex,
  now: TransactionRow["firstSeenAt"],
): TransactionRow {
  const request = intent.request.body;
  const { transaction } = parsePsbt(intent.psbt);
  return {
    intent: hash,
    txid: unsignedTransactionId(transaction) as Txid,
    request: spendRequestHash(request),
    lineage,
    wallet: intent.wallet,
    state: "pending",
    reason: null,
    intentBody: encodeCanonical(intent),
    certificate: null,
    signedTx: null,
    recipient: request.outputs[0]?.address ?? "",
    amountSats: request.outputs.reduce((sum, output) => sum + output.amountSats, 0n) as Sats,
    feeSats: 0n as Sats,
    outpoints: transaction.inputs.map(({ txid, vout }) => ({ txid, vout })),
    metadata: writeMetadata({ receiver, signers: [], unproven: false, approvers: [], timings: {} }),
    createdAt: intent.createdAt,
    updatedAt: now,
    expiry: request.expiry,
    firstSeenAt: now,
    confirmedAt: null,
    confirmations: 0,
    blockHeight: null,
    blockHash: null,
  };
}
