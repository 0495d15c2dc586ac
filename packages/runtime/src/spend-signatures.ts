import { type CheckedSpend, finalizeSpend, signaturesOf } from "@cairn/bitcoin";
import { FIRST_ROUND, type VotingState } from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  decodeCanonical,
  encodeCanonical,
  type IntentHash,
  intentHashSchema,
  isCairnError,
  type NodeIndex,
  type NodeStore,
  nodeIndexSchema,
  type TransactionRow,
  toHex,
} from "@cairn/core";
import { z } from "zod";
import type { RecordViolation } from "./faulty-intents.ts";
import { finalOf } from "./final-of.ts";
import type { LiveSpend, LiveSpends } from "./live-spends.ts";
import type { Batch, Loop } from "./loop.ts";
import { peerMessage } from "./peer-message.ts";
import { readSpend } from "./read-spend.ts";
import type { SpendJudge } from "./spend-judge.ts";
import { readMetadata } from "./spend-metadata.ts";
import type { SpendVoting } from "./spend-voting.ts";
import type { WalletBook } from "./wallet-book.ts";

export interface SpendSignaturesModules {
  readonly loop: Loop;
  readonly store: Pick<NodeStore, "transaction">;
  readonly clock: Clock;
  readonly live: LiveSpends;
  readonly wallets: WalletBook;
  readonly judge: SpendJudge;
  readonly voting: SpendVoting;
  /** The signed transaction is durable: it may be published. */
  readonly signed: (hash: IntentHash) => void;
  readonly violation: RecordViolation;
  readonly report: (cause: unknown) => void;
}

/** Payload of a `final` message: a transaction's signatures, which every receiver verifies for itself. */
export const finalSchema = z.strictObject({
  version: z.literal(1),
  intentHash: intentHashSchema,
  signers: z.array(nodeIndexSchema).max(255),
  signatures: z.array(z.instanceof(Uint8Array)).min(1).max(1024),
});
export type FinalMessage = z.output<typeof finalSchema>;

/** Signed transactions: from a session of this node, by a peer's word, or met on the chain. */
export class SpendSignatures {
  readonly #me: NodeIndex;
  readonly #modules: SpendSignaturesModules;

  constructor(me: NodeIndex, modules: SpendSignaturesModules) {
    this.#me = me;
    this.#modules = modules;
  }

