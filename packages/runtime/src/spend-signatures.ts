import { finalizeSpend, signaturesOf } from "@cairn/bitcoin";
import { FIRST_ROUND, type VotingState } from "@cairn/consensus";
import {
  CairnError,
  type Clock,
  decodeCanonical,
  encodeCanonical,
  fromHex,
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
import type { LiveSpends } from "./live-spends.ts";
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
  ): void {
    const { live, clock, voting } = this.#modules;
    const { row, checked } = live.of(hash);
    if (row.signedTx !== null) return this.#nameSigners(batch, hash, signers);
    if (checked === null)
      throw new CairnError("wrong-state", "the spend was not checked here", { intent: hash });
    const final = finalizeSpend(checked, signatures);
    const now = clock.now();
    live.update(
      batch,
      hash,
      { state: "signed", signedTx: final.hex, feeSats: checked.feeSats, reason: null },
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
    if (row?.signedTx == null) return;
    await loop.run((batch) => this.#tell(batch, [to], row));
  }

  #tell(batch: Batch, to: readonly NodeIndex[], { intent, signedTx, metadata }: TransactionRow): void {
    if (signedTx === null) return;
    const { signers } = readMetadata(metadata);
    const signatures = signaturesOf(fromHex(signedTx));
    const body = encodeCanonical({ version: 1, intentHash: intent, signers, signatures });
    batch.post(to, `final/${intent}`, peerMessage("final", body));
  }

  /** Takes a peer's signatures. @returns false where they do not verify; nothing is changed then */
  takeIfValid(
    batch: Batch,
    hash: IntentHash,
    signatures: readonly Uint8Array[],
    signers: readonly NodeIndex[],
  ): boolean {
    try {
      this.take(batch, hash, signatures, signers);
      return true;
    } catch (error) {
      if (!isCairnError(error, "signature-invalid")) throw error;
      return false;
    }
  }

  /** The chain holds a spend's transaction, whose signatures this node was never told: it is paid all the same. */
  async met(hash: IntentHash, rawTransaction: Uint8Array): Promise<void> {
    const { live, loop, voting, wallets } = this.#modules;
    const known = live.get(hash);
    if (known === undefined) return;
    const { feeSats } =
      known.checked ?? (await readSpend(known.intent, wallets.get(known.intent.wallet).signed.record));
    await loop.run((batch) => {
      const row = live.get(hash)?.row;
      if (row === undefined || row.signedTx !== null) return;
      live.update(batch, hash, { state: "signed", signedTx: toHex(rawTransaction), feeSats, reason: null });
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
    if (known.row.signedTx !== null) {
      return loop.run((batch) => this.#nameSigners(batch, hash, signers));
    }
    const checked = known.checked ?? (await judge.read(hash));
    if (checked === null) {
      throw new CairnError("busy", "this node could not check the transaction yet; send it again", {
        intent: hash,
      });
    }
    await loop.run((batch) => {
      if (this.takeIfValid(batch, hash, final.signatures, signers)) return;
      this.#modules.violation(batch, { type: "InvalidSignature", node: from, evidence: null }, hash);
    });
  }

  /** Notes who signed where this node came by the transaction without being told. */
  #nameSigners(batch: Batch, hash: IntentHash, signers: readonly NodeIndex[]): void {
    const { live } = this.#modules;
    const row = live.get(hash)?.row;
    if (row === undefined || signers.length === 0 || readMetadata(row.metadata).signers.length > 0) return;
    live.update(batch, hash, {}, (metadata) => ({ ...metadata, signers }));
  }
}

/** Members that went on voting after the certificate's round, or gave the spend up: votes were kept from them. */
function whoLags(voting: VotingState): NodeIndex[] {
  const certificate = "certificate" in voting ? voting.certificate : null;
  const later = [...voting.tally.votes].filter(([round]) => round > (certificate?.round ?? FIRST_ROUND));
  return [...new Set([...later.flatMap(([, votes]) => [...votes.keys()]), ...voting.tally.voids.keys()])];
}