  /**
   * Takes signatures that a session made or a peer sent; where the spend is signed already, only who signed may be news.
   * @throws CairnError `signature-invalid` and what else they fail; nothing is changed then
   */
  take(
    batch: Batch,
    hash: IntentHash,
    signatures: readonly Uint8Array[],
    signers: readonly NodeIndex[],
    spend = this.#modules.live.of(hash).checked,
  ): void {
    const { live, clock, voting } = this.#modules;
    const { row } = live.of(hash);
    if (row.signedTx !== null) return this.#prove(batch, hash, signatures, signers, spend);
    if (spend === null)
      throw new CairnError("wrong-state", "the spend was not checked here", { intent: hash });
    const final = finalizeSpend(spend, signatures);
    const now = clock.now();
    live.update(
      batch,
      hash,
      { state: "signed", signedTx: final.hex, feeSats: spend.feeSats, reason: null },
      (metadata) => ({
        ...metadata,
        signers,
        timings: { ...metadata.timings, signed: now - row.createdAt },
      }),
    );
    batch.audit("transaction-signed", hash, { txid: final.txid, signers: signers.join(",") });
    const behind = whoLags(live.of(hash).voting).filter((node) => node !== this.#me);
    if (behind.length > 0) this.#tell(batch, behind, live.of(hash).row);
    voting.step(batch, hash, { kind: "submitted" });
    batch.afterwards(() => this.#modules.signed(hash));
  }

  /** Posts the signatures, if this node has them, to a member that showed that it lacks them: see {@link SpendVoting.remind}. */
  async answer(to: NodeIndex, hash: IntentHash): Promise<void> {
    const { live, loop, store } = this.#modules;
    const row = live.get(hash)?.row ?? (await store.transaction({ intent: hash }));
    if (row?.signedTx != null) await loop.run((batch) => this.#tell(batch, [to], row));
  }

  #tell(batch: Batch, to: readonly NodeIndex[], row: TransactionRow): void {
    const final = finalOf(row);
    if (final !== null) batch.post(to, `final/${row.intent}`, peerMessage("final", encodeCanonical(final)));
  }

  /** Takes a peer's signatures. @returns false where they do not verify; nothing is changed then */
  takeIfValid(
    batch: Batch,
    hash: IntentHash,
    signatures: readonly Uint8Array[],
    signers: readonly NodeIndex[],
    spend = this.#modules.live.of(hash).checked,
  ): boolean {
    try {
      this.take(batch, hash, signatures, signers, spend);
      return true;
    } catch (error) {
      if (!isCairnError(error, "signature-invalid")) throw error;
      return false;
    }
  }

  /**
   * The chain holds a spend's transaction, whose signatures this node was never told: it is paid all the same. A txid says nothing of
   * signatures, so those that a chain source shows go to others only if they verify.
   */
  async met(hash: IntentHash, rawTransaction: Uint8Array): Promise<void> {
    const { live, loop, voting } = this.#modules;
    const known = live.get(hash);
    if (known === undefined) return;
    const spend = await this.#read(known);
    const unproven = !isSignedBy(spend, rawTransaction);
    await loop.run((batch) => {
      const row = live.get(hash)?.row;
      if (row === undefined || row.signedTx !== null) return;
      const { feeSats } = spend;
      const signedTx = toHex(rawTransaction);
      live.update(batch, hash, { state: "signed", signedTx, feeSats, reason: null }, (metadata) => ({
        ...metadata,
        unproven,
      }));
      batch.audit("transaction-met", hash, { txid: row.txid });
      voting.step(batch, hash, { kind: "submitted" });
    });
  }

  /** A peer says that the transaction is signed. Wrong signatures are named: an honest node verifies what it sends. */
  async onFinal(from: NodeIndex, payload: Uint8Array): Promise<void> {
    const { live, loop, judge, store } = this.#modules;
    const final = decodeCanonical(finalSchema, payload);
    const hash = final.intentHash;
    const { signers } = final;
    const known = live.get(hash);
    if (known === undefined && (await store.transaction({ intent: hash })) === null) {
      throw new CairnError("busy", "this node has not seen the intent yet; send it again", { intent: hash });
    }
    if (known === undefined) return;
    const isSigned = known.row.signedTx !== null;
    const spend = known.checked ?? (isSigned ? await this.#read(known) : await judge.read(hash));
    if (spend === null) {
      throw new CairnError("busy", "this node could not check the transaction yet; send it again", {
        intent: hash,
      });
    }
    await loop.run((batch) => {
      if (!live.has(hash) || this.takeIfValid(batch, hash, final.signatures, signers, spend)) return;
      this.#modules.violation(batch, { type: "InvalidSignature", node: from, evidence: null }, hash);
    });
  }

  /** Notes who signed, and what, where this node came by the transaction without being told. @throws CairnError `signature-invalid` */
  #prove(
    batch: Batch,
    hash: IntentHash,
    signatures: readonly Uint8Array[],
    signers: readonly NodeIndex[],
    spend: CheckedSpend | null,
  ): void {
    const { live } = this.#modules;
    const known = readMetadata(live.of(hash).row.metadata);
    if (known.unproven && spend !== null) {
      const { hex } = finalizeSpend(spend, signatures);
      live.update(batch, hash, { signedTx: hex }, (metadata) => ({ ...metadata, signers, unproven: false }));
    } else if (!known.unproven && signers.length > 0 && known.signers.length === 0) {
      live.update(batch, hash, {}, (metadata) => ({ ...metadata, signers }));
    }
  }

  async #read({ checked, intent }: LiveSpend): Promise<CheckedSpend> {
    return checked ?? (await readSpend(intent, this.#modules.wallets.get(intent.wallet).signed.record));
  }
}

/** Whether a transaction carries signatures that make the spend. */
function isSignedBy(spend: CheckedSpend, rawTransaction: Uint8Array): boolean {
  try {
    finalizeSpend(spend, signaturesOf(rawTransaction));
    return true;
  } catch {
    // Whatever a chain source shows instead of signatures is none.
    return false;
  }
}

/** Members that went on voting after the certificate's round, or gave the spend up: votes were kept from them. */
function whoLags(voting: VotingState): NodeIndex[] {
  const certificate = "certificate" in voting ? voting.certificate : null;
  const later = [...voting.tally.votes].filter(([round]) => round > (certificate?.round ?? FIRST_ROUND));
  return [...new Set([...later.flatMap(([, votes]) => [...votes.keys()]), ...voting.tally.voids.keys()])];
}
